"""Causal tracing: which states, at which token and layer, bring the answer back after the cue is corrupted."""
