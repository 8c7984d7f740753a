"""What the report shows of edits: completions, the notebook, and a study in which nothing was edited."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kn_thesis.editing.example_html import completions_html
from kn_thesis.editing.prose import (
    by_task,
    poster_table,
    say_directions,
    say_fluency,
    say_kept,
    say_layers,
    say_reach,
    say_skipped,
    say_tests,
)
from kn_thesis.editing.tables import EXAMPLES, RELATION_CRITERIA
from kn_thesis.report.claims.verdicts import say_parts
from tests.helpers.claim_tables import tables as claim_tables
from tests.helpers.editing_csv_tables import (
    comparison_row,
    completions_table,
    directions_table,
    editing_table,
    fluency_row,
    layers_table,
    localization_row,
    skipped_table,
)
from tests.report.test_claims import judged

ROOT = Path(__file__).parents[2]


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
    claims, parts = judged(claim_tables({}))
    return {
        "claims": claims,
        "claim_parts": parts,
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
        assert say_kept(found["editing"]) == say_parts(found["claim_parts"], [8, 9, 10, 11]) == []
        assert say_reach(found["editing"]) == say_tests(found["tests"]) == []
        assert say_skipped(found["skipped"]) == ["Nothing was edited."]
        assert say_fluency(found["fluency"]) == ["No continuation was sampled."]
        assert len(say_layers(found["layers"], found["localization"])) == 1
        assert say_directions(found["directions"])[0].startswith("Nothing to compare")
        assert by_task(found["editing"], "relation", RELATION_CRITERIA).empty
        assert list(poster_table(found["editing"]).columns) == ["criterion", "published"]
        assert completions_html(found["completions"], "").endswith("<p>No completion was kept.</p>")


@pytest.mark.parametrize("full", [True, False])
def test_the_notebook_reads_these_tables(tmp_path: Path, full: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = json.loads((ROOT / "workflow/notebooks/editing.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    (parameters,) = [cell for cell in cells if cell["metadata"].get("tags") == ["parameters"]]
    names: dict[str, Any] = {}
    exec("".join(parameters["source"]), names)
    figures = {f"{name}_figure" for name in ("criteria", "agreement", "layers", "directions")}
    assert {name for name in names if not name.startswith("_")} == {f"{name}_table" for name in tables()} | figures | {
        "example_edits_table"
    }
    for name, table in tables().items():
        path = tmp_path / Path(names[f"{name}_table"]).name
        (table if full else table.iloc[:0]).to_csv(path, index=False)
        names[f"{name}_table"] = str(path)
    for name in figures:
        names[name] = str(tmp_path / f"{name}.svg")
        Path(names[name]).write_text("<svg/>", encoding="utf-8")
    shown: list[Any] = []
    monkeypatch.setattr("IPython.display.display", lambda *parts: shown.extend(parts))
    if full:
        names["example_edits_table"] = str(tmp_path / "editing_examples.csv")
        pd.DataFrame(columns=["model", *EXAMPLES]).to_csv(names["example_edits_table"], index=False)
    for cell in cells[cells.index(parameters) + 1 :]:
        exec("".join(cell["source"]), names)
    # A study that names no example edits has no such section.
    assert [part.data[:16] for part in shown] == (
        ["## Example edits", "- No model of th", '<p id="table-edi'] if full else []
    )


def test_figures_and_sentences_need_few_libraries() -> None:
    """Rules that draw and tell run in environments without torch and statsmodels; sentences without matplotlib."""
    for module in ("prose", "labels", "example_html", "figures"):
        heavy = {"torch", "scipy", "statsmodels", *(() if module == "figures" else ("matplotlib",))}
        code = f"import sys, kn_thesis.editing.{module}; print(*sorted({heavy} & set(sys.modules)))"
        run = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "scripts", capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        assert run.stdout.strip() == "", module
