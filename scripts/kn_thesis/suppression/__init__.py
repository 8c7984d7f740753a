"""Suppression: what happens to words when neurons are set to zero, doubled, or held at their mean."""
