"""The measures that resources/claims.yaml names, and the published values that they are compared with.

A measure is a function (tables, model, minimum, **arguments) that returns an Estimate. `tables` holds the study's CSV
tables by name, `minimum` is the number of units below which there is no estimate, and the arguments stand in the
claim's part, under `of`. `MEASURES` lists them; it also says how each is combined over models and turned into evidence.
`VALUES` computes the same numbers from resources/published.yaml, as far as the paper reports them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from kn_thesis.localization.summary import similarity_difference
from kn_thesis.report.claims.estimates import (
    CONFIDENCE,
    Estimate,
    combined,
    difference_of,
    evidence,
    mean_of,
    missing,
    share_of,
)
from kn_thesis.stats import MIN_UNITS
from kn_thesis.suppression.prose import FITS
from kn_thesis.suppression.regression import expected_sign
from kn_thesis.suppression.tables import CONTRAST, NUMBERS
from kn_thesis.tracing.tables import SITES

Tables = Mapping[str, pd.DataFrame]
Published = Mapping[str, Any]
RESAMPLES = 2000
SEED = 1
DETERMINER_NOUN = "determiner_noun_agreement"  # prefix of the paradigms' names
OPERATION = "erase"
# Judged by questions that the model could answer before the edit: without that knowledge, their answer shows nothing.
OF_KNOWN = ("symmetry_new", "symmetry_old", "synonymy", "locality")
FEWEST_KNOWN = 10  # edits with such a question, below which a criterion is not asked
POOLED = "all"  # `task` of the rows over all tasks
BY_CHANCE = 0.05  # share of tasks that show a reversed site by chance: each has two one-sided tests at 2.5 %
# bert-base-cased's MLP neurons: layers × intermediate size (Devlin et al. 2019, §3)
BERT_BASE_NEURONS = 12 * 3072
DETERMINERS = {"this": "singular", "that": "singular", "these": "plural", "those": "plural"}


# Claims 1 to 4: localization


def neuron_share(tables: Tables, model: str, minimum: int, kind: str) -> Estimate:
    """|KN| as a share of the model's MLP neurons, mean over tasks of a kind; from localization.csv."""
    rows = _rows(tables["localization"], model, kind)
    return mean_of(rows["KN"] / rows["neurons"], minimum, kind)


def neurons_above_chance(tables: Tables, model: str, minimum: int, kind: str) -> Estimate:
    """|KN| minus |KN| of shuffled groups of prompts, mean over tasks of a kind; from localization.csv."""
    rows = _rows(tables["localization"], model, kind)
    return mean_of(rows["KN"] - rows["KN_shuffled"], minimum, kind)


def kinds_apart(tables: Tables, model: str, minimum: int, column: str) -> Estimate:
    """A column of localization.csv in paradigms minus the same in relations, with tasks as units."""
    table = tables["localization"]
    first, second = (_rows(table, model, kind)[column] for kind in ("paradigm", "relation"))
    if not len(first) or not len(second):
        return missing("the model is not asked both kinds of task")
    return difference_of(first, second, minimum, "task")


