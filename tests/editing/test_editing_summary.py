"""The chapter's tables, from files, and the rule that writes them."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from kn_thesis.editing.statistics import criteria_rows, per_edit, pooled
from kn_thesis.editing.summary import (
    HEADS,
    Settings,
    Tables,
    add_published,
    completion_rows,
    published_results,
    summarise,
)
from kn_thesis.editing.tables import AGREEMENT_CRITERIA, CRITERIA, DIVERGED, RELATION_CRITERIA, Editing
from kn_thesis.files import by_folder
from kn_thesis.stats import holm
from tests.helpers.editing_task_tables import (
    edit_row,
    editing_of,
    question_row,
    sweep_of,
    traces_of,
    world,
    write_editing,
    write_sweep,
    write_tracing,
)

ROOT = Path(__file__).parents[2]
PUBLISHED = yaml.safe_load((ROOT / "resources/published.yaml").read_text(encoding="utf-8"))["editing"]
SETTINGS = {"level": 0.05, "resamples": 100, "confidence": 0.9, "seed": 1}
PAIR = "distractor_agreement_relational_noun"
KINDS = {"P36": "relation", "P101": "relation", PAIR: "paradigm"}
FAMILIES = {"gpt2": "gpt2", "flat": "gpt2", "bert": "bert"}
TASKS = {"gpt2": ["P36", PAIR, "P101"], "flat": ["P36", PAIR], "bert": ["P101"]}
EDITORS = {"gpt2": ["rome", "knowledge_neuron"], "flat": ["rome"], "bert": ["knowledge_neuron"]}
RELATION = dict.fromkeys(RELATION_CRITERIA[:5], 1.0) | {"symmetry_new": 0.2, "symmetry_old": 0.5}


def study(root: Path, mix: int = 0) -> dict[str, Any]:
    """Files of a small study in `root`, their rows in another order for every `mix`; what `summarise` is asked."""

    def mixed(table: pd.DataFrame) -> pd.DataFrame:
        return table.sample(frac=1, random_state=mix) if mix else table

    random = np.random.default_rng(1)
    shown = ["reliability", "symmetry_new", "generality"]
    for model, tasks in TASKS.items():
        for editor in EDITORS[model]:
            for number, task in enumerate(tasks):
                met = RELATION if KINDS[task] == "relation" else dict.fromkeys(AGREEMENT_CRITERIA, 0.5)
                of = world(8 + number, met, seed=number, statuses={3: DIVERGED}, shown=[] if model == "bert" else shown)
                parts = (mixed(table) for table in (of.edits, of.questions, of.completions))
                write_editing(root / "editing" / model / editor, task, Editing(*parts))
    for task, kind in KINDS.items():
        p_after = random.random((9, 3))
        sweep = pd.concat([sweep_of(p_after, "abcdefghi"), sweep_of(p_after, "abcdefghi", criterion="locality")])
        write_sweep(root / "editing" / "gpt2", task, mixed(sweep))
        if kind == "relation":
            write_tracing(root / "tracing" / "gpt2", task, traces_of(random.random((9, 3)), "abcdefghi"))
    asked: dict[str, Any] = {"tasks": TASKS, "editors": EDITORS, "kinds": KINDS, "families": FAMILIES}
    asked |= {"swept": {"gpt2": list(KINDS)}, "traced": {"gpt2": ["P36", "P101"], "bert": ["P101"]}, "shown": 2}
    return asked | {"pairs": [{"family": "gpt2", "both": "gpt2", "one_way": "flat"}]}


def summarised(root: Path, asked: dict[str, Any]) -> Tables:
    found = inputs(root)
    files = by_folder({name: found[name] for name in ("edits", "questions", "completions", "layers")}, levels=2)
    tracing = by_folder({"prompts": found["traced"], "effects": found["effects"]})
    return summarise(files, **asked, tracing=tracing, published=PUBLISHED, settings=Settings(**SETTINGS))


def inputs(root: Path) -> dict[str, list[str]]:
    """The rule's files by name."""
    patterns = {name: f"editing/*/*/*.{name}.parquet" for name in ("edits", "questions", "completions")}
    patterns |= {"layers": "editing/*/layers/*.parquet"}
    patterns |= {"traced": "tracing/*/*.prompts.parquet", "effects": "tracing/*/*.effects.parquet"}
    return {name: sorted(map(str, root.glob(pattern))) for name, pattern in patterns.items()}


def written(root: Path, asked: dict[str, Any], left_out: Sequence[str] = ()) -> dict[str, str]:
    """What the rule's script writes, by name."""
    files = {name: paths for name, paths in inputs(root).items() if name not in left_out}
    source = _Named(files | {"published": str(ROOT / "resources/published.yaml")})
    output = {name: str(root / "tables" / f"{name}.csv") for name in HEADS}
    figures = {
        f"{name}_{form}": str(root / "figures" / f"{name}.{form}")
        for name in ("criteria", "agreement", "layers", "directions")
        for form in ("svg", "png")
    }
    params = _Named(asked | {"settings": SETTINGS, "drawn": list(FAMILIES)})
    rule = SimpleNamespace(input=source, output=_Named(output | figures), params=params, log=[str(root / "log")])
    runpy.run_path(str(ROOT / "scripts/summarise_editing.py"), {"snakemake": rule})
    return {name: Path(path).read_text(encoding="utf-8") for name, path in output.items()}


