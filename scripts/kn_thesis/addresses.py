"""Addresses without who logs in there: names and passwords belong in no log, result or page."""

from __future__ import annotations

import re

# What stands before the last @ of an address's host, as urllib splits it: a password may hold an @ of its own.
LOGIN = re.compile(r"(?<=://)[^/?#\s'\"]*@")


def without_login(text: str) -> str:
    """A text whose addresses have lost their `name:password@`."""
    return LOGIN.sub("", text)