def layer_overlap(tables: Tables, model: str, minimum: int) -> Estimate:
    """Overlap of two distributions over layers, of paradigms' neurons and of relations': Σ of the smaller shares.

    From layers_by_task.csv; all tasks with neurons have the same weight. Standard error and percentile interval come
    from `RESAMPLES` bootstrap samples of the tasks of each kind.
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
    if min(sizes) < minimum:
        return missing(f"{sizes[0]} paradigms against {sizes[1]} relations: at least {minimum} of each", sum(sizes))
    random = np.random.default_rng(SEED)
    samples = [part[random.integers(len(part), size=(RESAMPLES, len(part)))].mean(axis=1) for part in shares]
    resampled = np.minimum(*samples).sum(axis=1)
    value = float(np.minimum(*(part.mean(axis=0) for part in shares)).sum())
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value, float(resampled.std(ddof=1)), float(low), float(high), units=sum(sizes))


def similarity_of_numbers(tables: Tables, model: str, minimum: int) -> Estimate:
    """Cosine similarity of scores within one number minus that across numbers, mean over determiner-noun paradigms.

    From number_neurons.csv. The words are determiners where the model can answer with one, else the nouns that must
    agree with them. For a model that answers with both, determiners count.
    """
    table = tables["number_neurons"]
    rows = table[
        (table["model"] == model) & table["difference"].notna() & table["task"].str.startswith(DETERMINER_NOUN)
    ]
    words = "determiner" if (rows["words"] == "determiner").any() else "noun"
    rows = rows[rows["words"] == words]
    if rows.empty:
        return missing("the model is asked for no determiner and no noun that agrees with one")
    return mean_of(rows["difference"], minimum, "paradigm")


def _rows(table: pd.DataFrame, model: str, kind: str) -> pd.DataFrame:
    return table[(table["model"] == model) & (table["kind"] == kind)]


# Claims 5 to 7: suppression


def word_change(tables: Tables, model: str, minimum: int, words: str) -> Estimate:
    """Mean change of log-probability of words that fit the blank, with a number's neurons erased, paradigms as units.

    From suppression.csv. `words` is `own` (of the neurons' number), `other` (of the other number), or `neutral`.
    """
    table = tables["suppression"]
    rows = table[(table["model"] == model) & (table["kind"] == "number") & (table["operation"] == OPERATION)]
    rows = rows[rows["set"].isin(NUMBERS) & (rows["before"] >= FITS) & rows["log_change"].notna()]
    numbered = rows["word_group"].isin(NUMBERS)
    in_group = {
        "own": numbered & (rows["word_group"] == rows["set"]),
        "other": numbered & (rows["word_group"] != rows["set"]),
        "neutral": rows["word_group"] == "neutral",
    }[words]
    changes = rows[in_group].groupby("task", sort=False)["log_change"].mean()
    if changes.empty:
        return missing("no such word fits the gap of a paradigm whose neurons were erased")
    return mean_of(changes, minimum, "paradigm")


def overturned(tables: Tables, model: str, minimum: int) -> Estimate:
    """Share of right answers that turn wrong when the neurons of the prompt's number are erased; from accuracy.csv.

    Prompts are trials, paradigms are clusters.
    """
    table = tables["accuracy"]
    rows = table[(table["model"] == model) & (table["kind"] == "number") & (table["operation"] == OPERATION)]
    rows = rows[rows["correct_before"] > 0]
    if rows.empty:
        return missing("no prompt has neurons of its own number")
    if len(rows) < minimum:
        return missing(f"{len(rows)} paradigms with such neurons: at least {minimum} are needed", len(rows))
    return share_of(rows["overturned"], rows["correct_before"], clustered=True)


def cooccurrence_slope(tables: Tables, model: str, minimum: int) -> Estimate:
    """Slope of the effect on words without number on their co-occurrence log-ratio, positive when they follow it.

    From cooccurrence.csv: each paradigm's slope over words, for the contrast of both numbers' neurons where both have
    any, else for one number's. Paradigms are combined under random effects. Only paradigms count in which `MIN_UNITS`
    such words fit the blank (suppression.csv): elsewhere the words have no probability worth moving.
    """
    table = tables["cooccurrence"]
    rows = table[(table["model"] == model) & (table["operation"] == OPERATION) & (table["words"] == "without number")]
    rows = rows[rows["p"].notna() & rows["task"].isin(_with_fitting_words(tables["suppression"], model))]
    slopes = []
    for _, part in rows.groupby("task", sort=False):
        known = part.set_index("set")
        name = next(name for name in (CONTRAST, *NUMBERS) if name in known.index)
        slopes.append(_slope(known.loc[name], expected_sign(OPERATION, name)))
    return combined(slopes) if slopes else missing("no paradigm has a slope: co-occurrence unknown, or few words fit")


def _with_fitting_words(table: pd.DataFrame, model: str) -> list[str]:
    """The paradigms in whose blank at least MIN_UNITS words without number have some probability before suppression."""
    rows = table[
        (table["model"] == model) & table["word_group"].isin(("biased", "neutral")) & (table["before"] >= FITS)
    ]
    words = rows.groupby("task", sort=False)["word"].nunique()
    return list(words[words >= MIN_UNITS].index)


def changed_cooccurrence(tables: Tables, model: str, minimum: int) -> Estimate:
    """The same slope from world to world: co-occurrence is changed, models are trained from scratch, words are units.

    From variants.csv, for the model's family.
    """
    family = tables["models"].loc[tables["models"]["model"] == model, "family"]
    table = tables["variants"]
    rows = table[table["family"].isin(family) & (table["operation"] == OPERATION) & table["p"].notna()]
    known = rows.set_index("set")
    name = next((name for name in (CONTRAST, *NUMBERS) if name in known.index), None)
    if name is None:
        return missing("the study changes no word's co-occurrence for this family")
    return _slope(known.loc[name], expected_sign(OPERATION, name), words="words")


def _slope(row: pd.Series, sign: int, words: str = "n_words") -> Estimate:
    """A slope from its table's interval: Student's, with degrees of freedom two below the number of words."""
    units = int(row[words])
    df = max(units - 2, 1)
    se = (row["high"] - row["low"]) / (2 * stats.t.ppf(0.975, df))
    low, high = sorted(sign * np.array([row["low"], row["high"]], dtype=float))
    return Estimate(float(sign * row["slope"]), float(se), float(low), float(high), units=units, df=df)


# Claims 8 to 11: editing


def criterion(tables: Tables, model: str, minimum: int, kind: str, name: str, editor: str) -> Estimate:
    """Share of one editor's edits that meet a criterion, over tasks of a kind; from editing.csv.

    Edits are trials, sets of facts (column `facts`) are clusters: edits of a relation share its wordings, objects and
    layer, and a relation and its inverse state the same facts. With one set, edits are independent trials. Criteria of
    `OF_KNOWN` count edits with a question that the model could answer before.
    """
    table = tables["editing"]
    rows = table[(table["model"] == model) & (table["editor"] == editor) & (table["kind"] == kind)]
    rows = rows[(rows["criterion"] == name) & (rows["task"] != POOLED)]
    share, edits = ("share_known", "known_edits") if name in OF_KNOWN else ("share", "edits")
    rows = rows[rows[share].notna() & (rows[edits] > 0)]
    if rows.empty:
        return missing("no edit was asked this")
    if name in OF_KNOWN and rows[edits].sum() < FEWEST_KNOWN:
        return missing(
            f"{rows[edits].sum():.0f} edits ask what the model knew before: at least {FEWEST_KNOWN} are needed"
        )
    if rows[edits].sum() < minimum:
        return missing(f"{rows[edits].sum():.0f} edits: at least {minimum} are needed", int(rows[edits].sum()))
    met = (rows[share] * rows[edits]).groupby(rows["facts"], sort=False).sum()
    return share_of(met, rows.groupby("facts", sort=False)[edits].sum(), clustered=True)


# Claim 12: causal tracing


def two_sites(tables: Tables, model: str, minimum: int) -> Estimate:
    """Share of traced tasks in which early and late site can be told apart; from tracing.csv, headline measures.

    `counts` of the estimate: tasks with two sites, tasks with a reversed site (the whole interval of a contrast lies
    below 0), all tasks.
    """
    table = tables["tracing"]
    rows = table[(table["model"] == model) & (table["headline"].astype(str) == "True") & table["p_sites"].notna()]
    if rows.empty:
        return missing("no task could be tested")
    if len(rows) < minimum:
        return missing(f"{len(rows)} tasks tested: at least {minimum} are needed", len(rows))
    with_both = int((rows["two_sites"].astype(str) == "True").sum())
    reversed_ = int((rows[[f"{site}_contrast_high" for site in SITES]] < 0).any(axis=1).sum())
    return _sites(with_both, reversed_, len(rows))


def sites_together(estimates: Sequence[Estimate]) -> Estimate:
    """Pool the tasks of several models, from their estimates by `two_sites`."""
    known = [one.counts for one in estimates if one.counts]
    if not known:
        return missing("no model has enough tasks that were tested", sum(one.units for one in estimates))
    return _sites(*map(sum, zip(*known, strict=True)))


def sites_evidence(estimate: Estimate) -> tuple[float, float]:
    """Compute one-sided p-values (for, against) of the claim that the division into two sites is not general.

    For: exceptions refute a general rule, so this is the binomial probability that chance alone reverses a site in at
    least as many tasks. Against: the probability that at least as many tasks show two sites when half of them have two.
    """
    if not estimate.counts:
        return math.nan, math.nan
    with_both, reversed_, tasks = estimate.counts
    return float(stats.binom.sf(reversed_ - 1, tasks, BY_CHANCE)), float(stats.binom.sf(with_both - 1, tasks, 0.5))


def _sites(with_both: int, reversed_: int, tasks: int) -> Estimate:
    share = share_of([with_both], [tasks], clustered=False)
    return Estimate(share.value, share.se, share.low, share.high, units=tasks, counts=(with_both, reversed_, tasks))


class Measure(NamedTuple):
    """A measure and what is done with its estimates.

    Attributes:
        estimate: (tables, model, minimum, **arguments of the part) → Estimate.
        combine: the estimates of several models → one over models.
        weigh: (estimate, side, bound) → p-values for the claim and against it.
    """

    estimate: Callable[..., Estimate]
    combine: Callable[[Sequence[Estimate]], Estimate] = combined
    weigh: Callable[[Estimate, str, float], tuple[float, float]] = evidence


MEASURES: Mapping[str, Measure] = {
    "neuron_share": Measure(neuron_share),
    "neurons_above_chance": Measure(neurons_above_chance),
    "kinds_apart": Measure(kinds_apart),
    "layer_overlap": Measure(layer_overlap),
    "similarity_of_numbers": Measure(similarity_of_numbers),
    "word_change": Measure(word_change),
    "overturned": Measure(overturned),
    "cooccurrence_slope": Measure(cooccurrence_slope),
    "changed_cooccurrence": Measure(changed_cooccurrence),
    "criterion": Measure(criterion),
    "two_sites": Measure(two_sites, sites_together, lambda estimate, side, bound: sites_evidence(estimate)),
}


# Published values


def published_neuron_share(published: Published) -> float:
    """Mean |KN| of the paradigms over all MLP neurons of the model."""
    return float(np.mean(_published(published, "KN", relations=False))) / BERT_BASE_NEURONS


def published_kinds_apart(column: str) -> Callable[[Published], float]:
    """Mean over paradigms minus mean over relations."""
    return lambda published: float(
        np.mean(_published(published, column, relations=False)) - np.mean(_published(published, column, relations=True))
    )


def published_similarity(published: Published) -> float:
    """Cosine similarity within one number minus that across numbers, from the neurons that are printed."""
    rows = published["determiner_neurons"]["neurons"]
    scores = {word: np.array([row[word] for row in rows], dtype=float) for word in DETERMINERS}
    return similarity_difference(scores, DETERMINERS)


def published_overturned(published: Published) -> float:
    """Mean fall of accuracy when the neurons are edited."""
    return float(np.mean([-task["change"] for task in published["accuracy"]["tasks"].values()])) / 100


def neuron_edit_reliability(published: Published) -> float:
    """Mean reliability over data sets and models."""
    measured = published["editing"]["neuron_edit_reliability"]
    sets = [values for name, values in measured.items() if name != "source"]
    return float(np.mean([value for values in sets for value in values.values()])) / 100


def _published(published: Published, column: str, relations: bool) -> list[float]:
    """A column's values in relations (whose names are P and a number), or in paradigms."""
    return [
        float(values[column])
        for name, values in published["localization"]["tasks"].items()
        if (name[0] == "P" and name[1:].isdigit()) == relations
    ]


VALUES: Mapping[str, Callable[[Published], float]] = {
    "neuron_share": published_neuron_share,
    "KN": published_kinds_apart("KN"),
    "tau": published_kinds_apart("tau"),
    "R2_1": published_kinds_apart("R2_1"),
    "similarity": published_similarity,
    "overturned": published_overturned,
    "neuron_edit_reliability": neuron_edit_reliability,
}
