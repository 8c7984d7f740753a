"""Right answers before and after a suppression: counts, McNemar's test and intervals."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import comb

import numpy as np
import pandas as pd
import pytest

from kn_thesis.suppression.statistics import ACCURACY_COLUMNS, accuracy_table, add_published
from tests.helpers.suppression_tables import Hand, Key, asked_prompts

FORMS = {"these": "plural", "(singular form)": "singular", "(plural form)": "plural"}
OWN = {"these": "plural", "(target)": "target", "(foil)": "foil"}
BOTH = {number: ("number", number, "erase") for number in ("singular", "plural")}


def outcomes(counts: Sequence[tuple[bool, bool, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Right before and right after, of as many prompts as said."""
    flags = [(before, after) for before, after, n in counts for _ in range(n)]
    return tuple(np.array(flags, dtype=bool).reshape(-1, 2).T)


def made_of(
    numbers: Sequence[str], before: np.ndarray, after: dict[str, np.ndarray], words: dict[str, str] = FORMS
) -> Hand:
    """Prompts with these numbers; target against foil as said before, and under each number's neurons after."""
    n = len(numbers)
    good = np.array([1 if number == "singular" or words is OWN else 2 for number in numbers])
    start = np.full((n, 3), 0.1)
    start[np.arange(n), good] = np.where(before, 0.2, 0.05)
    changes = {}
    for number, right in after.items():
        change = np.zeros((n, 3))
        change[np.arange(n), good] = np.log(np.where(right, 0.3, 0.01) / start[np.arange(n), good])
        changes[BOTH[number]] = change
    return Hand(asked_prompts([f"n{k}" for k in range(n)], numbers), words, start, changes)


def accuracy_of(made: Hand, **changes: float) -> pd.DataFrame:
    return accuracy_table(made.effects(), made.sets(), made.prompts, **changes)


def one_sided(made: Hand, kind: str = "number") -> pd.Series:
    table = accuracy_of(made)
    assert list(table.columns) == ACCURACY_COLUMNS
    part = table[table["kind"] == kind]
    assert len(part) == 1
    return part.iloc[0]


def exact_mcnemar(lost: int, won: int) -> Fraction:
    """Twice the smaller tail of the binomial with 1/2, at most 1 (Agresti, Categorical Data Analysis, §10.1.4)."""
    n = lost + won
    tail = sum((Fraction(comb(n, k)) for k in range(min(lost, won) + 1)), Fraction(0)) / 2**n
    return min(Fraction(1), 2 * tail)


@pytest.mark.parametrize(
    "counts",
    [
        (794, 150, 86, 570),  # approval of a prime minister, asked twice: Agresti (1990), table 10.1
        (3, 9, 2, 1),
        (4, 3, 3, 0),
        (6, 0, 0, 1),
    ],
)
def test_mcnemar_against_fractions(counts: tuple[int, int, int, int]) -> None:
    stayed, lost, won, wrong = counts
    before, after = outcomes([(True, True, stayed), (True, False, lost), (False, True, won), (False, False, wrong)])
    row = one_sided(made_of(["singular"] * len(before), before, {"singular": after}))
    assert (row["overturned"], row["restored"]) == (lost, won)
    assert (row["prompts"], row["correct_before"], row["correct_after"]) == (sum(counts), stayed + lost, stayed + won)
    assert row["p_mcnemar"] == pytest.approx(float(exact_mcnemar(lost, won)), rel=1e-9)
    assert row["change"] == pytest.approx((won - lost) / sum(counts)) and row["note"] == ""


def test_mcnemar_by_hand() -> None:
    """Nine lost, two won: 2 · (1 + 11 + 55)/2048."""
    assert exact_mcnemar(9, 2) == Fraction(134, 2048)


def test_wilsons_interval_of_eight_in_ten() -> None:
    """Eight of ten: 0.4902 to 0.9433 (Wilson 1927, as tabulated by Newcombe 1998 and others)."""
    before, after = outcomes([(True, True, 8), (False, True, 2)])
    row = one_sided(made_of(["singular"] * 10, before, {"singular": after}))
    assert (row["accuracy_before"], row["accuracy_after"]) == (0.8, 1)
    assert row["low_before"] == pytest.approx(0.4902, abs=5e-5)
    assert row["high_before"] == pytest.approx(0.9433, abs=5e-5)
    assert row["high_after"] == 1 and row["low_after"] == pytest.approx(10 / (10 + 1.959964**2), abs=1e-6)


def test_each_prompt_under_its_own_number() -> None:
    """Singular prompts fall under singular neurons, plural ones are mended by plural neurons; the rest is not asked."""
    numbers = ["singular"] * 6 + ["plural"] * 5
    before = np.array([True] * 6 + [False] * 5)
    made = made_of(
        numbers,
        before,
        {"singular": np.array([False] * 4 + [True] * 7), "plural": np.array([False] * 8 + [True] * 3)},
    )
    row = one_sided(made)
    assert (row["prompts"], row["without_neurons"]) == (11, 0)
    assert (row["overturned"], row["restored"], row["correct_after"]) == (4, 3, 5)


