"""Corpora: the miniature world, BLiMP, ParaRel, and the table of prompts."""