class _Named(dict[str, Any]):
    """Entries that are attributes, too."""

    __getattr__ = dict.__getitem__


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    root = tmp_path_factory.mktemp("study")
    return summarised(root, study(root))


def test_all_tables_have_their_columns_and_rows(tables: Tables) -> None:
    for name, columns in HEADS.items():
        assert list(getattr(tables, name)) == columns and len(getattr(tables, name))
    key = ["model", "editor", "kind", "task", "criterion"]
    assert not tables.editing.duplicated(key).any()
    of = tables.editing[(tables.editing["model"] == "gpt2") & (tables.editing["editor"] == "rome")]
    for kind, tasks, criteria in (("relation", ["P36", "P101", "all"], 5), ("paradigm", [PAIR, "all"], 5)):
        assert of.loc[of["kind"] == kind, "task"].tolist() == [task for task in tasks for _ in range(criteria)]
    assert set(tables.editing.loc[tables.editing["model"] == "bert", "task"]) == {"P101", "all"}
    assert (tables.editing["failed"] > 0).all()


def test_pooled_rows_are_over_all_edits_of_a_kind(tables: Tables) -> None:
    worlds = {"P36": world(8, RELATION, seed=0), "P101": world(10, RELATION, seed=2)}
    rows = tables.editing.set_index(["model", "editor", "kind", "task", "criterion"]).sort_index()
    for criterion in RELATION_CRITERIA[:5]:
        held = 0
        for table in worlds.values():
            questions = table.questions[table.questions["criterion"] == criterion]
            held += sum(questions.groupby("edit")["holds_after"].mean())
        row = rows.loc[("gpt2", "rome", "relation", "all", criterion)]
        assert row["share"] == pytest.approx(held / 18) and row["edits"] == 18 and row["failed"] == 2
    of = criteria_rows(pooled({task: per_edit(table) for task, table in worlds.items()}), 100, 0.9, 1)
    assert rows.loc[("gpt2", "rome", "relation", "all")].loc[of["criterion"], "low"].tolist() == of["low"].tolist()
    pooled_row = rows.loc[("gpt2", "rome", "paradigm", "all")]
    alone = rows.loc[("gpt2", "rome", "paradigm", PAIR)]
    words = ["published", "source"]
    pd.testing.assert_frame_equal(pooled_row.drop(columns=words), alone.drop(columns=words))


def test_tests_are_corrected_over_a_model(tables: Tables) -> None:
    for _, part in tables.tests.groupby("model"):
        np.testing.assert_allclose(part["p_holm"], holm(part["p"].to_numpy(dtype=float)))
        assert (part["differs"] == (part["p_holm"] < 0.05)).all()
    assert ((tables.tests["p"] < 0.05) & ~tables.tests["differs"]).any()
    assert set(tables.tests.loc[tables.tests["model"] == "gpt2", "editor"]) == {"rome", "knowledge_neuron"}
    rows = tables.tests[(tables.tests["model"] == "gpt2") & (tables.tests["kind"] == "relation")]
    assert (rows.loc[rows["second"] != "synonymy", "edits"] == 18).all() and rows["differs"].any()
    assert (rows[["both", "first_only", "second_only", "neither"]].sum(axis=1) == rows["edits"]).all()


def test_skipped_and_fluency(tables: Tables) -> None:
    counts = tables.skipped.set_index(["model", "editor", "task", "status"])["edits"].sort_index()
    assert counts.loc[("gpt2", "rome", "P101")].to_dict() == {"edited": 9, DIVERGED: 1}
    assert counts.sum() == 2 * (8 + 9 + 10) + (8 + 9) + 8
    rows = tables.fluency.set_index(["model", "editor", "kind", "task"])["edits"].sort_index()
    assert rows.loc[("gpt2", "rome", "relation")].to_dict() == {"P36": 7, "P101": 9, "all": 16}


def test_layers_and_localization(tables: Tables) -> None:
    assert tables.layers["task"].drop_duplicates().tolist() == ["P36", "P101", "all", PAIR]
    rows = tables.layers.groupby(["kind", "task"]).size()
    assert set(rows) == {6} and len(rows) == 5
    assert (tables.layers.loc[tables.layers["kind"] == "relation", "trace_mlp"].notna()).all()
    assert (tables.layers.loc[tables.layers["kind"] == "paradigm", "trace_mlp"].isna()).all()
    at = tables.layers.set_index(["kind", "task", "layer", "criterion"])["trace_mlp"].sort_index()
    means = at.loc[("relation", "P36")] + at.loc[("relation", "P101")]
    np.testing.assert_allclose(at.loc[("relation", "all")], means / 2)
    found = tables.localization.set_index("task")
    assert found["facts"].to_dict() == {"P36": 9, "P101": 9, PAIR: 0}
    assert found["p"].isna().to_dict() == {"P36": False, "P101": False, PAIR: True}
    assert found.loc[PAIR, "note"] == "not traced"


