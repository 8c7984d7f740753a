"""Two small runs with known answers: what differs, and what does not."""

from __future__ import annotations

from math import comb, erfc, sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from kn_thesis.errors import UserError
from kn_thesis.report.claims.rules import read_rules
from kn_thesis.report.comparison.compare import Comparison, compare
from kn_thesis.report.comparison.figures import MANY, draw
from kn_thesis.report.comparison.page import headline, summary_table
from kn_thesis.report.comparison.registry import TABLES
from kn_thesis.report.comparison.runs import two_runs
from kn_thesis.report.comparison.tests import differing_cells, match_rows, text_key
from kn_thesis.report.pages import notebook_files
from tests.helpers.compared_runs import ROOT, cooccurrence_table, models_table, write_run

PUBLISHED = yaml.safe_load((ROOT / "resources/published.yaml").read_text())


def compared(first: Path | str, second: Path | str, *named: str) -> Comparison:
    return compare(*two_runs(str(first), str(second), bool(named), PUBLISHED), named)


def rows_of(comparison: Comparison, name: str) -> pd.DataFrame:
    return next(table.rows for table in comparison.tables if table.name == name)


def plain_fisher(count: int, of: int, other: int, of_other: int) -> float:
    """Sum of the probabilities of all tables with these margins that are at most as likely as this one."""
    right, total = count + other, of + of_other
    chance = {
        k: comb(of, k) * comb(of_other, right - k) / comb(total, right)
        for k in range(max(0, right - of_other), min(of, right) + 1)
    }
    return sum(p for p in chance.values() if p <= chance[count] * (1 + 1e-7))


def plain_holm(p: list[float]) -> list[float]:
    order = sorted(range(len(p)), key=lambda place: p[place])
    corrected, largest = [0.0] * len(p), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[place]))
        corrected[place] = largest
    return corrected


def test_identical_files_are_reported(tmp_path: Path) -> None:
    tables = {"models": models_table([90] * 10), "cooccurrence": cooccurrence_table([0.5] * 10)}
    comparison = compared(write_run(tmp_path / "a", **tables), write_run(tmp_path / "b", **tables))
    assert headline(comparison) == "The two runs agree in every byte of 2 tables."
    assert set(rows_of(comparison, "models")["verdict"]) == {"identical"}
    (tmp_path / "b/tables/cooccurrence.csv").write_text((tmp_path / "b/tables/cooccurrence.csv").read_text() + "\n")
    comparison = compared(tmp_path / "a", tmp_path / "b")
    assert comparison.same_bytes == ("models",) and "1 table of 2 agrees in every byte" in headline(comparison)


def test_counts_are_tested_by_fisher_and_corrected_by_holm(tmp_path: Path) -> None:
    before = [90, 80, 70, 60, 50, 95, 85, 75, 65, 55]
    after = [40, 79, 73, 60, 52, 93, 70, 70, 66, 50]
    comparison = compared(
        write_run(tmp_path / "a", models=models_table(before)), write_run(tmp_path / "b", models=models_table(after))
    )
    rows = rows_of(comparison, "models").set_index("task")
    expected = [plain_fisher(one, 100, other, 100) for one, other in zip(before, after, strict=True)]
    assert np.allclose(rows["p"], expected) and np.allclose(rows["p_holm"], plain_holm(expected))
    assert list(rows["verdict"]) == ["differs", *["within error"] * 2, "identical", *["within error"] * 6]
    assert expected[6] < 0.05, "significant without the correction, and not with it"
    assert rows.loc["task_0", "difference"] == pytest.approx(-0.5)


