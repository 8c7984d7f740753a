"""Criteria of edits: against loops over the questions, and in worlds of which the truth is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from kn_thesis.editing.statistics import (
    CRITERIA_COLUMNS,
    PAIRS,
    TESTS,
    compare_criteria,
    criteria_rows,
    criteria_tests,
    fluency_row,
    per_edit,
    pooled,
)
from kn_thesis.editing.tables import AGREEMENT_CRITERIA, CRITERIA, DIVERGED, EDITED, RELATION_CRITERIA, Editing
from kn_thesis.stats import clustered_interval
from tests.helpers.editing_task_tables import edit_row, editing_of, question_row, world

INTERVAL = {"resamples": 200, "confidence": 0.9, "seed": 1}


def random_editing(seed: int, edits: int = 14) -> Editing:
    """Edits of facts that some share, some failed, with 0 to 4 questions of each criterion and random answers."""
    random = np.random.default_rng(seed)
    rows, asked = [], []
    for number in random.permutation(edits):
        name = f"e{number:02}"
        status = DIVERGED if number % 5 == 1 else EDITED
        changes = {"cluster": f"fact {number % 7}", "status": status, "entropy_after": random.normal(5, 1)}
        rows.append(edit_row(name, **changes, update_norm=random.random()))
        for criterion in RELATION_CRITERIA[:5]:
            for place in range(random.integers(0, 5)):
                answers = dict(zip(("holds_before", "known"), map(bool, random.integers(0, 2, 2)), strict=True))
                numbers = ("p_before", "p_after", "rival_after", "tokens_before", "tokens_after")
                answers |= dict(zip(numbers, map(float, random.random(5)), strict=True))
                if random.random() < 0.2:
                    answers["rival_after"] = math.nan
                asked.append(question_row(name, criterion, bool(random.integers(0, 2)), place, **answers))
    return editing_of(rows, asked)


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def by_hand(editings: Sequence[Editing], criterion: str) -> dict[str, float]:
    """A row of the table, question by question."""
    found: dict[str, list[float]] = {}
    edits = failed = asked = known_edits = 0
    for editing in editings:
        for edit in editing.edits.itertuples():
            questions = [
                row for row in editing.questions.itertuples() if row.edit == edit.edit and row.criterion == criterion
            ]
            if not questions:
                continue
            edits += 1
            failed += edit.status != EDITED
            asked += len(questions)
            known = [float(row.holds_after) for row in questions if row.known]
            known_edits += bool(known)
            rivals = [row for row in questions if not math.isnan(row.rival_after) and criterion != "locality"]
            values = {
                "share_before": mean([float(row.holds_before) for row in questions]),
                "share": mean([float(row.holds_after) for row in questions]),
                "share_known": mean(known),
                "p_before": mean([row.p_before for row in questions]),
                "p_after": mean([row.p_after for row in questions]),
                "p_change": mean([row.p_after - row.p_before for row in questions]),
                "tokens_before": mean([row.tokens_before for row in questions]),
                "tokens_after": mean([row.tokens_after for row in questions]),
                "preferred": mean([float(row.p_after > row.rival_after) for row in rivals]),
            }
            for name, value in values.items():
                found.setdefault(name, []).extend([] if math.isnan(value) else [value])
    counts = {"edits": edits, "failed": failed, "questions": asked, "known_edits": known_edits}
    return counts | {name: mean(values) for name, values in found.items()}


def test_every_number_of_a_task_and_over_tasks_against_a_loop() -> None:
    editings = {"one": random_editing(1), "two": random_editing(2, 9)}
    for named in (["one"], ["two"], ["one", "two"]):
        rows = criteria_rows(pooled({task: per_edit(editings[task]) for task in named}), **INTERVAL)
        assert list(rows) == CRITERIA_COLUMNS and list(rows["criterion"]) == list(RELATION_CRITERIA[:5])
        for row in rows.to_dict("records"):
            expected = by_hand([editings[task] for task in named], row["criterion"])
            assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-12, nan_ok=True)
            assert math.isnan(row["preferred"]) == (row["criterion"] == "locality")
    assert rows["failed"].gt(0).all() and (rows["known_edits"] < rows["edits"]).any()
    assert (rows["questions"] > rows["edits"]).all()


def test_intervals_resample_the_clusters() -> None:
    editing = random_editing(3, 30)
    rows = criteria_rows(pooled({"one": per_edit(editing)}), **INTERVAL).set_index("criterion")
    questions = editing.questions[editing.questions["criterion"] == "generality"]
    questions = questions.assign(change=questions["p_after"] - questions["p_before"], holds=questions["holds_after"])
    columns = {
        "": ("holds", questions),
        "known_": ("holds", questions[questions["known"]]),
        "p_": ("change", questions),
    }
    clusters = editing.edits.set_index("edit")["cluster"]
    for prefix, (column, asked) in columns.items():
        means = [[asked.loc[asked["edit"] == name, column].astype(float).mean()] for name in sorted(set(asked["edit"]))]
        about = [clusters[name] for name in sorted(set(asked["edit"]))]  # of edits that are asked, no others
        low, high = clustered_interval(np.array(means), about, **INTERVAL)
        assert rows.loc["generality", [f"{prefix}low", f"{prefix}high"]].tolist() == pytest.approx([low[0], high[0]])
    assert (rows["low"] < rows["share"]).all() and (rows["share"] < rows["high"]).all()
    asked = {"one": per_edit(editing), "two": per_edit(world(9, {"synonymy": 0.5}, prefix="f"))}
    alone = criteria_rows(pooled({"two": asked["two"]}), **INTERVAL).iloc[0]
    assert criteria_rows(pooled(asked), **INTERVAL).set_index("criterion").loc["synonymy", "low"] == alone["low"] > 0
    few = criteria_rows(pooled({"one": per_edit(world(4, {"reliability": 0.5}))}), **INTERVAL)
    assert few[["low", "high", "known_low", "p_low"]].isna().all(axis=None)


def test_rows_in_any_order_give_the_same_table() -> None:
    editing = random_editing(4)
    turned = Editing(*(table.sample(frac=1, random_state=3) for table in (editing.edits, editing.questions)), None)
    first, second = (per_edit(which) for which in (editing, turned))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_an_edit_meets_a_criterion_when_more_than_half_of_its_questions_hold() -> None:
    rows = [edit_row(name) for name in "abc"]
    answers = {"a": (True, False), "b": (True, True, False), "c": (False, False, True)}
    asked = [
        question_row(name, "generality", holds, place)
        for name, held in answers.items()
        for place, holds in enumerate(held)
    ]
    assert per_edit(editing_of(rows, asked)).set_index("edit")["meets"].to_dict() == {"a": False, "b": True, "c": False}


def mcnemar_by_hand(first_only: int, second_only: int) -> float:
    """Twice the lower tail of the binomial distribution at one half."""
    n, least = first_only + second_only, min(first_only, second_only)
    return float(min(Fraction(1), 2 * sum(Fraction(math.comb(n, k), 2**n) for k in range(least + 1))))


@pytest.mark.parametrize("counts", [(3, 1, 0, 5), (2, 7, 1, 0), (0, 4, 4, 0), (9, 0, 12, 1)])
def test_compared_is_the_exact_test_of_the_pairs_that_differ(counts: tuple[int, ...]) -> None:
    pairs = [(True, True), (True, False), (False, True), (False, False)]
    first, second = np.array([pair for pair, count in zip(pairs, counts, strict=True) for _ in range(count)]).T
    found = compare_criteria(first, second)
    assert tuple(found.values())[:4] == counts and list(found)[:4] == TESTS[3:7]
    assert found["p"] == pytest.approx(mcnemar_by_hand(counts[1], counts[2]))


def test_no_difference_has_no_p() -> None:
    both = np.array([True, False, True])
    assert math.isnan(compare_criteria(both, both)["p"]) and math.isnan(compare_criteria(both[:0], both[:0])["p"])


def test_a_world_in_which_symmetry_never_holds_and_reliability_always_does() -> None:
    met = {"reliability": 1.0, "generality": 1.0, "locality": 1.0, "symmetry_new": 0.0, "symmetry_old": 0.0}
    asked = pooled({"P36": per_edit(world(12, met)), "P1376": per_edit(world(8, met))})
    rows = criteria_rows(asked, **INTERVAL).set_index("criterion")
    assert rows["share"].to_dict() == met and (rows["edits"] == 20).all()
    assert rows.loc["symmetry_new", ["low", "high"]].tolist() == [0, 0]
    assert rows.loc["reliability", ["low", "high", "p_after"]].tolist() == pytest.approx([1, 1, 0.8])
    tests = criteria_tests(asked, "relation").set_index(["first", "second"])
    for first, second in PAIRS["relation"]:
        row = tests.loc[(first, second)]
        if "symmetry" in second:
            assert row["edits"] == row["first_only"] == 20
            assert row["p"] == pytest.approx(2 * 0.5**20)
        else:
            assert row["edits"] == row["both"] == (0 if second == "synonymy" else 20) and math.isnan(row["p"])


def test_a_world_in_which_all_holds_has_no_difference_to_show() -> None:
    for kind, criteria in (("relation", RELATION_CRITERIA), ("paradigm", AGREEMENT_CRITERIA)):
        asked = pooled({"task": per_edit(world(10, dict.fromkeys(criteria, 1.0)))})
        assert (criteria_rows(asked, **INTERVAL)["share"] == 1).all()
        tests = criteria_tests(asked, kind)
        assert (tests["both"] == 10).all() and tests["p"].isna().all()


def test_the_pairs_that_are_compared() -> None:
    assert [second for first, second in PAIRS["relation"] if first == "reliability"] == list(RELATION_CRITERIA[1:])
    rest = [pair for pair in PAIRS["relation"] if pair[0] != "reliability"]
    assert rest == [("generality", name) for name in ("symmetry_new", "symmetry_old", "synonymy")]
    assert PAIRS["paradigm"] == [("reliability", name) for name in AGREEMENT_CRITERIA[1:]]


def test_only_edits_that_are_asked_both_are_compared() -> None:
    rows = [edit_row(name) for name in "abcd"]
    asked = [question_row(name, "reliability", True) for name in "abc"]
    asked += [question_row("a", "synonymy", False), question_row("b", "synonymy", True)]
    asked += [question_row("d", "synonymy", False)]
    tests = criteria_tests(pooled({"P101": per_edit(editing_of(rows, asked))}), "relation")
    row = tests[tests["second"] == "synonymy"].iloc[0]
    assert row[TESTS[:7]].tolist() == ["reliability", "synonymy", 2, 1, 1, 0, 0] and row["p"] == 1.0


def test_nothing_asked_gives_no_rows() -> None:
    asked = pooled({"task": per_edit(editing_of([], []))})
    assert list(criteria_rows(asked, **INTERVAL)) == CRITERIA_COLUMNS and criteria_rows(asked, **INTERVAL).empty
    assert list(criteria_tests(asked, "relation")) == TESTS and criteria_tests(asked, "relation").empty
    assert set(RELATION_CRITERIA + AGREEMENT_CRITERIA) == set(CRITERIA)


def test_fluency_is_of_the_edits_that_were_made() -> None:
    edits = random_editing(5, 30).edits
    edits.loc[edits["edit"].isin(["e04", "e07"]), "entropy_after"] = math.nan
    found = fluency_row(edits, **INTERVAL)
    made = [row for row in edits.itertuples() if row.status == EDITED]
    known = [row for row in made if not math.isnan(row.entropy_after)]
    assert found["edits"] == len(known) == 22
    assert found["change"] == pytest.approx(mean([row.entropy_after - row.entropy_before for row in known]))
    assert found["entropy_after"] - found["entropy_before"] == pytest.approx(found["change"])
    assert found["update_share"] == pytest.approx(mean([row.update_norm / row.weight_norm for row in made]))
    changes: dict[str, list[float]] = {}
    for row in known:
        changes.setdefault(row.cluster, []).append(row.entropy_after - row.entropy_before)
    means = np.array([mean(values) for values in changes.values()])
    t = means.mean() / (means.std(ddof=1) / math.sqrt(len(means)))
    # Twice the upper tail of Student's t, by the trapezoidal rule.
    grid = np.linspace(abs(t), 400, 2_000_001)
    degrees = len(means) - 1
    constant = math.gamma((degrees + 1) / 2) / (math.sqrt(degrees * math.pi) * math.gamma(degrees / 2))
    tail = np.trapezoid(constant * (1 + grid**2 / degrees) ** (-(degrees + 1) / 2), grid)
    assert found["p"] == pytest.approx(2 * tail, rel=1e-4)
    assert found["low"] < found["change"] < found["high"]
    for state in range(5):
        assert fluency_row(edits.sample(frac=1, random_state=state), **INTERVAL) == found


def test_fluency_of_few_or_unmeasured_edits_has_no_p() -> None:
    few = fluency_row(world(4, {}).edits, **INTERVAL)
    assert few["edits"] == 4 and all(math.isnan(few[name]) for name in ("p", "low", "high"))
    unmeasured = world(9, {}).edits.assign(entropy_before=math.nan, entropy_after=math.nan)
    found = fluency_row(unmeasured, **INTERVAL)
    assert found["edits"] == 0 and math.isnan(found["change"]) and found["update_share"] == 0.25
    still = fluency_row(world(9, {}).edits.assign(entropy_after=6.0), **INTERVAL)
    assert still["change"] == 0 and math.isnan(still["p"])
