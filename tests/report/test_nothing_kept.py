"""A task without any kept item does not stop a study: its tables have their columns, its measures no value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kn_thesis.corpora.prompts import Prompt, Settings, make_prompts, merge_counts, write_counts, write_prompts
from kn_thesis.errors import UserError
from kn_thesis.files import write_batch, write_task_tables
from kn_thesis.localization.attribution import attribute
from kn_thesis.localization.statistics import say_residuals, select_in_task
from kn_thesis.localization.summary import add_published, layer_table, layers_by_task, overlap
from kn_thesis.localization.tables import Attribution
from kn_thesis.models.demands import check_learned
from kn_thesis.models.summary import summarise
from kn_thesis.suppression.summary import COLUMNS, model_tables, shown_tests, significance_table
from kn_thesis.suppression.summary import Settings as Judging
from kn_thesis.suppression.tables import suppression_tables
from kn_thesis.suppression.task import Settings as Suppressing
from kn_thesis.suppression.task import suppress_prompts
from tests.helpers.tiny_models import loaded_model
from tests.helpers.tiny_tokenizers import TEXT

SELECTION = {
    "coarse": 0.2,
    "share": 0.7,
    "adaptive": {},
    "bootstrap": {"resamples": 100, "confidence": 0.95, "seed": 1},
}
JUDGING = Judging(
    level=0.05, sample=6, sample_seed=1, resamples=100, confidence=0.95, seed=1, published_over="all"
)  # fmt: skip
SUPPRESSING = Suppressing(
    operations=["erase", "mean"],
    words={"plural": ["these", "those"], "singular": ["this"]},
    random_sets=20,
    random_prompts=6,
    nearest=5,
    max_target_tokens=3,
    seed=1,
    coarse=0.2,
    share=0.7,
    neuron="activation",
)


def empty_task(kind: str) -> pd.DataFrame:
    """The table of prompts of such a task, as the workflow writes it."""
    columns = {name: pd.Series(dtype=object) for name in Prompt.__dataclass_fields__}
    return pd.DataFrame(columns).assign(kind=kind).astype({"attributed": bool})


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    return loaded_model(request.param, tmp_path_factory.mktemp(request.param), TEXT)


def test_the_log_says_that_nothing_is_kept_and_why(model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"sentence_good": "A b c.", "sentence_bad": "A d e.", "one_prefix_method": true}\n' * 2)
    settings = Settings(evaluated=5, attributed=5, max_target_tokens=3, seed=1)
    kind, prompts, counts = make_prompts("odd", model.tokenizer, settings, pairs=pairs)
    assert (kind, prompts, counts.total()) == ("paradigm", [], 2)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("odd: no prompt is kept, so this model has no result for it: ") and " (1)" in last
    write_prompts({"odd": prompts}, tmp_path / "odd.parquet")
    assert list(pd.read_parquet(tmp_path / "odd.parquet")) == list(Prompt.__dataclass_fields__)


def test_a_study_without_any_prompt_is_refused(tmp_path: Path) -> None:
    for model, kept in (("a", 0), ("b", 0)):
        write_counts({"odd": ("paradigm", {"kept": kept, "tokens merge": 3})}, tmp_path / model / "odd.counts.csv")
    files = sorted(tmp_path.glob("*/*.counts.csv"))
    with pytest.raises(UserError, match=r"^no task has a prompt for any model \(tokens merge\): name other"):
        merge_counts(files, {"a": "bert", "b": "gpt2"}, tmp_path / "all.csv")
    write_counts({"even": ("paradigm", {"kept": 1})}, tmp_path / "a/even.counts.csv")
    merge_counts([*files, tmp_path / "a/even.counts.csv"], {"a": "bert", "b": "gpt2"}, tmp_path / "all.csv")
    assert list(pd.read_csv(tmp_path / "all.csv").query("reason == 'kept'")["count"]) == [0, 0, 1]


@pytest.mark.parametrize("kind", ["paradigm", "relation"])
def test_localization(model, kind: str) -> None:
    attribution = attribute(model, [])
    about = {"model": "m", "task": "t"}
    neurons, measures = select_in_task(attribution, [], empty_task(kind), about, SELECTION, kind)
    [row] = measures.to_dict("records")
    assert row["kind"] == kind and (row["prompts"], row["groups"]) == (0, 0)
    assert (row["layers"], row["neurons"]) == (model.adapter.layers, model.adapter.layers * model.adapter.width)
    assert np.isnan([row[name] for name in ("KN", "tau_low", "R2_1_high", "KN_shuffled", "residual_relative")]).all()
    assert neurons.empty and {"model", "task", "group", "layer", "selected"} <= set(neurons)
    layers = layer_table(neurons, {"t": kind}, {"m": model.adapter.layers})
    assert layers["neurons"].sum() == 0 and layers["share"].isna().all() and overlap(layers).isna().all()
    assert layers_by_task(neurons, {"t": kind}, {"m": model.adapter.layers}).empty
    assert say_residuals(measures) == []
    assert list(add_published(measures.assign(family="bert"), {"model": "b", "family": "bert", "tasks": {}})["task"])


def test_suppression_of_one_task_and_of_all(model, tmp_path: Path) -> None:
    prompts = empty_task("paradigm")
    scores = attribute(model, []).scores
    tables = suppression_tables(suppress_prompts(model, prompts, scores, [], SUPPRESSING), prompts)
    assert tables.effects.empty and tables.controls.empty and tables.sets.empty
    assert list(tables.words["prompts"]) == [0] * len(tables.words) and len(tables.words) == 5
    files = {name: [tmp_path / f"odd.{name}.parquet"] for name in vars(tables)}
    write_batch({"odd": tables}, {name: path for name, [path] in files.items()})
    write_task_tables({"odd": prompts}, tmp_path / "odd.prompts.parquet")
    found = model_tables(files, [tmp_path / "odd.prompts.parquet"], None, JUDGING)
    for name, columns in COLUMNS.items():
        assert getattr(found, name).empty and set(columns) <= set(getattr(found, name)), name
    tests = found.tests.assign(model="m")
    assert shown_tests(tests).empty and significance_table(tests).empty


@pytest.mark.parametrize("others", [True, False])
def test_models(others: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """A model without prompts, beside a model with prompts or alone."""
    some = pd.DataFrame(
        {
            **{"prompt": ["a", "b"], "task": "t", "kind": "paradigm", "split": "held_out", "correct": [True, False]},
            **{"probability": [0.5, 0.25], "foil_probability": [0.25, 0.5], "rank": [1, 3]},
        }
    )
    none = some.iloc[:0]
    check_learned("m", none, None, "stop")
    assert capsys.readouterr().out == "no prompt is kept of any task: nothing was asked\n"
    evaluations = {"none": none} | ({"some": some} if others else {})
    table = summarise(evaluations, {"none": "bert", "some": "gpt2"}, demands={"none": None, "some": None})
    assert list(table["model"]) == (["some"] if others else [])
    if others:
        assert table["n"].dtype.kind == "i" and (table["n"][0], table["correct"][0]) == (2, 1)


def attribution_of(residuals: list[list[float]], probability: list[float]) -> Attribution:
    residual = np.array(residuals, dtype=np.float32)
    scores = np.random.default_rng(1).random((*residual.shape, 4)).astype(np.float32)
    return Attribution(scores, residual, np.array(probability, dtype=np.float32), np.zeros_like(residual))


def test_residual_relative_is_that_of_the_layer_that_misses_most() -> None:
    """One layer of ten misses 38 % of P, as it was met: the mean over layers would say 4 %."""
    attribution = attribution_of([[0.0] * 9 + [-0.38], [0.0] * 10], [1.0, 1.0])
    table = pd.DataFrame({"prompt": ["a", "b"], "group": ["g", "g"], "number": ["", ""]})
    about = {"model": "m", "task": "t"}
    _, measures = select_in_task(attribution, ["a", "b"], table, about, SELECTION, "paradigm")
    [row] = measures.to_dict("records")
    assert row["residual_relative"] == pytest.approx((0.38 + 0) / 2 / 1)
    assert row["residual_max"] == pytest.approx(0.38) and row["residual_mean"] == pytest.approx(0.38 / 20)
    [line] = say_residuals(measures)
    assert line.startswith("m: the quadrature misses more than 5% of the target's probability in t (19%): take more")


def test_tasks_above_five_per_cent_are_named_by_model() -> None:
    table = pd.DataFrame(
        {
            "model": ["a", "a", "a", "b", "c"],
            "task": ["x", "y", "z", "x", "x"],
            "residual_relative": [0.051, 0.049, 2.0, np.nan, 0.06],
        }
    )
    first, second = say_residuals(table)
    assert first.startswith("a: ") and "x (5%), z (200%)" in first and "y (" not in first
    assert second.startswith("c: ") and "x (6%)" in second


def test_a_default_of_nodes_is_enough_where_five_are_not() -> None:
    """The library and the schema have the same; on a steep answer few nodes miss much, the default next to nothing."""
    from inspect import signature

    from kn_thesis.configuration.schema import Attribution as Configured
    from kn_thesis.localization.attribution import quadrature_rule

    nodes = signature(attribute).parameters["nodes"].default
    assert nodes == Configured().nodes == 64
    missed = {}
    for count in (5, nodes):
        points, weights = quadrature_rule("gauss-legendre", count)
        slope = 60 / np.cosh(60 * (points - 0.35)) ** 2 / 2  # of a sigmoid that rises within a twentieth of the path
        exact = (np.tanh(60 * 0.65) - np.tanh(-60 * 0.35)) / 2
        missed[count] = abs(weights @ slope - exact)
    assert missed[5] > 0.05 > 0.01 > missed[nodes]
