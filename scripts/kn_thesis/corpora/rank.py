"""Chance that depends on names alone: what is drawn for one item is the same whatever other items there are."""

from __future__ import annotations

import hashlib


def rank(*key: object) -> int:
    """A number from 0 to 2⁶⁴ − 1 that looks random and depends on the key alone."""
    text = "\x1f".join(map(str, key)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
