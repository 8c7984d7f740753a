"""A study without paradigms has nothing to suppress: empty tables with their columns, figures that say so, no crash."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import yaml

from kn_thesis.suppression import prose
from kn_thesis.suppression.figures import plot_cooccurrence, plot_overturned, plot_variants, plot_words
from kn_thesis.suppression.regression import correct_slopes, variant_effects, variant_tests
from kn_thesis.suppression.statistics import add_published
from kn_thesis.suppression.summary import COLUMNS, gather_tables, shown_tests, significance_table
from tests.helpers.study import copy_repository, planned_jobs

PUBLISHED = yaml.safe_load((Path(__file__).parents[2] / "resources/published.yaml").read_text())["accuracy"]


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    """What the rules write, as notebooks and figures read it."""
    tests, accuracy, slopes = (gather_tables({}, columns) for columns in COLUMNS.values())
    effects = variant_effects(gather_tables({}), {})
    made = {
        "suppression": shown_tests(tests),
        "significance": significance_table(tests),
        "accuracy": add_published(accuracy, PUBLISHED, {}),
        "cooccurrence": correct_slopes(slopes, ["model", "operation", "set", "words"]),
        "effects": effects,
        "variants": variant_tests(effects),
    }
    return {name: pd.read_csv(io.StringIO(table.to_csv(index=False))) for name, table in made.items()}


def test_tables_have_their_columns(tables: dict[str, pd.DataFrame]) -> None:
    assert all(table.empty and len(table.columns) > 5 for table in tables.values())
    assert {"model", "task", "word", "p_paired_holm", "log_ratio"} <= set(tables["suppression"].columns)
    assert {"published_after", "p_mcnemar"} <= set(tables["accuracy"].columns)


@pytest.mark.parametrize(
    "plot",
    [
        lambda tables: plot_words(tables["suppression"]),
        lambda tables: plot_cooccurrence(tables["suppression"], tables["cooccurrence"]),
        lambda tables: plot_overturned(tables["accuracy"]),
        lambda tables: plot_variants(tables["effects"], tables["variants"]),
    ],
    ids=["words", "cooccurrence", "accuracy", "variants"],
)
def test_figures_say_that_there_is_nothing(tables: dict[str, pd.DataFrame], plot: Callable[[dict], plt.Figure]) -> None:
    (axis,) = plot(tables).axes
    (text,) = axis.texts
    assert text.get_text().startswith(("no ", "only one world"))


def test_sentences_say_that_there_is_nothing(tables: dict[str, pd.DataFrame]) -> None:
    assert prose.direction_table(tables["suppression"]).empty
    assert prose.say_significance(tables["significance"]) == "No word could be tested both ways."
    assert prose.say_accuracy(tables["accuracy"]) == "No prompt has neurons of its own number."
    assert prose.say_cooccurrence(tables["cooccurrence"]) == []
    assert prose.say_variants(tables["variants"])[0].startswith("Nothing to compare")


def test_a_study_of_relations_alone_can_be_planned(tmp_path: Path) -> None:
    study = copy_repository(tmp_path / "study")
    (study / "facts.yaml").write_text(
        "study: facts\ntasks: {relations: [P36]}\nmodels: {gpt2: {family: gpt2, train: {steps: 5}}}\n"
    )
    jobs = planned_jobs(study, configfile="facts.yaml")
    assert jobs["attribute_neurons"] == jobs["summarise_suppression"] == 1
    assert not jobs["suppress_neurons"] and not jobs["test_suppression"]
