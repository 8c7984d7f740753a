"""Resources that people edit, wrong in one way: tables of the world, claims, tasks, synonyms, pins."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from hypothesis import assume
from hypothesis import strategies as st

from tests.helpers.bad_configurations import places, with_value

ROOT = Path(__file__).parents[2]
RESOURCES = ROOT / "resources"


def content(name: str) -> Any:
    """A resource's content, each part of it its own."""
    return copy.deepcopy(yaml.safe_load((RESOURCES / name).read_text(encoding="utf-8")))


def at(node: Any, key: tuple[str | int, ...]) -> Any:
    for part in key:
        node = node[part]
    return node


WRONG = st.one_of(st.sampled_from([{}, {"x": 1}, [[]], True, None, -7, 10**30]), st.booleans(), st.just(b"x"))


# Keys of the entries that need not be there, and entries that one may do without: no other entry speaks of them.
OPTIONAL = {
    "published",
    "place",
    "form",
    "shown",
    "method",
    "kind",
    "of",
    "inverse",
    "synonym",
    "inflection",
    "adjective",
    "printed",
    "before",
    "after",
}
OPTIONAL |= {"verbs", "differs", "inverse_of", "times", "concept", "through"}


def _kind(value: Any) -> type:
    return float if type(value) is int else type(value)


@st.composite
def wrong_entries(draw: st.DrawFn, right: dict[str, Any], free: Callable[[Any], bool]) -> tuple[str, dict[str, Any]]:
    """A way, and the content with one entry of another type, one missing, or one too many; `free` may be anything."""
    keys = [key for key in places(right) if not free(key)]
    key = draw(st.sampled_from(keys))
    place = ".".join(map(str, key))
    parent = at(right, key[:-1])
    way = draw(st.sampled_from(["type", "missing", "too many"]))
    if way == "type" or isinstance(parent, list):
        old = at(right, key)
        value = draw(WRONG.filter(lambda value: _kind(value) is not _kind(old)))
        return f"{place}: {str(value)[:40]!r}", with_value(right, key, value)
    changed = dict(parent)
    if way == "missing":
        assume(key[-1] not in OPTIONAL and not (len(key) == 2 and key[0] in ("paradigms", "relations", "examples")))
        del changed[key[-1]]
    else:
        changed[draw(st.sampled_from(["x", "", None, 7, f"{key[-1]}s"]))] = draw(WRONG)
    return f"{way} at {place} {len(changed)}", with_value(right, key[:-1], changed) if key[:-1] else changed


@st.composite
def wrong_table(draw: st.DrawFn, name: str) -> tuple[str, str]:
    """A CSV file with one wrong line."""
    lines = (RESOURCES / name).read_text(encoding="utf-8").splitlines()
    number = draw(st.integers(0, len(lines) - 1))
    line = lines[number]
    way, changed = draw(
        st.sampled_from(
            [
                ("a cell too many", [line + ",x"]),
                ("a cell too few", [line.rpartition(",")[0]]),
                ("an empty line", ["", line]),
                ("an open quote", ['"' + line]),
                ("another separator", [line.replace(",", ";")]),
                ("twice", [line, line]),
            ]
        )
    )
    lines[number : number + 1] = changed
    return f"{name}, line {number + 1}: {way}", "\n".join(lines) + "\n"
