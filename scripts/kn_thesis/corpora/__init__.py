"""Make, fetch and read corpora (the miniature world, BLiMP, ParaRel), and turn them into prompts."""
