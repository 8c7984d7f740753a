"""resources/claims.yaml: what each claim says, and the rule that its verdict follows from, fixed before a run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from kn_thesis.corpora.resources import check_keys, number_between
from kn_thesis.errors import UserError
from kn_thesis.given_yaml import given_yaml

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

    shown: the part whose number stands for the claim where there is room for one; the first unless another is named.
    method: of the editors that are judged by it, "" for a claim that is not about edits; kind: of the edited tasks.
    """

    number: int
    chapter: str
    says: str
    reads: Sequence[str]
    parts: Sequence[Part]
    shown: str = ""
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
    found = given_yaml(path)
    check_keys(found, ("level", "fewest", "claims"), f"{path}")
    level = number_between(found["level"], 0, 1, f"{path}, level")
    fewest = number_between(found["fewest"], 1, 1e9, f"{path}, fewest")
    if not 0 < level < 1 or fewest != int(fewest):
        raise UserError(f"{path}: `level` lies between 0 and 1, and `fewest` is a whole number")
    if not isinstance(found["claims"], list) or not found["claims"]:
        raise UserError(f"{path}: `claims` is a list of claims, each with the keys of the others")
    claims = [_claim(entry, f"{path}, claim {place}") for place, entry in enumerate(found["claims"], 1)]
    numbers = [claim.number for claim in claims]
    if len(set(numbers)) < len(numbers):
        raise UserError(f"{path}: two claims have one number: give each its own")
    return Rules(level, int(fewest), claims)


def _claim(entry: Any, where: str) -> Claim:
    _check_fields(entry, Claim, where)
    if isinstance(entry["number"], bool) or not isinstance(entry["number"], int) or not 0 < entry["number"] < 1000:
        raise UserError(f"{where}: `number` is a whole number from 1 to 999")
    for key in ("reads", "parts"):
        if not isinstance(entry[key], list):
            raise UserError(f"{where}: `{key}` is a list")
    if not all(isinstance(table, str) and re.fullmatch(r"[a-z_]+", table) for table in entry["reads"]):
        raise UserError(f"{where}: `reads` are names of tables, as the other claims have them")
    parts = [_part(part, f"{where}, part {place}") for place, part in enumerate(entry["parts"], 1)]
    claim = Claim(**{**entry, "parts": parts})
    names = [part.name for part in parts]
    if not parts or len(set(names)) < len(names):
        raise UserError(f"{where}: it needs parts, each with a name of its own")
    if claim.shown and claim.shown not in names:
        raise UserError(f"{where}: `shown` is one of its parts, {', '.join(names)}, not {claim.shown!r}")
    return claim


def _part(entry: Any, where: str) -> Part:
    _check_fields(entry, Part, where)
    number_between(entry["bound"], -1e9, 1e9, f"{where}, bound")
    if not isinstance(entry.get("of", {}), Mapping):
        raise UserError(f"{where}: `of` has `key: value` entries")
    part = Part(**entry)
    if part.side not in SIDES or part.form not in FORMS:
        raise UserError(
            f"{where}, {part.name}: `side` is one of {', '.join(SIDES)} and `form` of {', '.join(FORMS)}, "
            f"not {part.side!r} and {part.form!r}"
        )
    return part


def _check_fields(entry: Any, kind: type[Claim] | type[Part], where: str) -> None:
    """Raise UserError unless the entry has the fields of its kind, and words in those that hold words."""
    known = fields(kind)
    needed = [entry.name for entry in known if entry.default is MISSING and entry.default_factory is MISSING]
    check_keys(entry, needed, where, [other.name for other in known if other.name not in needed])
    for other in known:
        if other.type == "str" and not isinstance(entry.get(other.name, ""), str):
            raise UserError(f"{where}: `{other.name}` is text, not {str(entry[other.name])[:60]!r}")
