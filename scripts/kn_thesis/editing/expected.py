"""What the paper says of edits, and whether an interval agrees with it.

A share of edits is taken to be most (few) of them when its whole interval lies above (below) one half. Claims are
numbered as in the report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

HALF = 0.5
AGREES, CONTRADICTS, OPEN, NOT_ASKED = "agrees", "contradicts", "open", "not asked"
# Criteria that a model without any knowledge meets, or cannot meet: judged by the questions it could answer before.
OF_KNOWN = ("symmetry_old", "locality")


@dataclass(frozen=True)
class Claim:
    """One claim: its number, what it says, of which method and kind of task, and which criteria most edits meet.

    A method's variants are judged by its claims, too.
    """

    number: int
    says: str
    method: str
    kind: str
    most: Mapping[str, bool]


CLAIMS = (
    Claim(8, "editing knowledge neurons is unreliable", "knowledge_neuron", "relation", {"reliability": False}),
    Claim(
        9,
        "ROME is reliable and general, but fails symmetry",
        "rome",
        "relation",
        {"reliability": True, "generality": True, "symmetry_new": False, "symmetry_old": False},
    ),
    Claim(10, "ROME fails synonymy", "rome", "relation", {"synonymy": False}),
    Claim(
        11,
        "an agreement edit changes one pair of subject and verb only",
        "rome",
        "paradigm",
        # The poster's four rows; another verb is not on it, but makes another pair.
        {
            "reliability": True,
            "other_distractor": True,
            "other_subject": False,
            "other_both": False,
            "other_verb": False,
        },
    ),
)


def judged(row: Mapping[str, object]) -> tuple[float, float, float]:
    """The share of a row of editing.csv that is judged, with both ends of its interval."""
    names = ("share", "low", "high")
    if row["criterion"] in OF_KNOWN:
        names = ("share_known", "known_low", "known_high")
    share, low, high = (float(row[name]) for name in names)
    return share, low, high


def verdict(share: float, low: float, high: float, most: bool) -> str:
    """AGREES, CONTRADICTS or OPEN: whether an interval lies on the side of one half that the paper has it on.

    OPEN without an interval, NOT_ASKED without a share.
    """
    if pd.isna(share):
        return NOT_ASKED
    if pd.isna(low) or pd.isna(high) or low <= HALF <= high:
        return OPEN
    return AGREES if (low > HALF) == most else CONTRADICTS
