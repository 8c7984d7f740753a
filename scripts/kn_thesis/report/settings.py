"""The configuration as a flat list that may be shown to anybody."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kn_thesis.addresses import without_login

PLACE = re.compile(r"^(/|~|\\|file:|[A-Za-z]:[\\/])")
HIDDEN = "(a folder of that machine)"


def flat(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Keys with dots between them, and values (numbers, words, lists), in the configuration's order.

    A folder that is named from the root of somebody's machine, and a name or password in an address, are left out:
    they say nothing of the results, and something of the person.
    """
    if isinstance(value, Mapping) and value:
        return [row for key, inner in value.items() for row in flat(inner, f"{prefix}.{key}" if prefix else str(key))]
    if isinstance(value, Mapping):
        return [(prefix, [])] if prefix else []
    return [(prefix, _shown(value))]


def seeds(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a flat configuration whose last key ends in `seed`."""
    return {key: value for key, value in settings.items() if key.rsplit(".", 1)[-1].endswith("seed")}


def words(value: Any) -> str:
    """A value as the page shows it: lists with commas, nothing for what is not set."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return HIDDEN if PLACE.match(value) else without_login(value)
    return [_shown(inner) for inner in value] if isinstance(value, list | tuple) else value
