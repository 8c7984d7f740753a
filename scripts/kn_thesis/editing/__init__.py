"""Editing: changes of weights that make a model give another answer, and what else changes with it."""
