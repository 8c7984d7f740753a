"""Measures of claims 1 to 4: how many neurons, how local, in which layers, shared by whom."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from kn_thesis.report.claims.estimates import CONFIDENCE, Estimate, difference_of, mean_of, missing

Tables = Mapping[str, pd.DataFrame]
RESAMPLES = 2000
SEED = 1
DETERMINER_NOUN = "determiner_noun_agreement"  # the paradigms' names begin so


def neuron_share(tables: Tables, model: str, fewest: int, kind: str) -> Estimate:
    """|KN| as a share of the model's MLP neurons, mean over tasks of a kind; from localization.csv."""
    rows = _rows(tables["localization"], model, kind)
    return mean_of(rows["KN"] / rows["neurons"], fewest, kind)


def neurons_above_chance(tables: Tables, model: str, fewest: int, kind: str) -> Estimate:
    """|KN| less |KN| of prompts dealt out at random, mean over tasks of a kind; from localization.csv."""
    rows = _rows(tables["localization"], model, kind)
    return mean_of(rows["KN"] - rows["KN_shuffled"], fewest, kind)


def kinds_apart(tables: Tables, model: str, fewest: int, column: str) -> Estimate:
    """A measure of localization.csv in paradigms less that in relations, tasks as units."""
    table = tables["localization"]
    first, second = (_rows(table, model, kind)[column] for kind in ("paradigm", "relation"))
    if not len(first) or not len(second):
        return missing("the model is not asked both kinds of task")
    return difference_of(first, second, fewest, "task")


def layer_overlap(tables: Tables, model: str, fewest: int) -> Estimate:
    """Σ over layers of the smaller of two shares: of the neurons of paradigms, and of relations, that lie there.

    From layers_by_task.csv; each task with any neuron counts alike. Tasks of each kind are resampled for the error and
    the percentile interval (2,000 times).
    """
    table = tables["layers_by_task"]
    rows = table[(table["model"] == model) & table["share"].notna()]
    shares = []
    for kind in ("paradigm", "relation"):
        part = rows[rows["kind"] == kind]
        shares.append(part.pivot(index="task", columns="layer", values="share").to_numpy(dtype=float))
    sizes = [len(part) for part in shares]
    if not all(sizes):
        return missing("the model has no neurons of both kinds of task")
    if min(sizes) < fewest:
        return missing(f"{sizes[0]} paradigms against {sizes[1]} relations: at least {fewest} of each", sum(sizes))
    random = np.random.default_rng(SEED)
    drawn = [part[random.integers(len(part), size=(RESAMPLES, len(part)))].mean(axis=1) for part in shares]
    resampled = np.minimum(*drawn).sum(axis=1)
    value = float(np.minimum(*(part.mean(axis=0) for part in shares)).sum())
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value, float(resampled.std(ddof=1)), float(low), float(high), units=sum(sizes))


def likeness_of_numbers(tables: Tables, model: str, fewest: int) -> Estimate:
    """Cosine of the scores of words of one number less that of words of two, mean over determiner-noun paradigms.

    From number_neurons.csv: the words are determiners where the model can answer with one, and else the nouns that must
    agree with them; of a model that answers with both, determiners count.
    """
    table = tables["number_neurons"]
    rows = table[
        (table["model"] == model) & table["difference"].notna() & table["task"].str.startswith(DETERMINER_NOUN)
    ]
    words = "determiner" if (rows["words"] == "determiner").any() else "noun"
    rows = rows[rows["words"] == words]
    if rows.empty:
        return missing("the model is asked for no determiner and no noun that agrees with one")
    return mean_of(rows["difference"], fewest, "paradigm")


def _rows(table: pd.DataFrame, model: str, kind: str) -> pd.DataFrame:
    return table[(table["model"] == model) & (table["kind"] == kind)]
