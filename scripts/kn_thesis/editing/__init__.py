"""Editing: what a model is told to answer instead, by which change of its weights, and what else changes with it."""
