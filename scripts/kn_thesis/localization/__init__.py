"""Localization: which MLP neurons an answer depends on."""