def test_directions_are_of_the_pairs_of_models(tables: Tables) -> None:
    of = tables.directions
    assert set(zip(of["family"], of["both"], of["one_way"], of["editor"], of["task"], strict=True)) == {
        ("gpt2", "gpt2", "flat", "rome", "P36")
    }
    assert (of["facts"] == 8).all() and (of["share_both"] == of["share_one_way"]).all()  # both are one world here


def test_completions_are_the_first_edits_by_name(tables: Tables) -> None:
    of = tables.completions
    assert set(of["model"]) == {"gpt2", "flat"} and set(of["edit"]) == {"e00", "e01"}
    assert set(of.groupby(["model", "editor", "task"])["edit"].nunique()) == {2}
    one = of[(of["model"] == "flat") & (of["task"] == "P36") & (of["edit"] == "e00")]
    assert one["criterion"].tolist() == ["reliability", "generality", "symmetry_new"]
    for row in of.itertuples():
        assert row.expected == "new" and row.holds == (row.after == "new.") and row.subject == f"subject {row.edit}"


def test_a_continuation_that_is_no_question_has_nothing_beside_it() -> None:
    rows = [edit_row(name) for name in "cab"]
    asked = [question_row(name, "reliability", True) for name in "cab"]
    said = [
        {"edit": name, "criterion": criterion, "question": question, "before": "x", "after": "y"}
        for name in "bc"
        for criterion, question in (("symmetry_old", "another ___"), ("reliability", f"reliability 0 of {name} ___"))
    ]
    found = completion_rows(editing_of(rows, asked, said), 1)
    assert found[["edit", "criterion", "expected", "holds"]].values.tolist() == [
        ["b", "reliability", "new", True],
        ["b", "symmetry_old", "", ""],
    ]
    assert completion_rows(editing_of(rows, asked, said), 0).empty


def test_published_results_stand_in_their_rows(tables: Tables) -> None:
    said = tables.editing[tables.editing["published"] != ""]
    assert (tables.editing.loc[tables.editing["published"] == "", "source"] == "").all()
    assert set(said["source"]) == {"poster"}
    of = said.set_index(["model", "editor", "kind", "task", "criterion"])["published"]
    assert "Ottawa is the capital of Canada" in of.loc[("gpt2", "rome", "relation", "P36", "symmetry_old")]
    assert "unchanged" in of.loc[("flat", "rome", "relation", "P36", "symmetry_new")]
    assert "GPT-J 1.66 %" in of.loc[("bert", "knowledge_neuron", "relation", "all", "reliability")]
    assert "dancers" in of.loc[("gpt2", "rome", "paradigm", PAIR, "other_both")]
    assert len(of) == 2 * (3 + 4) + 2  # ROME: P36 and agreement in two models; neurons: two models
    other = add_published(tables.editing.assign(family="llama"), PUBLISHED)
    assert set(other.loc[other["published"] != "", "editor"]) == {"knowledge_neuron"}
    assert all(entry.criterion in CRITERIA for entry in published_results(PUBLISHED))


def test_the_rule_writes_the_same_bytes_whatever_the_order_of_rows(tmp_path: Path) -> None:
    first, second = (written(tmp_path / str(mix), study(tmp_path / str(mix), mix)) for mix in (0, 5))
    assert first == second and all(first.values())
    table = pd.read_csv(tmp_path / "0" / "tables" / "localization.csv")
    assert table["informs"].dtype == bool and table["best_layer"].between(0, 2).all()


def test_a_study_without_edits_sweeps_or_pairs_has_its_columns(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    empty = editing_of([], [])
    write_editing(tmp_path / "editing" / "gpt2" / "rome", "P36", empty)
    one: dict[str, Any] = {"tasks": {"gpt2": ["P36"]}, "editors": {"gpt2": ["rome"]}, "shown": 2}
    one |= {"kinds": KINDS, "families": FAMILIES, "swept": {}, "traced": {}, "pairs": []}
    none = one | {"tasks": {}, "editors": {}}
    single = one | {"pairs": [{"family": "gpt2", "both": "gpt2", "one_way": "flat"}]}
    for asked in (one, none, single):
        found = summarised(tmp_path, asked)
        for name, columns in HEADS.items():
            assert list(getattr(found, name)) == columns and not len(getattr(found, name))
    for asked, left_out in ((one, ()), (none, tuple(inputs(tmp_path)))):
        for name, text in written(tmp_path, asked, left_out).items():
            assert text.splitlines() == [",".join(HEADS[name])]
    assert capsys.readouterr().err == ""