def test_shared_neurons_and_unknown_numbers_are_no_ones_own() -> None:
    made = made_of(["singular"] * 6, np.ones(6, bool), {"singular": np.zeros(6, bool)})
    made.changes["number", "shared", "erase"] = np.zeros((6, 3))
    made.prompts.loc[5, "number"] = ""
    made.before[5, 1:] = np.nan
    row = one_sided(made)
    assert (row["prompts"], row["without_neurons"], row["overturned"]) == (5, 0, 5)


def test_prompts_whose_number_has_no_neurons_are_counted() -> None:
    made = made_of(["singular"] * 6 + ["plural"] * 3, np.ones(9, bool), {"singular": np.zeros(9, bool)})
    made.empty = [BOTH["plural"]]
    row = one_sided(made)
    assert (row["prompts"], row["without_neurons"], row["overturned"]) == (6, 3, 6)


def test_each_prompt_under_its_own_target() -> None:
    """Where a task has no numbers, words are each prompt's own; where it has, targets' sets are tried, too."""
    n = 8
    made = made_of(["singular"] * n, np.ones(n, bool), {}, OWN)
    made.prompts["group"] = ["cat"] * 5 + ["dog"] * 2 + ["ox"]
    fall, still = np.zeros((2, n, 3))
    fall[:, 1] = -5
    made.changes = {("target", "cat", "erase"): fall, ("target", "dog", "erase"): still}
    made.empty = [("target", "ox", "erase")]
    row = one_sided(made, "target")
    assert (row["prompts"], row["without_neurons"], row["overturned"]) == (7, 1, 5)
    both = made_of(["singular"] * 5, np.ones(5, bool), {"singular": np.ones(5, bool)})
    fall = np.zeros((5, 3))
    fall[:, 1] = -5
    both.changes = both.changes | {("target", f"n{k}", "erase"): fall for k in range(5)}
    assert one_sided(both)["overturned"] == 0 and one_sided(both, "target")["overturned"] == 5


def test_each_operation_has_a_row() -> None:
    made = made_of(["singular"] * 5, np.ones(5, bool), {"singular": np.zeros(5, bool)})
    made.changes["number", "singular", "enhance"] = np.zeros((5, 3))
    table = accuracy_of(made).set_index("operation")
    assert list(table.index) == ["erase", "enhance"] and list(table["overturned"]) == [5, 0]


@pytest.mark.parametrize("n", [1, 4])
def test_few_prompts_have_no_p(n: int) -> None:
    row = one_sided(made_of(["singular"] * n, np.ones(n, bool), {"singular": np.zeros(n, bool)}))
    assert np.isnan(row["p_mcnemar"]) and row["note"] == "fewer than 5 prompts: no test"
    assert row["overturned"] == n and row["accuracy_after"] == 0


def test_no_neurons_at_all() -> None:
    made = made_of(["singular"] * 3 + ["plural"] * 4, np.ones(7, bool), {})
    made.empty = list(BOTH.values())
    row = one_sided(made)
    assert (row["prompts"], row["without_neurons"], row["note"]) == (0, 7, "no neuron is selected")
    values = ["accuracy_before", "low_before", "high_before", "accuracy_after", "low_after", "high_after", "change"]
    assert row[[*values, "p_mcnemar", "control_accuracy"]].isna().all() and row["controls"] == 0
    made.empty = [("number", "shared", "erase")]
    nothing = accuracy_of(made)
    assert list(nothing.columns) == ACCURACY_COLUMNS and nothing.empty


def test_random_sets_in_place_of_the_numbers_own() -> None:
    """A draw replaces both numbers' neurons: 3 + 4 of 10 right, then 6 + 4; a draw tried on no own prompt is none."""
    made = made_of(["singular"] * 6 + ["plural"] * 4, np.ones(10, bool), dict.fromkeys(BOTH, np.ones(10, bool)))
    made.right = {BOTH["singular"]: [(6, 3), (6, 6), (0, 0)], BOTH["plural"]: [(4, 4), (4, 4), (0, 0)]}
    row = one_sided(made)
    assert (row["controls"], row["control_low"]) == (2, 0.7)
    assert row["control_accuracy"] == pytest.approx(0.85)


def test_published_values_stand_where_they_belong() -> None:
    published = {
        "family": "bert",
        "model": "bert-base-cased",
        "tasks": {"agreement_2": {"before": 100.0, "after": 94.8}},
    }
    cells: list[Key] = [("agreement_2", "number", "erase"), ("agreement_2", "number", "enhance")]
    cells += [("agreement_2", "target", "erase"), ("agreement_1", "number", "erase")]
    table = pd.DataFrame([(model, *cell) for model in ("mine", "other") for cell in cells])
    table.columns = ["model", "task", "kind", "operation"]
    found = add_published(table, published, {"mine": "bert", "other": "gpt2"})
    assert list(found["published_model"]) == ["bert-base-cased"] + [""] * 7
    assert found.loc[0, "published_before"] == 1 and found.loc[0, "published_after"] == pytest.approx(0.948)
    assert found.loc[1:, ["published_before", "published_after"]].isna().all(axis=None)
