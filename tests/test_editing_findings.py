"""Sentences about edits, whichever way it went, and the completions and the notebook that show them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kn_thesis.editing.completions import completions_html
from kn_thesis.editing.expected import AGREES, CLAIMS, CONTRADICTS, NOT_ASKED, OPEN, judged, verdict
from kn_thesis.editing.findings import (
    by_task,
    first_page_sentence,
    poster_table,
    say_agreement,
    say_criteria,
    say_fluency,
    say_skipped,
    say_tests,
)
from kn_thesis.editing.localized import say_directions, say_layers, say_localization
from kn_thesis.editing.names import AGREEMENT_CRITERIA, CRITERIA, RELATION_CRITERIA
from kn_thesis.editing.rows import editors_of, peak
from kn_thesis.editing.words import CRITERION_WORDS, listed, span, within
from tests.edited_tables import (
    comparison_row,
    completions_table,
    criterion_row,
    direction_row,
    directions_table,
    editing_table,
    fluency_row,
    layers_table,
    localization_row,
    skipped_table,
)

ROOT = Path(__file__).parents[1]


def test_words() -> None:
    assert within(0.97, 0.925, 1.0) == "97% [92%, 100%]" and within(0.5, np.nan, np.nan) == "50%"
    assert within(-0.25, -0.4, 0.1, "+.1f") == "-0.2 [-0.4, +0.1]"
    assert [listed(parts) for parts in (["a"], ["a", "b"], ["a", "b", "c"], [])] == ["a", "a and b", "a, b and c", ""]
    assert span([0.6, 0.714, 0.65], ".2f") == "0.60 to 0.71" and span([0.601, 0.599], ".2f") == "0.60"
    assert set(CRITERION_WORDS) == set(CRITERIA) and len(set(CRITERION_WORDS.values())) == len(CRITERIA)


def test_editors_come_in_their_own_order() -> None:
    assert editors_of(pd.DataFrame({"editor": ["memit", "fine_tuning", "rome", "rome"]})) == [
        *("rome", "fine_tuning", "memit")
    ]
    assert editors_of(pd.DataFrame()) == []


def test_the_peak_is_the_lowest_of_equals() -> None:
    rows = pd.DataFrame({"layer": [3, 2, 1, 0], "effect": [0.1, 0.3 + 1e-12, 0.3, np.nan]}, index=[0, 0, 1, 1])
    assert peak(rows, "effect") == 1
    assert peak(rows.assign(effect=np.nan), "effect") is None and peak(pd.DataFrame(), "effect") is None


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0.51, 0.9, True, AGREES),
        (0.51, 0.9, False, CONTRADICTS),
        (0.1, 0.49, True, CONTRADICTS),
        (0.1, 0.49, False, AGREES),
        (0.5, 0.9, True, OPEN),
        (0.1, 0.5, False, OPEN),
        (0.3, 0.7, True, OPEN),
        (np.nan, np.nan, True, OPEN),
    ],
)
def test_an_interval_takes_a_side_or_none(low: float, high: float, most: bool, expected: str) -> None:
    assert verdict(0.6, low, high, most) == expected


def test_verdicts_without_a_share() -> None:
    assert verdict(np.nan, np.nan, np.nan, True) == NOT_ASKED
    known = {"share_known": 0.2, "known_low": 0.1, "known_high": 0.3}
    for criterion in RELATION_CRITERIA:
        expected = (0.2, 0.1, 0.3) if criterion in ("symmetry_old", "locality") else (0.9, 0.85, 0.95)
        assert judged(criterion_row("gpt2", criterion, **known)) == pytest.approx(expected)


def test_claims_are_about_criteria_that_are_asked() -> None:
    assert [claim.number for claim in CLAIMS] == [8, 9, 10, 11]
    for claim in CLAIMS:
        asked = RELATION_CRITERIA if claim.kind == "relation" else AGREEMENT_CRITERIA
        assert set(claim.most) <= set(asked)


def test_criteria_as_the_paper_has_them() -> None:
    table = editing_table(("gpt2",))
    table.loc[table["task"] != "all", ["share", "low", "high"]] = 0.5  # a single task is not what is said
    assert say_criteria(table) == [
        "**gpt2**, claim 8 (editing knowledge neurons is unreliable). Against the paper: reliability 77% [72%, 82%].",
        "**gpt2**, claim 9 (ROME is reliable and general, but fails symmetry). As the paper has it: reliability 97% "
        "[92%, 100%]; generality 90% [85%, 95%]; symmetry, new side 3% [0%, 8%]; symmetry, old side 24% [19%, 29%] of "
        "what the model knew.",
        "**gpt2**, claim 10 (ROME fails synonymy). As the paper has it: synonymy 10% [5%, 15%].",
        "**gpt2**, other subjects keep the answer that the model knew: ROME 85% [80%, 90%], knowledge neurons 65% "
        "[60%, 70%] and fine-tuning 45% [40%, 50%].",
    ]


def claim_nine(**rows: dict[str, Any]) -> str:
    """What is said of ROME when some criteria are met otherwise; the rest as the paper has it."""
    shares = {"reliability": 0.9, "generality": 0.9, "symmetry_new": 0.1, "symmetry_old": 0.1}
    table = pd.DataFrame(
        [criterion_row("gpt2", name, **({"share": share} | rows.get(name, {}))) for name, share in shares.items()]
    )
    (said,) = (line for line in say_criteria(table) if "claim 9" in line)
    return said.split("symmetry). ")[1]


def test_what_contradicts_the_paper_is_said() -> None:
    assert claim_nine(symmetry_new={"share": 0.8}) == (
        "As the paper has it: reliability 90% [85%, 95%]; generality 90% [85%, 95%]; symmetry, old side 10% [5%, 15%] "
        "of what the model knew. Against the paper: symmetry, new side 80% [75%, 85%]."
    )
    unreliable = claim_nine(reliability={"share": 0.2}, generality={"share": 0.48})
    assert "Against the paper: reliability 20% [15%, 25%]. Open" in unreliable
    assert unreliable.endswith("Open (no interval, or it includes 50%): generality 48% [43%, 53%].")
    nothing = dict.fromkeys(["share", "low", "high", "share_known", "known_low", "known_high"], np.nan)
    assert claim_nine(symmetry_new=nothing, symmetry_old=nothing).endswith(
        "Not asked: symmetry, new side; symmetry, old side."
    )
    # A model that knew nothing of the old side meets it without an edit: that is no success.
    ignorant = claim_nine(symmetry_old={"share": 1.0, "share_known": np.nan})
    assert ignorant.endswith("Not asked: symmetry, old side.")
    few = claim_nine(reliability={"low": np.nan, "high": np.nan})
    assert few.endswith("Open (no interval, or it includes 50%): reliability 90%.")


def test_models_and_editors_that_are_not_there_are_not_spoken_of() -> None:
    table = editing_table(("bert",), ("knowledge_neuron",), {"relation": ("P36",)})
    table.loc[table["criterion"] == "locality", "share_known"] = np.nan
    assert say_criteria(table) == [
        "**bert**, claim 8 (editing knowledge neurons is unreliable). Against the paper: reliability 97% [92%, 100%]."
    ]
    assert say_agreement(table) == []


def test_agreement_as_on_the_poster() -> None:
    table = editing_table(("gpt2",), tasks={"paradigm": ("distractor",)})
    first = "**gpt2**, claim 11 (an agreement edit changes one pair of subject and verb only). "
    assert say_agreement(table) == [
        f"{first}As the paper has it: reliability 97% [92%, 100%]; another distractor 80% [75%, 85%]; another subject "
        "15% [10%, 20%]; another of both 12% [7%, 17%]; another verb 20% [15%, 25%]."
    ]
    assert say_criteria(table) == []
    wide = table["criterion"].isin(["other_subject", "other_both"])
    table.loc[wide, ["share", "low", "high"]] = [0.9, 0.8, 0.95]
    (said,) = say_agreement(table)
    assert said.endswith("Against the paper: another subject 90% [80%, 95%]; another of both 90% [80%, 95%].")


def test_the_poster_s_rows_are_a_table() -> None:
    table = editing_table(tasks={"paradigm": ("distractor",), "relation": ("P36",)})
    at = (table["task"] == "distractor") & (table["criterion"] == "other_subject") & (table["model"] == "gpt2")
    table.loc[at & (table["editor"] == "rome"), "published"] = "unchanged: The pilots"
    table.loc[(table["model"] == "llama") & (table["criterion"] == "other_verb"), "share"] = np.nan
    found = poster_table(table).set_index("criterion")
    assert list(found.index) == [CRITERION_WORDS[name] for name in AGREEMENT_CRITERIA]
    assert list(found.columns)[:3] == ["gpt2, ROME", "gpt2, knowledge neurons", "gpt2, fine-tuning"]
    assert found.loc["another distractor", "gpt2, knowledge neurons"] == "60% [55%, 65%]"
    assert found.loc["another verb", "llama, ROME"] == ""
    assert list(found["published"]) == ["", "", "", "unchanged: The pilots", ""]


def test_shares_by_task() -> None:
    table = editing_table(("llama", "gpt2"), ("rome",))
    table.loc[(table["task"] == "P101") & (table["criterion"] == "reliability"), ["share", "edits"]] = [0.25, 44]
    table = table[~((table["task"] == "P36") & (table["criterion"] == "synonymy"))]
    found = by_task(table, "relation", ("synonymy", "reliability"))
    assert list(found.columns) == ["model", "editor", "task", "edits", "synonymy", "reliability"]
    assert list(found["model"]) == ["llama", "llama", "gpt2", "gpt2"] and list(found["task"]) == ["P36", "P101"] * 2
    np.testing.assert_allclose(found[["edits", "synonymy", "reliability"]][:2], [[40, np.nan, 0.97], [44, 0.1, 0.25]])


def test_tests_are_counted() -> None:
    rows = [
        comparison_row("gpt2", "symmetry_new"),
        comparison_row("gpt2", "generality", p_holm=0.7, differs=False),
        comparison_row("gpt2", "synonymy", p_holm=np.nan, differs=False),
        comparison_row("gpt2", "other_verb", editor="fine_tuning", kind="paradigm", first_only=2, second_only=30),
        comparison_row("llama", "generality", p_holm=1.0, differs=False),
        comparison_row("bert", "generality", p_holm=np.nan, differs=False),
    ]
    assert say_tests(pd.DataFrame(rows)) == [
        "**gpt2**: 2 of 3 comparisons differ after Holm's correction (1 could not be tested): ROME, facts: reliability "
        "without symmetry, new side in 33 of 40 edits, the reverse in 1 (p = 4e-08); fine-tuning, syntax: reliability "
        "without another verb in 2 of 40 edits, the reverse in 30 (p = 4e-08).",
        "**llama**: 0 of 1 comparisons differ after Holm's correction.",
        "**bert**: no comparison could be tested (1 could not be tested).",
    ]


def test_what_was_edited() -> None:
    assert say_skipped(skipped_table()) == [
        "**gpt2**, ROME: 40 of 1,047 requests are edited (of the others, the model does not know it: 1,005; the "
        "optimisation diverged: 2).",
        "**gpt2**, fine-tuning: 30 of 30 requests are edited.",
        "**bert**, knowledge neurons: 0 of 4 requests are edited (of the others, no knowledge neuron was found: 4).",
    ]


def test_fluency() -> None:
    rows = [
        fluency_row("gpt2", "fine_tuning", p=np.nan, low=np.nan, high=np.nan, update_share=np.nan),
        fluency_row("gpt2", "rome"),
        fluency_row("gpt2", "rome", task="P36", change=9.0),
        fluency_row("bert", "knowledge_neuron", change=np.nan),
    ]
    assert say_fluency(pd.DataFrame(rows)) == [
        "**gpt2**, facts: ROME takes the entropy from 6.50 to 6.25 bits (change -0.25 bits [-0.40, -0.10], p = 0.012, "
        "changing weights by 3.4% of their norm); fine-tuning takes the entropy from 6.50 to 6.25 bits (change -0.25 "
        "bits, no test)."
    ]
    assert say_fluency(pd.DataFrame(rows[-1:])) == ["No continuation was sampled."]


def test_whether_traces_add_to_the_layer() -> None:
    table = pd.DataFrame(
        [
            localization_row("gpt2", "P36"),
            localization_row("gpt2", "P101", gain=0.123),
            localization_row("llama", "P36"),
        ]
    )
    nothing = say_localization(table)
    assert nothing.startswith("What a fact's own trace adds to the layer alone")
    assert "nowhere be told from chance (0 of 3 tasks of 2 models; at most 0.123 of R²). That is what Hase" in nothing
    table.loc[0, "informs"] = True
    found = say_localization(table)
    assert "tells of P(new) after its edit in 1 of 3 tasks of 2 models (Holm-corrected; at most 0.123 of R²)" in found
    assert found.endswith("Hase et al. (2023) reported that it adds next to nothing.")
    untested = table.assign(p_holm=np.nan, informs=False)
    assert say_localization(untested).startswith("Nothing could be tested")
    assert say_localization(untested) == say_localization(pd.DataFrame())


def test_the_best_layer_and_the_traced_one() -> None:
    table = pd.DataFrame(
        [
            localization_row("gpt2", "P36", r2_layer=0.4),
            localization_row("gpt2", "P101", agrees_mlp=True, peak_mlp=1, gain=0.2, informs=True),
            localization_row("gpt2", "P27", p_holm=np.nan, gain=9.0, agrees_hidden=False),
        ]
    )
    _, gpt2, llama = say_layers(layers_table(), table)
    first = (
        "Of layers 0 to 3, relations taken together, layer 1 is the best to edit (P(new) 0.87, reliability 97% [93%, "
        "100%]). Restored at the cue's last token, MLP outputs do most in layer 0 (another); hidden states do most in "
        "layer 3 (another)."
    )
    assert llama == f"**llama**: {first}"
    assert gpt2 == (
        f"**gpt2**: {first} Task by task, the best layer is where MLP outputs do most in 1 of 3 (any layer, picked "
        "blindly: 1 in 4) and where hidden states do most in 2 of 3. The layer alone explains 0.40 to 0.60 of the "
        "variance of P(new) (R² by task); the fact's own trace adds 0.010 to 0.200 and counts in 1 of 2 tasks."
    )
    same = layers_table(("gpt2",)).assign(trace_hidden=np.nan)
    same["trace_mlp"] = same["layer"].map({0: 0.1, 1: 0.4, 2: 0.2, 3: 0.1})
    assert say_layers(same, pd.DataFrame())[1].endswith("cue's last token, MLP outputs do most in layer 1 (the same).")
    assert say_layers(same.assign(trace_mlp=np.nan), pd.DataFrame())[1].endswith("100%]). It was not traced.")


def test_tasks_that_were_not_traced_have_no_peak() -> None:
    untraced = {"peak_mlp": np.nan, "peak_hidden": np.nan, "agrees_mlp": False, "agrees_hidden": False}
    untested = {"p_holm": np.nan, "informs": False}
    rows = [localization_row("gpt2", "P36", **untraced, **untested), localization_row("gpt2", "P101")]
    said = say_layers(pd.DataFrame(), pd.DataFrame(rows))[1]
    assert "MLP outputs do most in 0 of 1 and where hidden states do most in 1 of 1." in said
    assert "explains 0.60 of the variance" in said
    assert say_layers(pd.DataFrame(), pd.DataFrame(rows[:1]))[1:] == []


def test_directions_whichever_way_they_went() -> None:
    said = say_directions(directions_table())
    assert len(said) == 2 and said[1].startswith("**gpt2** against **gpt2-one-way**, fine-tuning, P36: ")
    both = "30% [18%, 45%] against 5% [1%, 17%] of 40 facts (they differ, Holm-corrected p = 0.008)"
    assert said[0] == (
        f"**gpt2** against **gpt2-one-way**, ROME, P36: symmetry, new side {both}; symmetry, old side {both}; "
        "reliability 95% [84%, 99%] against 90% [77%, 96%] of 40 facts (no difference that can be told from chance, "
        "Holm-corrected p = 1). Where training states both directions, most edits fail symmetry, new side and "
        "symmetry, old side."
    )
    met = {"share_both": 0.9, "low_both": 0.8, "high_both": 0.97}
    rows = [
        direction_row("symmetry_new", **met, p_holm=np.nan, differs=False),
        direction_row("symmetry_old", low_both=0.4, high_both=0.6),
        direction_row("reliability", task="P101"),
    ]
    (said,) = say_directions(pd.DataFrame(rows))
    assert "symmetry, new side 90% [80%, 97%] against 5% [1%, 17%] of 40 facts (not tested)" in said
    assert said.endswith("most edits meet symmetry, new side and it stays open of symmetry, old side.")


def test_directions_that_nothing_was_asked_of() -> None:
    nothing = ["Nothing to compare: no two models of one family whose worlds state both directions and one."]
    empty = direction_row("symmetry_new", facts=0, share_both=np.nan, share_one_way=np.nan)
    assert say_directions(pd.DataFrame([empty, direction_row("reliability")])) == nothing
    (said,) = say_directions(pd.DataFrame([empty, direction_row("symmetry_old")]))
    assert "new side" not in said


def test_the_first_page_has_one_sentence() -> None:
    table = editing_table()
    table.loc[(table["model"] == "llama") & (table["criterion"] == "synonymy"), "share"] = np.nan
    tests = pd.DataFrame(
        [
            comparison_row("gpt2", "symmetry_new"),
            comparison_row("gpt2", "generality", differs=False),
            comparison_row("gpt2", "synonymy", p_holm=np.nan, differs=False),
        ]
    )
    assert first_page_sentence(table, tests) == (
        "Edits of facts with ROME show reliability in 97% [92%, 100%] (gpt2) and 97% [92%, 100%] (llama); generality "
        "in 90% [85%, 95%] (gpt2) and 90% [85%, 95%] (llama); symmetry, new side in 3% [0%, 8%] (gpt2) and 3% [0%, 8%] "
        "(llama); synonymy in 10% [5%, 15%] (gpt2); over all editors, 1 of 2 comparisons of two criteria differ after "
        "Holm's correction."
    )
    assert first_page_sentence(table[table["kind"] == "paradigm"], tests) == "No fact was edited with ROME."
    assert first_page_sentence(table, tests.iloc[:0]).endswith("synonymy in 10% [5%, 15%] (gpt2).")


def through_file(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """A table as the notebook reads it."""
    table.to_csv(path, index=False)
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


def test_completions_are_marked_by_sign_and_word(tmp_path: Path) -> None:
    table = completions_table().assign(subject="null")
    for rows in (table, through_file(table, tmp_path / "completions.csv")):
        page = completions_html(rows, "What <models> say.")
        assert page.count("✓ right</span>") == 1 and page.count("✗ wrong</span>") == 3
        assert page.count("– not judged") == 1
        assert page.count("<details open>") == 1 and page.count("<details>") == 1
        assert "<summary>gpt2, ROME: 1 edit, answers ✓ right 1, ✗ wrong 2</summary>" in page
        assert page.index("gpt2, ROME") < page.index("gpt2, fine-tuning: 1 edit, answers ✓ right 0, ✗ wrong 1")
        assert "P36 · null: Ottawa → Rome" in page
        assert (
            "What &lt;models&gt; say." in page and "federalist &lt;system&gt;" in page and "Rome &amp; others" in page
        )
        # What stands before the gap was continued; of the old side, what must be gone is asked for.
        assert ">The capital of Canada is\u00a0…<" in page and "___" not in page
        assert ">not Canada<" in page and page.count(">Canada<") == 2 and ">Italy ⏎ and more<" in page
        for tag in ("table", "tbody", "tr", "td", "th", "details", "div", "span"):
            assert page.count(f"<{tag}>") + page.count(f"<{tag} ") == page.count(f"</{tag}>"), tag


def test_completions_of_words_that_look_like_nothing(tmp_path: Path) -> None:
    table = completions_table().iloc[:1].assign(before="NA", after="", old="null")
    page = completions_html(through_file(table, tmp_path / "completions.csv"), "")
    assert ">NA</td>" in page and "null → Rome" in page and "nan" not in page


def tables() -> dict[str, pd.DataFrame]:
    """Every table of the chapter."""
    return {
        "editing": editing_table(),
        "tests": pd.DataFrame([comparison_row("gpt2", "symmetry_new")]),
        "skipped": skipped_table(),
        "fluency": pd.DataFrame([fluency_row("gpt2", "rome")]),
        "layers": layers_table(),
        "localization": pd.DataFrame([localization_row("gpt2", "P36")]),
        "directions": directions_table(),
        "completions": completions_table(),
    }


def test_nothing_was_edited(tmp_path: Path) -> None:
    """The tables of a study without edits are written, read again, and spoken of."""
    heads = {name: through_file(table.iloc[:0], tmp_path / f"{name}.csv") for name, table in tables().items()}
    for found in (heads, dict.fromkeys(heads, pd.DataFrame())):
        assert say_criteria(found["editing"]) == say_agreement(found["editing"]) == say_tests(found["tests"]) == []
        assert say_skipped(found["skipped"]) == ["Nothing was edited."]
        assert say_fluency(found["fluency"]) == ["No continuation was sampled."]
        assert len(say_layers(found["layers"], found["localization"])) == 1
        assert say_directions(found["directions"])[0].startswith("Nothing to compare")
        assert first_page_sentence(found["editing"], found["tests"]) == "No fact was edited with ROME."
        assert by_task(found["editing"], "relation", RELATION_CRITERIA).empty
        assert list(poster_table(found["editing"]).columns) == ["criterion", "published"]
        assert completions_html(found["completions"], "").endswith("<p>No completion was kept.</p>")


@pytest.mark.parametrize("full", [True, False])
def test_the_notebook_reads_these_tables(tmp_path: Path, full: bool) -> None:
    notebook = json.loads((ROOT / "workflow/notebooks/editing.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    (parameters,) = [cell for cell in cells if cell["metadata"].get("tags") == ["parameters"]]
    names: dict[str, Any] = {}
    exec("".join(parameters["source"]), names)
    figures = {f"{name}_figure" for name in ("criteria", "agreement", "layers", "directions")}
    assert {name for name in names if not name.startswith("_")} == {f"{name}_table" for name in tables()} | figures
    for name, table in tables().items():
        path = tmp_path / Path(names[f"{name}_table"]).name
        (table if full else table.iloc[:0]).to_csv(path, index=False)
        names[f"{name}_table"] = str(path)
    for name in figures:
        names[name] = str(tmp_path / f"{name}.svg")
        Path(names[name]).write_text("<svg/>", encoding="utf-8")
    for cell in cells[cells.index(parameters) + 1 :]:
        exec("".join(cell["source"]), names)


def test_figures_and_sentences_need_few_libraries() -> None:
    """Rules that draw and tell run in environments without torch and statsmodels; sentences without matplotlib."""
    for module in ("findings", "localized", "completions", "figures"):
        heavy = {"torch", "scipy", "statsmodels", *(() if module == "figures" else ("matplotlib",))}
        code = f"import sys, kn_thesis.editing.{module}; print(*sorted({heavy} & set(sys.modules)))"
        run = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "scripts", capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        assert run.stdout.strip() == "", module
