"""Names that the tables of suppression share, and which way effects are expected to go."""

from __future__ import annotations

NUMBERS = ("singular", "plural")
GROUPS = ("singular", "plural", "biased", "neutral")  # of words, as figures and sentences order them
SHARED = "shared"  # by both numbers
CONTRAST = "plural − singular"  # effect of the plural set less that of the singular one, at each prompt and word
# Each prompt's own words: where the task has both numbers, and elsewhere.
FORMS = {number: f"({number} form)" for number in NUMBERS}
OWN = {"target": "(target)", "foil": "(foil)"}


def expected_sign(operation: str, name: str) -> int:
    """Sign of the slope of effect on plural company if words follow their company.

    Plural neurons taken away, words of plural company fall; singular ones taken away, they rise against the others;
    doubling neurons does the opposite. Held at their mean, neurons fall at some prompts and rise at others: 0.
    """
    if operation == "mean":
        return 0
    sign = -1 if name in ("plural", CONTRAST) else 1
    return -sign if operation == "enhance" else sign