def test_intervals_are_tested_by_z_and_noise_is_not_found(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, 10)
    slopes = [0.5, -0.4, *[0.1] * 8]
    moved = [0.5 + 1.0, 0.4, *(0.1 + noise[2:])]
    comparison = compared(
        write_run(tmp_path / "a", cooccurrence=cooccurrence_table(slopes)),
        write_run(tmp_path / "b", cooccurrence=cooccurrence_table(moved)),
    )
    rows = rows_of(comparison, "cooccurrence")
    gaps = np.subtract(moved, slopes)
    expected = [erfc(abs(gap) / (0.1 * sqrt(2)) / sqrt(2)) for gap in gaps]
    assert np.allclose(rows["p"], expected) and set(rows["test"]) == {"z"}
    assert list(rows["verdict"]) == ["differs"] * 2 + ["within error"] * 8
    assert rows["note"][1] == "sign changes: − → +" and rows["note"][0] == ""
    summary = summary_table(comparison).set_index("table").loc["cooccurrence"]
    assert (summary["values"], summary["differ"], summary["other sign"]) == (10, 2, 1)


def test_an_interval_of_no_width_makes_no_test(tmp_path: Path) -> None:
    comparison = compared(
        write_run(tmp_path / "a", cooccurrence=cooccurrence_table([0.5, 0.5], half=0)),
        write_run(tmp_path / "b", cooccurrence=cooccurrence_table([0.6, 5.0])),
    )
    for seen in (comparison, compared(tmp_path / "b", tmp_path / "a")):
        rows = rows_of(seen, "cooccurrence")
        assert list(rows["verdict"]) == ["inside the interval", "outside the interval"]
        assert rows["p"].isna().all()


def test_flags_that_change_are_noted(tmp_path: Path) -> None:
    key = {"model": "bert", "task": ["t1", "t2"], "kind": "number", "set": "singular", "operation": "erase"}
    one = pd.DataFrame(key | {"word": ["null", "NA"], "log_change": 0.1, "low": 0.0, "high": 0.2, "significant": True})
    other = one.assign(significant=[True, False])
    comparison = compared(write_run(tmp_path / "a", suppression=one), write_run(tmp_path / "b", suppression=other))
    assert list(rows_of(comparison, "suppression")["note"]) == ["", "significant: yes → no"]
    assert summary_table(comparison)["flags changed"].item() == 1


def test_verdicts_of_claims_are_noted_even_without_a_measured_value(tmp_path: Path) -> None:
    one = pd.DataFrame({"claim": [1, 2], "model": ["all", "bert"], "variant": ["", ""], "verdict": "supported"})
    one = one.assign(effect=[np.nan, 0.2], low=[np.nan, 0.1], high=[np.nan, 0.3])
    other = one.assign(verdict=["undecided", "supported"])
    models = models_table([90] * 10)
    comparison = compared(
        write_run(tmp_path / "a", claims=one, models=models), write_run(tmp_path / "b", claims=other, models=models)
    )
    rows = rows_of(comparison, "claims").set_index("claim")
    assert rows.loc[1, "note"] == "verdict: supported → undecided" and rows.loc[1, "verdict"] == "no value"
    assert rows.loc[2, "verdict"] == "identical"


def test_shares_of_edits_are_counts_where_they_are_whole(tmp_path: Path) -> None:
    key = {"model": "gpt2", "editor": "rome", "kind": "relation", "task": "P36"}
    one = pd.DataFrame(
        key
        | {"criterion": ["reliability", "generality", "symmetry"], "edits": 30, "questions": [30, 210, 210]}
        | {"share": [0.9, 0.51, 0.0], "low": [0.8, 0.4, 0.0], "high": [1.0, 0.6, 0.0]}
    )
    other = one.assign(share=[0.1, 0.42, 0.31], low=[0.0, 0.3, 0.2], high=[0.2, 0.5, 0.4])
    comparison = compared(write_run(tmp_path / "a", editing=one), write_run(tmp_path / "b", editing=other))
    rows = rows_of(comparison, "editing")
    assert list(rows["test"]) == ["Fisher", "z", "Fisher"]
    assert rows["p"][0] == pytest.approx(plain_fisher(27, 30, 3, 30))
    assert rows["p"][2] == pytest.approx(plain_fisher(0, 30, 9, 30))
    assert (rows["A_count"][0], rows["A_of"][0]) == (27, 30) and rows["A_count"][1:].isna().all()


