"""Configurations that are wrong in one way, made from a right one that has every section."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from kn_thesis.configuration.schema import Study

ROOT = Path(__file__).parents[2]
Key = tuple[str | int, ...]

NULLABLE = {"mirror", "facts", "revision", "tasks", "requests", "must_learn", "config", "covariance", "world"}
PLACES = {"mirror", "path", "pairs", "patterns", "facts"}
TEXTS = {"id", "config", "split", "column"}
NAMED = {"paradigms", "relations", "tasks", "shown", "operations", "kinds", "plural", "singular", "biased", "neutral"}


def right() -> dict[str, Any]:
    """A right configuration with every section and key that there is, in plain values."""
    config = copy.deepcopy(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")))
    config = yaml.safe_load(yaml.dump(config, Dumper=_NoAliases))
    config["corpora"]["mirror"] = "mirror"
    config["corpora"]["fetched"] = {"held_out": 0.1, "held_out_patterns": 2, "facts": 50, "repeats": 3}
    config["corpora"]["fetched"] |= {"paradigms": ["passive_1"], "relations": ["P36"]}
    config["tasks"]["own"] = {
        "paradigms": {"mine": {"pairs": "mine.jsonl", "takes": ["masked"]}},
        "relations": {"ours": {"patterns": "ours.patterns.jsonl", "facts": "ours.facts.jsonl"}},
    }
    config["models"]["found"] = {"family": "gpt2", "path": "somewhere", "dtype": "float32", "tasks": ["P36"]}
    hub = {"id": "owner/name", "revision": "main"}
    config["models"]["fetched"] = {"family": "llama", "hub": hub, "device": "auto", "world": "baseline"}
    texts = {"id": "owner/texts", "config": "one", "split": "train", "column": "text", "revision": "main"}
    config["editing"]["editors"]["fine_tuning"]["models"] = {"gpt2": {"layer": 1, "norm": 0.05}}
    config["editing"]["editors"]["rome-covariance"]["covariance"] = {"texts": texts, "tokens": 1000}
    return config


class _NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def places(node: Any, key: Key = ()) -> Iterator[Key]:
    """Keys of all entries, sections and items of lists included."""
    inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for part, value in inside:
        yield (*key, part)
        yield from places(value, (*key, part))


def at(config: Any, key: Key) -> Any:
    for part in key:
        config = config[part]
    return config


def with_value(config: dict[str, Any], key: Key, value: Any) -> dict[str, Any]:
    """A copy with another value; nothing but the sections on the way is copied."""
    part, *rest = key
    changed = copy.copy(config)
    changed[part] = with_value(config[part], tuple(rest), value) if rest else value
    return changed


def endless() -> dict[str, Any]:
    section: dict[str, Any] = {}
    section["x"] = section
    return section


def deep(levels: int) -> list[Any]:
    nest: list[Any] = []
    for _ in range(levels):
        nest = [nest]
    return nest


def laughs() -> list[Any]:
    """10³⁰ entries in thirty lists."""
    nest: list[Any] = ["ha"] * 10
    for _ in range(29):
        nest = [nest] * 10
    return nest


# What no program should write out in full, so none of Hypothesis's either: it shows what fails.
MONSTERS = {
    "endless": endless(),
    "deep": deep(10_000),
    "laughs": laughs(),
    "long number": 10**5000,
    "long text": "x" * 10**7,
}
SECTIONS = st.sampled_from([{}, {"x": 1}])
LISTS = st.sampled_from([[], [1], [[]], deep(20)])
NOTHING_LIKE_IT = st.one_of(SECTIONS, LISTS)
LONG = 10**30, -(10**30)
WORDS = st.text(st.characters(codec="utf-8"), max_size=20).filter(lambda text: not _is_number(text))
STRANGE = [
    "",
    " ",
    "-x",
    ".x",
    "..",
    "../x",
    "a/b",
    "/etc/passwd",
    "a b",
    "a\n",
    "\na",
    "a\0",
    "é",
    "x" * 5000,
    "\ud800",
    "a\u2028b",
]
STRANGE += ["{x}", "~", "$HOME", "*", "a:b", "<b>", "con\x1b[31m"]
UNPRINTABLE = ["", "a\nb", "\0", "a\x00b", "x" * 5000, "\x1b[31m", "tab\t", "\x7f"]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def values(key: Key, value: Any) -> st.SearchStrategy[tuple[str, Any]]:
    """Ways and values that are wrong at `key`, where `value` is right."""
    if isinstance(value, dict):
        wrong = st.one_of(LISTS, WORDS, st.integers(), st.booleans(), st.just(math.nan))
        return wrong.map(lambda value: ("section", value))
    if isinstance(value, list):
        return st.one_of(
            st.one_of(SECTIONS, WORDS, st.integers(), st.booleans()).map(lambda value: ("list", value)),
            NOTHING_LIKE_IT.map(lambda item: ("item", [*value, item])),
            *([st.just(("item twice", [*value, value[0]]))] if key[-1] in NAMED and value else []),
        )
    if isinstance(at(TYPED, key), float):
        wrong = st.one_of(
            WORDS, st.booleans(), NOTHING_LIKE_IT, st.floats(max_value=-1e-9), st.floats(min_value=1e9),
            st.sampled_from([math.nan, math.inf, -math.inf, None, *LONG, 10**400]),
        )  # fmt: skip
        return wrong.map(lambda value: ("number", value))
    if isinstance(value, int):
        wrong = st.one_of(
            WORDS, st.booleans(), NOTHING_LIKE_IT, st.integers(max_value=-1), st.integers(min_value=2**40),
            st.floats().filter(lambda number: not number.is_integer()),
            st.sampled_from([math.nan, math.inf, None, *LONG, str(value), "1_000", b"1"]),
        )  # fmt: skip
        nullable = key[-1] in NULLABLE
        return wrong.filter(lambda value: not (nullable and value is None)).map(lambda value: ("whole number", value))
    if value is None:
        return WORDS.map(lambda word: ("nothing", {word: word}))
    if "words" in key:
        strange = [*UNPRINTABLE, " ", "a b", "a\u2028b", "\u00a0"]
    elif key[-1] in PLACES | TEXTS:
        strange = UNPRINTABLE
    else:
        strange = STRANGE
    if key[-1] in ("pairs", "patterns", "examples") or (key[-1] == "facts" and "own" in key):
        strange = [*UNPRINTABLE, "{model}.jsonl"]
    types = st.one_of(st.integers(), st.booleans(), st.floats(), NOTHING_LIKE_IT, st.just(b"x"))
    return st.one_of(st.sampled_from(strange), types).map(lambda value: ("text", value))


def misspelt(draw: st.DrawFn, key: str) -> str:
    place = draw(st.integers(0, len(key) - 1))
    return draw(
        st.sampled_from([key[:place] + key[place + 1 :], key[:place] + "x" + key[place:], key.upper() + "_", f" {key}"])
    )


def _needed(section: Key) -> set[str]:
    """Keys of a section that have no default; of its sources a model has one, and without it none."""
    if not section:
        return {"study", "tasks", "models"}
    if section[-1] in ("hub", "texts"):
        return {"id"}
    by_parent = {
        "models": {"family", "train", "hub", "path"},
        "editors": {"method", "families"},
        "paradigms": {"pairs"},
        "relations": {"patterns", "facts"},
    }
    return by_parent.get(str(section[-2]), set()) if len(section) > 1 else set()


FREE = {("models",), ("corpora", "world", "variants"), ("editing", "editors")}
FREE |= {("tasks", "own", "paradigms"), ("tasks", "own", "relations")}
RIGHT = right()
TYPED = Study.model_validate(RIGHT).model_dump()
ALL = list(places(RIGHT))
FAMILIES = [key for key in ALL if key[-1] == "families"]


@st.composite
def wrong_values(draw: st.DrawFn) -> tuple[str, Key, dict[str, Any]]:
    """A way, the key, and a configuration with one wrong value."""
    key = draw(st.sampled_from(ALL))
    way, value = draw(values(key, at(RIGHT, key)))
    return way, key, with_value(RIGHT, key, value)


@st.composite
def wrong_keys(draw: st.DrawFn) -> tuple[str, Key, dict[str, Any]]:
    """The same with a key that is misspelt, is missing, is no name, or is too many."""
    sections = [(), *(key for key in ALL if isinstance(at(RIGHT, key), dict))]
    section = draw(st.sampled_from(sections))
    content = dict(at(RIGHT, section))
    way = draw(st.sampled_from(["misspelt", "missing", "no name", "too many"]))
    fixed = [name for name in content if section not in FREE and section not in FAMILIES]
    needed = sorted(_needed(section) & set(fixed))
    if way == "missing" and needed:
        del content[draw(st.sampled_from(needed))]
    elif way == "misspelt" and fixed:
        name = draw(st.sampled_from(fixed))
        content = {misspelt(draw, name) if other == name else other: value for other, value in content.items()}
    elif way == "no name" and section in FREE:
        strange = st.one_of(st.sampled_from([*STRANGE, None, True, 7, 1.5, (1, 2)]), WORDS.map(lambda text: f"-{text}"))
        content[draw(strange)] = next(iter(content.values()))
    else:
        way, strange = "too many", st.one_of(WORDS, st.sampled_from([*STRANGE, "__use_yte__", None, True, 7, (1, 2)]))
        content[draw(strange.filter(lambda name: name not in content and section not in FREE))] = draw(NOTHING_LIKE_IT)
    return way, section, with_value(RIGHT, section, content) if section else content


COUNTS = [key for key in ALL if isinstance(at(TYPED, key), float)]


@st.composite
def odd_values(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Numbers written as YAML reads 2e-3: as words. They mean what they say."""
    key = draw(st.sampled_from(COUNTS))
    return f"number as a word: {'.'.join(map(str, key))}", with_value(RIGHT, key, f"{at(RIGHT, key)!r}")
