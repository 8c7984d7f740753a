"""Sentences about tracing, whichever way it went, and the tables that they are made of."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kn_thesis.tracing.prose import (
    peak_table,
    prompts_table,
    say_claim,
    say_comparison,
    say_peaks,
    say_sites,
    say_traced,
    sites_table,
    skipped_by_task,
)
from kn_thesis.tracing.sites import COMPARISON
from kn_thesis.tracing.summary import HEADS, Settings, summarise
from tests.helpers.tracing_csv_tables import examples_table, roles_table, site_row, untested, without_values

ONE_TOKEN = "the cue ends at the blank: both sites are one token"
REVERSED = {"late_contrast": -0.3, "late_contrast_low": -0.4, "late_contrast_high": -0.2, "two_sites": False}
UNCLEAR = {"early_contrast_low": -0.01, "two_sites": False}


def sites_by_hand(**changes: Any) -> pd.DataFrame:
    """Of 6 tasks, 5 are tested and 2 show two sites; `changes` to all of the tested ones."""
    ignored = {"measure": "probability", "headline": False, "two_sites": True}
    rows = [
        site_row("bert", "paradigm", "anaphor", **changes),
        site_row("bert", "paradigm", "anaphor", **ignored),
        site_row("bert", "relation", "P36", **changes),
        site_row("bert", "relation", "P101", **(UNCLEAR | changes)),
        site_row("gpt2", "relation", "P36", **(REVERSED | changes)),
        site_row("gpt2", "relation", "P101", **(REVERSED | changes)),
        site_row("gpt2", "paradigm", "anaphor", **without_values(ONE_TOKEN)),
    ]
    return pd.DataFrame(rows)


def test_sites_are_counted() -> None:
    found = sites_table(sites_by_hand())
    assert list(zip(found["model"], found["kind"], strict=True)) == [
        ("bert", "relation"),
        ("bert", "paradigm"),
        ("gpt2", "relation"),
        ("gpt2", "paradigm"),
    ]
    names = ["tasks", "tested", "two_sites", "early", "late", "early_reversed", "late_reversed"]
    expected = [[2, 2, 1, 1, 2, 0, 0], [1, 1, 1, 1, 1, 0, 0], [2, 2, 0, 2, 0, 0, 2], [1, 0, 0, 0, 0, 0, 0]]
    np.testing.assert_array_equal(found[names], expected)
    assert list(found["untested"]) == ["", "", "", f"{ONE_TOKEN} (1)"]


def test_a_task_without_a_test_counts_for_nothing() -> None:
    table = pd.DataFrame(
        [
            site_row("bert", "relation", "P36"),
            site_row("bert", "relation", "P101", **untested("fewer than 5 facts or nouns: no test")),
            site_row("bert", "relation", "P27", **untested("fewer than 5 facts or nouns: no test")),
            site_row("bert", "relation", "P19", **untested(np.nan, two_sites=True)),
        ]
    )
    (row,) = sites_table(table).to_dict("records")
    assert (row["tasks"], row["tested"], row["two_sites"], row["early"]) == (4, 1, 1, 1)
    assert row["untested"] == "fewer than 5 facts or nouns: no test (2); no test (1)"
    assert say_sites(sites_table(table)) == [
        "**bert**: Facts: two sites in 1 of 1 relation (early contrast above 0 in 1 and below 0 in 0; late contrast "
        "above 0 in 1 and below 0 in 0; not tested: fewer than 5 facts or nouns: no test (2); no test (1))."
    ]


def test_the_claim_follows_the_table() -> None:
    said = say_claim(sites_table(sites_by_hand()))
    assert said.startswith(
        "Early and late site can be told apart in 1 of 4 relations and 1 of 1 paradigm: the division is there, but it "
        "is not general. "
    )
    assert said.endswith(
        "in 0 of 5 tests attention does more than MLPs at the early site, and in 2 MLPs do more than attention at the "
        "late one."
    )
    everywhere = say_claim(sites_table(sites_by_hand(two_sites=True)))
    assert everywhere == (
        "Early and late site can be told apart in every test (4 of 4 relations and 1 of 1 paradigm): here the division "
        "is general."
    )
    almost = sites_by_hand(two_sites=True)
    almost.loc[2, "two_sites"] = False
    assert "in 3 of 4 relations and 1 of 1 paradigm: the division is there, but it is not general." in say_claim(
        sites_table(almost)
    )
    nowhere = sites_by_hand(two_sites=False)
    assert (
        "cannot be told apart in any test (0 of 4 relations and 0 of 1 paradigm): here the division is not seen"
        in say_claim(sites_table(nowhere))
    )
    unclear = say_claim(sites_table(sites_by_hand(two_sites=False, late_contrast_high=0.1)))
    assert unclear.endswith("Their order is never reversed; a failed test may be due to too few prompts.")


def test_sites_in_words() -> None:
    lines = say_sites(sites_table(sites_by_hand()))
    assert lines == [
        "**bert**: Facts: two sites in 1 of 2 relations (early contrast above 0 in 1 and below 0 in 0; late contrast "
        "above 0 in 2 and below 0 in 0). Syntax: two sites in 1 of 1 paradigm (early contrast above 0 in 1 and below 0 "
        "in 0; late contrast above 0 in 1 and below 0 in 0).",
        "**gpt2**: Facts: two sites in 0 of 2 relations (early contrast above 0 in 2 and below 0 in 0; late contrast "
        f"above 0 in 0 and below 0 in 2). Syntax: nothing could be tested ({ONE_TOKEN} (1)).",
    ]


def comparison_by_hand(p: float = 0.01, level: float = 0.05) -> pd.DataFrame:
    names = ("early_contrast", "late_contrast", "early_share", "late_share")
    rows = []
    for number, name in enumerate(names):
        p_holm = p * (1 + number)
        row = (0.5, 0.1 * number, 4, 3, 0.5 - 0.1 * number, 0.1, 0.3, 0.02, p_holm, p_holm < level)
        rows.append(("bert", name, *row))
    rows += [("gpt2", name, 0.5, np.nan, 4, 0, *[np.nan] * 5, False) for name in names]
    return pd.DataFrame(rows, columns=COMPARISON)


def test_facts_against_syntax() -> None:
    assert say_comparison(comparison_by_hand(0.02)) == [
        "**bert**: facts and syntax differ in 2 of 4 numbers (4 against 3 tasks): the early contrast over the total "
        "effect, 0.50 in facts and 0.00 in syntax (difference +0.50 [+0.10, +0.30], Holm-corrected p = 0.02); the late "
        "contrast over the total effect, 0.50 in facts and 0.10 in syntax (difference +0.40 [+0.10, +0.30], "
        "Holm-corrected p = 0.04).",
        "**gpt2**: fewer than 2 tasks of a kind, or nothing that varies: not compared.",
    ]
    alike = say_comparison(comparison_by_hand(0.05))[0]
    assert alike.startswith(
        "**bert**: facts and syntax cannot be told apart in any of 4 numbers (4 against 3 tasks); the closest is the "
        "early contrast over the total effect, 0.50"
    )
    assert "late" not in alike
    assert "differ in 1 of 4" in say_comparison(comparison_by_hand(0.05, level=0.06))[0]


def test_peaks() -> None:
    table = roles_table()
    # What a single task or the other measure has is not what is averaged.
    table.loc[table["task"] == "P36", "effect"] = 9.0
    table.loc[(table["kind"] == "paradigm") & (table["measure"] == "probability"), "effect"] = 9.0
    at_gap = (
        (table["model"] == "gpt2") & (table["restored"] == "mlp") & (table["role"] == "gap") & (table["layer"] == 2)
    )
    table.loc[at_gap & (table["kind"] == "paradigm"), "effect"] = 0.7
    found = peak_table(table).set_index(["model", "kind", "restored"])
    places = found[["role", "layer", "expected"]].apply(tuple, axis=1)
    assert places["bert", "relation", "mlp"] == ("cue last", 0, True)
    assert places["bert", "paradigm", "attention"] == ("gap", 3, True)
    assert places["gpt2", "relation", "mlp"] == ("cue last", 0, True)
    assert places["gpt2", "paradigm", "mlp"] == ("gap", 2, False)
    assert found.loc[("bert", "relation", "mlp"), "effect"] == pytest.approx(0.59)
    lines = say_peaks(found.reset_index())
    assert lines[1] == (
        "**gpt2** (layers 0 to 3): in facts, MLP outputs do most at the cue's last token in layer 0 (+0.59), attention "
        "outputs do most at the blank in layer 3 (+0.49): both where two sites would have them; in syntax, MLP "
        "outputs do most at the blank in layer 2 (+0.70), attention outputs do most at the blank in layer 3 (+0.49): "
        "one of them where two sites would have them."
    )
    # The right token in the wrong half of the layers is the wrong place.
    late = table.assign(layer=3 - table["layer"], upper=~table["upper"])
    assert "neither where two sites would have them" in say_peaks(peak_table(late))[0]
    # And so is the right half at the wrong token.
    elsewhere = table.assign(role=table["role"].map({"cue last": "gap", "gap": "cue last", "before": "before"}))
    assert "neither where two sites would have them" in say_peaks(peak_table(elsewhere))[0]


def test_peaks_of_one_task_and_one_layer() -> None:
    table = roles_table(models=("bert",), tasks={"relation": ("P36",)}, layers=1)
    found = peak_table(table)
    assert set(found["over"]) == {"P36"} and set(found["kind"]) == {"relation"}
    assert list(found["expected"]) == [True, False]
    assert say_peaks(found)[0].startswith("**bert** (layers 0 to 0): in facts, ")


def skipped_by_hand() -> pd.DataFrame:
    rows = [
        ("bert", "relation", "P36", "the model does not answer right", 30),
        ("bert", "relation", "P36", "traced", 24),
        ("bert", "paradigm", "anaphor", "more than the study asks", 1976),
        ("bert", "paradigm", "anaphor", "traced", 24),
        ("gpt2", "relation", "P36", "traced", 7),
        ("llama", "relation", "P36", "the model does not answer right", 5),
    ]
    return pd.DataFrame(rows, columns=["model", "kind", "task", "status", "prompts"])


def test_what_was_traced() -> None:
    assert say_traced(skipped_by_hand()) == [
        "**bert**: 48 of 2,054 prompts are traced (of the others, more than the study asks: 1,976; the model does not "
        "answer right: 30).",
        "**gpt2**: 7 of 7 prompts are traced.",
        "**llama**: 0 of 5 prompts are traced (of the others, the model does not answer right: 5).",
    ]
    wide = skipped_by_task(skipped_by_hand())
    statuses = ["traced", "the model does not answer right", "more than the study asks"]
    assert list(wide.columns) == ["model", "kind", "task", *statuses]
    np.testing.assert_array_equal(wide[statuses], [[24, 30, 0], [24, 0, 1976], [7, 0, 0], [0, 5, 0]])


def test_prompts_that_are_drawn() -> None:
    table = prompts_table(examples_table(("The", "Ġold", "▁Ann", "##ika", "is")))
    assert list(table["tokens"]) == ["The old Ann* ##ika* is"] * 2
    assert list(table["task"]) == ["P36", "anaphor_number_agreement"] and list(table["clean"]) == [0.912] * 2


def test_nothing_was_traced() -> None:
    """The tables of a study without tracing are written, read again, and spoken of."""
    settings = Settings(boundary=0.5, level=0.05, resamples=10, confidence=0.95, seed=1)
    made = summarise({}, {}, {}, {}, [], settings)
    tables = {}
    for name in ("tracing", "roles", "comparison", "skipped", "examples"):
        text = getattr(made, name).to_csv(index=False)
        tables[name] = pd.read_csv(io.StringIO(text))
        assert list(tables[name].columns) == HEADS.get(name, COMPARISON), name
    sites = sites_table(tables["tracing"])
    assert sites.empty and list(sites.columns) == list(sites_table(sites_by_hand()).columns)
    assert say_claim(sites) == (
        "No task could be tested, so it remains open whether early and late site can be told apart."
    )
    assert say_sites(sites) == say_comparison(tables["comparison"]) == say_peaks(peak_table(tables["roles"])) == []
    assert say_traced(tables["skipped"]) == ["Nothing was traced."]
    assert skipped_by_task(tables["skipped"]).empty and prompts_table(tables["examples"]).empty


def test_figures_and_sentences_need_few_libraries() -> None:
    """Rules that draw and tell run in environments without torch and statsmodels; sentences without matplotlib."""
    scripts = Path(__file__).parents[2] / "scripts"
    for module, heavy in (
        ("prose", "torch scipy statsmodels matplotlib"),
        ("figures", "torch scipy statsmodels"),
        ("heatmaps", "torch scipy statsmodels"),
    ):
        code = f"import sys, kn_thesis.tracing.{module}; print(*sorted(set({heavy.split()}) & set(sys.modules)))"
        run = subprocess.run([sys.executable, "-c", code], cwd=scripts, capture_output=True, text=True, check=True)
        assert run.stdout.strip() == "", module