def test_layers_are_counts_of_all_neurons_of_a_model(tmp_path: Path) -> None:
    one = pd.DataFrame({"model": "bert", "kind": "paradigm", "layer": range(3), "neurons": [10, 20, 70]})
    one["share"] = one["neurons"] / 100
    other = one.assign(neurons=[70, 20, 10], share=[0.7, 0.2, 0.1])
    rows = rows_of(compared(write_run(tmp_path / "a", layers=one), write_run(tmp_path / "b", layers=other)), "layers")
    assert list(rows["A_of"]) == [100] * 3 and list(rows["verdict"]) == ["differs", "identical", "differs"]


def test_models_are_paired_as_named_by_name_or_by_family(tmp_path: Path) -> None:
    both = pd.concat([models_table([90] * 10), models_table([50] * 10, "bert-swapped")])
    a = write_run(tmp_path / "a", models=both)
    b = write_run(tmp_path / "b", models=models_table([90] * 10, "bert-large"))
    comparison = compared(a, b, "bert=bert-large")
    assert comparison.pairing.pairs == (("bert", "bert-large"),)
    assert comparison.pairing.only_first == ("bert-swapped",)
    assert set(rows_of(comparison, "models")["model"]) == {"bert / bert-large"}
    d = write_run(tmp_path / "d", models=pd.concat([both, models_table([9] * 10, "bert-flat")]))
    flat = pd.concat([models_table([9] * 10, name) for name in ("bert", "bert-flat", "bert-swapped")])
    others = compared(d, write_run(tmp_path / "e", models=flat), "bert=bert-swapped").pairing
    assert others.pairs == (("bert", "bert-swapped"), ("bert-flat", "bert-flat")), "what is named is not paired again"
    assert others.only_first == ("bert-swapped",) and others.only_second == ("bert",)
    within = compared(a, a, "bert=bert-swapped")
    assert set(rows_of(within, "models")["verdict"]) == {"differs"} and not within.same_bytes
    with pytest.raises(UserError, match="no model to compare"):  # two models of one family: the pair is ambiguous
        compared(a, b)
    c = write_run(tmp_path / "c", models=models_table([90] * 10))
    by_family = compared(c, b)
    assert by_family.pairing.pairs == (("bert", "bert-large"),) and "by family" in by_family.pairing.how
    assert set(rows_of(by_family, "models")["verdict"]) == {"identical"}
    with pytest.raises(UserError, match="has no model gpt2"):
        compared(a, b, "gpt2=bert-large")


