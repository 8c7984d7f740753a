"""Twins of one model, in worlds that state both directions of a relation or one."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from kn_thesis.editing.statistics import (
    DIRECTION_COLUMNS,
    DIRECTION_CRITERIA,
    DIRECTION_HEAD,
    correct_directions,
    direction_rows,
    per_edit,
)
from kn_thesis.stats import holm
from tests.helpers.editing_task_tables import edit_row, editing_of, question_row, world

MET = {"reliability": 1.0, "generality": 1.0, "locality": 1.0, "symmetry_new": 0.0, "symmetry_old": 0.0}


def test_a_world_of_both_directions_in_which_symmetry_holds_and_a_twin_in_which_it_does_not() -> None:
    both, one_way = per_edit(world(15, dict.fromkeys(MET, 1.0))), per_edit(world(15, MET))
    found = direction_rows({"P36": both}, {"P36": one_way}, 0.95)
    assert list(found) == DIRECTION_COLUMNS and found["criterion"].tolist() == list(DIRECTION_CRITERIA)
    assert (found["facts"] == 15).all() and (found["share_both"] == 1).all()
    for row in found.itertuples():
        symmetry = row.criterion.startswith("symmetry")
        assert row.both_only == (15 if symmetry else 0) and row.one_way_only == 0
        assert row.share_one_way == (0 if symmetry else 1)
        assert row.p == pytest.approx(2 * 0.5**15) if symmetry else math.isnan(row.p)
        assert (row.p_both, row.p_one_way) == pytest.approx((0.8, 0.2 if symmetry else 0.8))
        assert row.high_both == 1 and row.low_both == pytest.approx(15 / (15 + 1.959964**2))  # Wilson's, of all
    table = correct_directions(found.assign(family="gpt2", both="gpt2", one_way="gpt2-flat", editor="rome"), 0.05)
    assert list(table) == DIRECTION_HEAD
    assert table["differs"].tolist() == [row.startswith("symmetry") for row in table["criterion"]]
    turned = direction_rows({"P36": one_way}, {"P36": both}, 0.95)
    assert turned["one_way_only"].tolist() == found["both_only"].tolist() and turned["both_only"].sum() == 0


def test_the_corrected_p_is_over_all_rows() -> None:
    rows = pd.DataFrame({"p": [0.01, 0.02, np.nan, 0.04]}).reindex(columns=[*DIRECTION_HEAD])
    table = correct_directions(rows.drop(columns=["p_holm", "differs"]), 0.05)
    np.testing.assert_allclose(table["p_holm"], [0.03, 0.04, np.nan, 0.04])
    np.testing.assert_allclose(table["p_holm"], holm(rows["p"].to_numpy()))
    assert table["differs"].tolist() == [True, True, False, True]


def test_only_the_same_fact_with_the_same_new_object_is_compared() -> None:
    """Fact d has another new object in the twin, e is missing there; of two edits of a fact the first counts."""
    first = [edit_row(name, cluster=name) for name in "abcde"]
    second = [edit_row(f"x{name}", cluster=name, new="other" if name == "d" else "new") for name in "abcd"]
    second.append(edit_row("z", cluster="a"))
    asked = [question_row(name, "symmetry_new", name != "c") for name in "abcde"]
    other = [question_row(f"x{name}", "symmetry_new", name == "a") for name in "abcd"]
    other.append(question_row("z", "symmetry_new", False))
    other += [question_row("xa", "generality", True)]  # asked in one model alone
    tables = [per_edit(editing_of(*rows)) for rows in ((first, asked), (second, other))]
    for twin in (tables[1], tables[1][::-1]):
        found = direction_rows({"P36": tables[0], "P5": tables[0]}, {"P36": twin}, 0.95)
        assert found[["task", "criterion", "facts"]].values.tolist() == [["P36", "symmetry_new", 3]]
        row = found.iloc[0]
        assert (row["both_only"], row["one_way_only"], row["p"]) == (1, 0, 1)
        assert (row["share_both"], row["share_one_way"]) == pytest.approx((2 / 3, 1 / 3))
        assert (row["p_both"], row["p_one_way"]) == pytest.approx((0.6, 0.4))


def test_no_fact_in_common_gives_nan() -> None:
    tables = [per_edit(world(3, {"reliability": 1.0}, prefix=prefix)) for prefix in "ab"]
    found = direction_rows({"P36": tables[0]}, {"P36": tables[1]}, 0.95)
    assert found["facts"].tolist() == [0]
    assert found[["share_both", "low_both", "high_one_way", "p", "p_both"]].isna().all(axis=None)
    nothing = per_edit(editing_of([], []))
    assert list(direction_rows({"P36": nothing}, {"P36": nothing}, 0.95)) == DIRECTION_COLUMNS
    assert direction_rows({}, {}, 0.95).empty
