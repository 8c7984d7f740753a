"""Read relations in ParaRel's format (Elazar et al. 2021): patterns, and facts from T-REx."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kn_thesis.corpora.blimp import tidy_spaces
from kn_thesis.corpora.sampling import SPLITS
from kn_thesis.errors import UserError
from kn_thesis.inputs import read_rows

SUBJECT, OBJECT = "[X]", "[Y]"


@dataclass(frozen=True)
class Pattern:
    """A paraphrase of a relation.

    Attributes:
        text: Sentence with [X] for the subject and [Y] for the object.
        split: Split that the corpus states, see `kn_thesis.corpora.sampling`; "" otherwise.
    """

    text: str
    split: str = ""

    @property
    def whole(self) -> bool:
        """Whether the pattern names the subject and has exactly one blank for the object."""
        return self.text.count(OBJECT) == 1 and SUBJECT in self.text

    @property
    def object_last(self) -> bool:
        """Whether only punctuation follows the object, so that a causal model can predict it."""
        return self.whole and not any(character.isalnum() for character in self.text.split(OBJECT)[1])


@dataclass(frozen=True)
class Fact:
    """A subject, its object, and the identifier of the fact."""

    subject: str
    object: str
    uuid: str


def load_patterns(path: str | Path) -> list[Pattern]:
    """Read the patterns of a relation.

    Args:
        path: JSON-lines file in ParaRel's format.

    Returns:
        The patterns in the file's order, with regular spacing.

    Raises:
        UserError: The file is broken, a pattern lacks its subject or does not have exactly one object, or a split is
            unknown.
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
    """Read the facts of a relation.

    Args:
        path: JSON-lines file in the format of ParaRel's T-REx files.

    Returns:
        The facts in the file's order.

    Raises:
        UserError: The file is broken or a uuid appears twice.
    """
    rows = read_rows(path, {"sub_label": str, "obj_label": str, "uuid": str}, {"concept": str})
    facts = [Fact(tidy_spaces(row["sub_label"]), tidy_spaces(row["obj_label"]), row["uuid"]) for row in rows]
    seen: set[str] = set()
    for line, fact in enumerate(facts, 1):
        if fact.uuid in seen:
            raise UserError(f"{path}, line {line}: uuid {fact.uuid} appears twice: give each fact its own")
        seen.add(fact.uuid)
    return facts


def tidy(text: str) -> str:
    """Put one space between words and none at the ends or before punctuation ("is [Y] ." becomes "is [Y].")."""
    return re.sub(r" ([.,;:!?])(?= |$)", r"\1", tidy_spaces(text))


def fill(pattern: str, subject: str, object: str) -> str:
    """State a fact as a sentence by a pattern."""
    return object.join(part.replace(SUBJECT, subject) for part in pattern.split(OBJECT))


def around_gap(pattern: str, subject: str) -> tuple[str, str]:
    """Return the text before and after the object, with the subject filled in; the pattern has the object once."""
    before, after = (part.replace(SUBJECT, subject) for part in pattern.split(OBJECT))
    return before, after
