"""Make the miniature world from its words, grammar and facts: training text, minimal pairs and relations."""