def test_what_only_one_run_has_is_listed(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", models=models_table([90] * 10), cooccurrence=cooccurrence_table([0.1] * 3))
    more = pd.concat([models_table([90] * 7), models_table([90] * 10, "gpt2", "gpt2")])
    b = write_run(tmp_path / "b", models=more, extra=pd.DataFrame({"word": ["a"], "x": [0.5]}))
    comparison = compared(a, b)
    (table,) = comparison.tables
    assert (table.both, table.only_first, table.only_second) == (7, 3, 0)
    assert list(table.rows["verdict"]) == ["identical"] * 7 + ["only in A"] * 3
    assert comparison.only_first == ("cooccurrence",) and comparison.only_second == ("extra",)
    assert comparison.pairing.only_second == ("gpt2",)


def test_published_values_are_inside_or_outside_of_what_is_measured(tmp_path: Path) -> None:
    rows = [
        ("bert", "bert", "P101", 0.1, 0.0, 0.2),
        ("bert", "bert", "P103", 3.0, 2.5, 3.5),
        ("gpt2", "gpt2", "P101", 0.1, 0.0, 0.2),
    ]
    table = pd.DataFrame(rows, columns=["model", "family", "task", "KN", "KN_low", "KN_high"])
    accuracy = pd.DataFrame(
        {"model": "bert", "task": "determiner_noun_agreement_2", "kind": "number", "operation": ["erase", "mean"]}
        | {"accuracy_before": 1.0, "low_before": 0.99, "high_before": 1.0, "correct_before": 400, "prompts": 400}
    )
    run = write_run(tmp_path / "a", localization=table, accuracy=accuracy)
    for comparison in (compared(run, "published"), compared("published", run)):
        found = rows_of(comparison, "localization").query("A == A and B == B").set_index("task")
        assert dict(found["verdict"]) == {"P101": "inside the interval", "P103": "outside the interval"}
        assert found.loc["P101", ["A", "B"]].tolist() in ([0.1, 0.167], [0.167, 0.1])
        assert found["p"].isna().all()
        before = rows_of(comparison, "accuracy").query("A == A and B == B")
        assert before[["operation", "verdict"]].values.tolist() == [["erase", "inside the interval"]]
        assert (before["A"] == 1).all() and (before["B"] == 1).all(), "percent and shares are brought together"


def test_unknown_tables_are_compared_cell_by_cell() -> None:
    one = pd.DataFrame(
        {"model": "bert", "family": "x", "word": ["a", "a", "b"], "x": [1.0, 2.0, np.nan], "y": [0.5] * 3}
    )
    other = pd.DataFrame(
        {"model": "bert", "family": "y", "word": ["b", "a", "c"], "x": [np.nan, 1.25, 7.0], "y": [0.5] * 3}
    )
    key = text_key(one, other)
    assert key == ["model", "word"]
    pair = match_rows(one, other, key)
    assert list(pair.where) == ["both", "first", "both", "second"]
    assert list(pair.keys()["word"]) == ["a", "a", "b", "c"]
    cells = differing_cells(pair).set_index("column")
    assert cells.loc["x"].tolist() == [2, 1, 0.25] and cells.loc["y"].tolist() == [2, 0, 0.0]


def test_an_integer_key_is_found_again_among_decimals() -> None:
    one = pd.DataFrame({"layer": [0, 1, 2], "x": [0.1, 0.2, 0.3]})
    other = pd.DataFrame({"layer": [2.0, np.nan, 0.0], "x": [0.3, 0.9, 0.1]})
    assert list(match_rows(one, other, ["layer"]).where) == ["both", "first", "both", "second"]


def test_the_picture_tells_verdicts_apart_by_mark_and_word(tmp_path: Path) -> None:
    comparison = compared(
        write_run(tmp_path / "a", cooccurrence=cooccurrence_table([0.5, 0.1, 0.2])),
        write_run(tmp_path / "b", cooccurrence=cooccurrence_table([3.0, 0.11, 0.2])),
    )
    rows = rows_of(comparison, "cooccurrence")
    picture = draw(rows, "slope", tmp_path, "slope")
    assert picture is not None
    text = picture.read_text()
    assert all(
        said in text for said in ("differs (1)", "within error (1)", "identical (1)", "slope in A", "slope in B")
    )
    assert draw(rows[:1], "slope", tmp_path, "one") is None, "one point is no picture"
    many = draw(pd.concat([rows] * (MANY // 3 + 1), ignore_index=True), "slope", tmp_path, "many")
    assert many is not None and "<image" in many.read_text() and "<image" not in text


def test_a_table_that_one_run_has_empty_is_compared(tmp_path: Path) -> None:
    full = pd.DataFrame({"task": ["t"], "layer": [0], "note": ["few"], "share": [0.5]})
    models = models_table([90])
    first = write_run(tmp_path / "a", models=models, other=full)
    second = write_run(tmp_path / "b", models=models, other=full.iloc[:0])
    comparison = compared(first, second)
    # The table is unknown: its rows are identified by their texts, and it has no measures.
    assert rows_of(comparison, "other").empty and not rows_of(comparison, "other").columns.duplicated().any()
    other = next(table for table in comparison.tables if table.name == "other")
    assert other.all_identical and (other.both, other.only_first, other.only_second) == (0, 1, 0)


def test_the_tables_of_a_study_are_known() -> None:
    notebooks = (ROOT / "workflow/notebooks").glob("*.ipynb")
    shown = {Path(file).stem for path in notebooks for file in notebook_files(path).values() if file.endswith(".csv")}
    judged = {table for claim in read_rules(ROOT / "resources/claims.yaml").claims for table in claim.reads}
    assert {"claims", "claim_parts", "layers_by_task"} <= shown | judged <= set(TABLES)
