"""Read resources/claims.yaml: what each claim says, and the bounds from which its verdict follows.

The bounds were fixed before any run of the paper's models, and set after runs of the miniature had been seen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from kn_thesis.errors import UserError
from kn_thesis.inputs import check_keys, number_between, read_user_yaml

SIDES = ("above", "below", "within")
FORMS = ("number", "percent")


@dataclass(frozen=True)
class Part:
    """One thing that must hold for a claim.

    Attributes:
        name: short name of the part.
        says: what is measured, in words.
        measure: key of its function in `measures.MEASURES`.
        unit: what counts as one observation.
        test: the test, in words.
        side: side of the bound on which the claim has the measure: above, below or within.
        bound: the bound, in the unit of the measure.
        of: further arguments of the measure's function.
        form: how values are written, as a number or in percent.
        published: key of the published value in `measures.VALUES`, or the published result in words.
        place: where that was read.
        needed: whether the claim has a verdict only if this part was asked.
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
    needed: bool = True


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    Attributes:
        number: its number.
        chapter: the chapter that shows it.
        says: the claim in one sentence.
        reads: names of the tables that its measures read.
        parts: what must hold.
        shown: name of the part whose number stands for the claim; "" for the first.
        method: editing method that it is about; "" for a claim that is not about edits.
        kind: kind of the edited tasks.
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
    """All claims and what they share.

    Attributes:
        level: level of significance.
        fewest: minimum number of units for a test.
        claims: the claims, in the file's order.
    """

    level: float
    fewest: int
    claims: Sequence[Claim]


def read_rules(path: str | Path) -> Rules:
    """Read and check a file of claims.

    Args:
        path: the YAML file.

    Returns:
        Its claims.

    Raises:
        UserError: a key is missing, unknown or has a wrong value; the message names the claim.
    """
    content = read_user_yaml(path)
    check_keys(content, ("level", "fewest", "claims"), f"{path}")
    level = number_between(content["level"], 0, 1, f"{path}, level")
    fewest = number_between(content["fewest"], 1, 1e9, f"{path}, fewest")
    if not 0 < level < 1 or fewest != int(fewest):
        raise UserError(f"{path}: `level` must lie between 0 and 1, and `fewest` must be a whole number")
    if not isinstance(content["claims"], list) or not content["claims"]:
        raise UserError(f"{path}: `claims` must be a list of claims, each with the same keys")
    claims = [_claim(entry, f"{path}, claim {place}") for place, entry in enumerate(content["claims"], 1)]
    numbers = [claim.number for claim in claims]
    if len(set(numbers)) < len(numbers):
        raise UserError(f"{path}: two claims have the same number; give each its own")
    return Rules(level, int(fewest), claims)


def _claim(entry: Any, where: str) -> Claim:
    _check_fields(entry, Claim, where)
    if isinstance(entry["number"], bool) or not isinstance(entry["number"], int) or not 0 < entry["number"] < 1000:
        raise UserError(f"{where}: `number` must be a whole number from 1 to 999")
    for key in ("reads", "parts"):
        if not isinstance(entry[key], list):
            raise UserError(f"{where}: `{key}` must be a list")
    if not all(isinstance(table, str) and re.fullmatch(r"[a-z_]+", table) for table in entry["reads"]):
        raise UserError(f"{where}: `reads` must be names of tables, as in the other claims")
    parts = [_part(part, f"{where}, part {place}") for place, part in enumerate(entry["parts"], 1)]
    claim = Claim(**{**entry, "parts": parts})
    names = [part.name for part in parts]
    if not parts or len(set(names)) < len(names):
        raise UserError(f"{where}: it needs `parts`, each with its own name")
    if claim.shown and claim.shown not in names:
        raise UserError(f"{where}: `shown` must be one of its parts, {', '.join(names)}, not {claim.shown!r}")
    return claim


def _part(entry: Any, where: str) -> Part:
    _check_fields(entry, Part, where)
    number_between(entry["bound"], -1e9, 1e9, f"{where}, bound")
    if not isinstance(entry.get("of", {}), Mapping):
        raise UserError(f"{where}: `of` must have `key: value` entries")
    part = Part(**entry)
    if not isinstance(part.needed, bool):
        raise UserError(f"{where}, {part.name}: `needed` must be true or false, not {part.needed!r}")
    if part.side not in SIDES or part.form not in FORMS:
        raise UserError(
            f"{where}, {part.name}: `side` must be one of {', '.join(SIDES)} and `form` one of {', '.join(FORMS)}, "
            f"not {part.side!r} and {part.form!r}"
        )
    return part


def _check_fields(entry: Any, kind: type[Claim] | type[Part], where: str) -> None:
    """Raise UserError unless the entry has the fields of its kind, and text in those that hold text."""
    known = fields(kind)
    needed = [entry.name for entry in known if entry.default is MISSING and entry.default_factory is MISSING]
    check_keys(entry, needed, where, [other.name for other in known if other.name not in needed])
    for other in known:
        if other.type == "str" and not isinstance(entry.get(other.name, ""), str):
            raise UserError(f"{where}: `{other.name}` must be text, not {str(entry[other.name])[:60]!r}")
