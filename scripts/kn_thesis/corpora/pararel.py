"""Relations in ParaRel's format (Elazar et al. 2021): patterns, and facts from T-REx; the world has the same."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kn_thesis.corpora.blimp import tidy_spaces
from kn_thesis.corpora.rows import read_rows
from kn_thesis.corpora.split import SPLITS
from kn_thesis.errors import UserError

SUBJECT, OBJECT = "[X]", "[Y]"


@dataclass(frozen=True)
class Pattern:
    """A sentence with [X] for the subject and [Y] for the object; `split` where the corpus states one, else ""."""

    text: str
    split: str = ""

    @property
    def whole(self) -> bool:
        """Whether it has one gap for the object and names the subject."""
        return self.text.count(OBJECT) == 1 and SUBJECT in self.text

    @property
    def object_last(self) -> bool:
        """Whether nothing but punctuation follows the object, so that a causal model can be asked."""
        return self.whole and not any(character.isalnum() for character in self.text.split(OBJECT)[1])


@dataclass(frozen=True)
class Fact:
    """A subject, its object, and the fact's identifier."""

    subject: str
    object: str
    uuid: str


def load_patterns(path: str | Path) -> list[Pattern]:
    """The patterns of a relation with their spacing made regular, in the file's order.

    Raises UserError for a broken file, a pattern without subject or with more or less than one object, and an unknown
    split.
    """
    rows = read_rows(path, {"pattern": str}, {"split": str})
    patterns = [Pattern(tidy(row["pattern"]), row.get("split") or "") for row in rows]
    for pattern in patterns:
        if not pattern.whole:
            raise UserError(f"{path}: the pattern {pattern.text[:100]!r} needs [X] and, once, [Y]: correct it")
        if pattern.split not in (*SPLITS, ""):
            raise UserError(f"{path}: the split {pattern.split[:60]!r} is not allowed; it is {', '.join(SPLITS)}")
    return patterns


def load_facts(path: str | Path) -> list[Fact]:
    """The facts of a relation, in the file's order; UserError when the file is broken or a uuid comes twice."""
    rows = read_rows(path, {"sub_label": str, "obj_label": str, "uuid": str}, {"concept": str})
    facts = [Fact(tidy_spaces(row["sub_label"]), tidy_spaces(row["obj_label"]), row["uuid"]) for row in rows]
    seen: set[str] = set()
    for line, fact in enumerate(facts, 1):
        if fact.uuid in seen:
            raise UserError(f"{path}, line {line}: uuid {fact.uuid} comes twice: give each fact its own")
        seen.add(fact.uuid)
    return facts


def tidy(text: str) -> str:
    """One space between words, none at the ends and none before punctuation ("is [Y] ." becomes "is [Y].")."""
    return re.sub(r" ([.,;:!?])(?= |$)", r"\1", tidy_spaces(text))


def fill(pattern: str, subject: str, object: str) -> str:
    """The pattern as a sentence about a fact."""
    return object.join(part.replace(SUBJECT, subject) for part in pattern.split(OBJECT))


def around_gap(pattern: str, subject: str) -> tuple[str, str]:
    """The text before and after the object's place, with the subject filled in; the pattern has the object once."""
    before, after = (part.replace(SUBJECT, subject) for part in pattern.split(OBJECT))
    return before, after
