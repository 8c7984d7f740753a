"""resources/claims.yaml: what each claim says, and the rule that its verdict follows from, fixed before a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kn_thesis.errors import UserError

SIDES = ("above", "below", "within")
FORMS = ("number", "percent")


@dataclass(frozen=True)
class Part:
    """One thing that must hold for a claim.

    name; says: what is measured, in words; measure: its function in measures.MEASURES, with the arguments `of`;
    unit: what is counted as one observation; test: in words; side and bound: where the measure must lie; form: how it
    is written; published: the function's name in published.VALUES, or words; place: where that was read.
    """

    name: str
    says: str
    measure: str
    unit: str
    test: str
    side: str
    bound: float
    of: Mapping[str, Any] = field(default_factory=dict)
    form: str = "number"
    published: str = ""
    place: str = ""


@dataclass(frozen=True)
class Claim:
    """One claim: its number, the chapter that shows it, what it says, the tables it reads, and what must hold.

    method: of the editors that are judged by it, "" for a claim that is not about edits; kind: of the edited tasks.
    """

    number: int
    chapter: str
    says: str
    reads: Sequence[str]
    parts: Sequence[Part]
    method: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Rules:
    """All claims, the level of significance, and how few units are too few for a test."""

    level: float
    fewest: int
    claims: Sequence[Claim]


def read_rules(path: str | Path) -> Rules:
    """The claims of a file. Raises UserError for a key that is missing, unknown or wrong, naming the claim."""
    file = Path(path)
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
        claims = [_claim(entry, f"{file}, claim {entry.get('number', number)}") for number, entry in _listed(found)]
        rules = Rules(float(found["level"]), int(found["fewest"]), claims)
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{file}: not a file of claims ({reason}); compare it with resources/claims.yaml") from error
    numbers = [claim.number for claim in claims]
    if len(set(numbers)) < len(numbers) or not 0 < rules.level < 1:
        raise UserError(f"{file}: claims need numbers of their own, and `level` lies between 0 and 1")
    return rules


def _listed(found: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any]]]:
    return list(enumerate(found["claims"], 1))


def _claim(entry: Mapping[str, Any], where: str) -> Claim:
    try:
        parts = [Part(**part) for part in entry["parts"]]
        claim = Claim(**{**entry, "parts": parts})
    except (KeyError, TypeError) as error:
        raise UserError(f"{where}: {error}; each claim and part has the keys of the others") from error
    names = [part.name for part in parts]
    if not parts or len(set(names)) < len(names):
        raise UserError(f"{where}: it needs parts, each with a name of its own")
    for part in parts:
        if part.side not in SIDES or part.form not in FORMS:
            raise UserError(
                f"{where}, {part.name}: `side` is one of {', '.join(SIDES)} and `form` of {', '.join(FORMS)}, "
                f"not {part.side!r} and {part.form!r}"
            )
    return claim
