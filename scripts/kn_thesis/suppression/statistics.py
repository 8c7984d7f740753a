"""Test what a suppression did to each word and to accuracy: the published test, and tests that fit the data.

Published (Niu et al. 2024, as coded): scipy's unpaired t-test between a word's probabilities before and after, at 0.05
without correction, and the relative change (after − before)/min(before, after) of the means. But both samples are the
same prompts, probabilities are skewed, prompts about one noun resemble each other, and each figure tests some 30 words.

Ours: each prompt's change of log-probability is averaged over the prompts of a noun. A t-test compares the nouns' means
with 0, which is valid whatever the nouns' own variances (Ibragimov & Müller 2010); Wilcoxon's signed-rank test uses the
same means. Both are under Holm's correction over the words of a figure. Beside them stand an effect size and a
bootstrap interval over nouns.

Accuracy (claim 6): McNemar's test over the pairs that are right before and after tells whether suppression is enough to
overturn the predictions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from kn_thesis.models.summary import wilson
from kn_thesis.stats import MIN_UNITS, cluster_means, clustered_interval, holm, quiet
from kn_thesis.suppression.tables import FORMS, NUMBERS, OWN, SHARED

KEY = ["kind", "set", "operation"]
WORD_COLUMNS = [
    *KEY,
    *("word", "word_group", "neurons", "prompts", "nouns", "before", "after", "relative_change", "p_published"),
    *("log_change", "low", "high", "log_change_unseen", "d_z", "t", "p_paired", "p_wilcoxon", "p_paired_holm"),
    *("p_wilcoxon_holm", "controls", "control_low", "control_high", "p_controls", "beyond_controls"),
    *("significant_published", "significant", "disagreement", "note"),
]
ACCURACY_COLUMNS = [
    *("kind", "operation", "prompts", "without_neurons", "correct_before", "correct_after", "overturned", "restored"),
    *("accuracy_before", "low_before", "high_before", "accuracy_after", "low_after", "high_after", "change"),
    *("p_mcnemar", "controls", "control_accuracy", "control_low", "note"),
]


def published_test(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Apply the published test to the probabilities of words before and after.

    Args:
        before: Probabilities (prompts, words); nan where a word is not asked.
        after: The same under suppression.

    Returns:
        Relative change of the means, and p of the unpaired t-test, (words,) each. p is nan with fewer than `MIN_UNITS`
        prompts.
    """
    with quiet():
        means = np.nanmean(before, axis=0), np.nanmean(after, axis=0)
        p = stats.ttest_ind(before, after, axis=0, nan_policy="omit").pvalue
    few = np.isfinite(before).sum(axis=0) < MIN_UNITS
    change = (means[1] - means[0]) / np.minimum(*means)
    return change, np.where(few, np.nan, np.ma.filled(p, np.nan))


def paired_test(means: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Test that the clusters' mean changes are 0.

    Args:
        means: Mean change of each cluster (clusters, words); nan where a word is not asked.

    Returns:
        t and p of the t-test, and p of Wilcoxon's test, (words,) each; nan with fewer than `MIN_UNITS` clusters, and
        where nothing changes at all.
    """
    with quiet():
        t = stats.ttest_1samp(means, 0.0, axis=0, nan_policy="omit")
        wilcoxon = _wilcoxon(means)
    few = np.isfinite(means).sum(axis=0) < MIN_UNITS
    still = ~(np.nan_to_num(means) != 0).any(axis=0)
    statistic, p = (np.where(few | still, np.nan, np.ma.filled(x, np.nan)) for x in (t.statistic, t.pvalue))
    return statistic, p, np.where(few | still, np.nan, wilcoxon)


def _wilcoxon(means: np.ndarray) -> np.ndarray:
    """p (words,) of Wilcoxon's test on each word's own clusters; nan with fewer than MIN_UNITS, and where none changes.

    scipy accepts many columns in one call but decides only once whether to use the exact distribution, which it cannot
    for columns with ties or zeros. So columns that it would treat alike are tested together.
    """
    p = np.full(means.shape[1], np.nan)
    known = np.isfinite(means)
    patterns, pattern = np.unique(known, axis=1, return_inverse=True)
    for number, rows in enumerate(patterns.T):
        if rows.sum() < MIN_UNITS:
            continue
        words = np.flatnonzero(pattern.ravel() == number)
        sizes = np.sort(np.abs(means[np.ix_(rows, words)]), axis=0)
        plain = (sizes[0] > 0) & (np.diff(sizes, axis=0) > 0).all(axis=0)
        alike = [words[plain], *(words[~plain & (sizes[-1] > 0)][:, None])]
        for columns in filter(len, alike):
            p[columns] = stats.wilcoxon(means[np.ix_(rows, columns)], axis=0).pvalue
    return p


def effect_size(change: np.ndarray) -> np.ndarray:
    """Compute d_z (words,): mean over standard deviation of the prompts' changes (prompts, words)."""
    with quiet():
        return np.nanmean(change, axis=0) / np.nanstd(change, axis=0, ddof=1)


def suppression_tests(
    effects: pd.DataFrame,
    controls: pd.DataFrame,
    sets: pd.DataFrame,
    words: pd.DataFrame,
    prompts: pd.DataFrame,
    *,
    level: float = 0.05,
    published_over: str = "all",
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 1,
) -> pd.DataFrame:
    """Test every word under every set and operation in one model and task; no combination is left out.

    A word is significant by our test if p_paired_holm is below `level` and its change is beyond the controls: with so
    many prompts the paired test detects any change at all, and random neurons change something, too.

    Args:
        effects: `tables.Suppression.effects`.
        controls: `tables.Suppression.controls`.
        sets: `tables.Suppression.sets`.
        words: `tables.Suppression.words`.
        prompts: The task's prompts, with the columns prompt, noun, attributed, group and number.
        level: Significance level.
        published_over: Prompts of relative_change and p_published: "all", or "own" for those of the set's own number or
            target. The neurons that both numbers share are always tested over all.
        resamples: Bootstrap resamples.
        confidence: Confidence level of the intervals.
        seed: Seed of the bootstrap.

    Returns:
        The columns `WORD_COLUMNS`:

        - kind, set, operation, word, word_group, neurons (in the set), prompts, nouns (numbers of them)
        - before, after: mean probabilities
        - relative_change, p_published: see `published_test`
        - log_change: mean, in nats, with its interval low, high
        - log_change_unseen: the same over prompts from which no neuron was localized
        - d_z: see `effect_size`
        - t, p_paired, p_wilcoxon: see `paired_test`; p_paired_holm, p_wilcoxon_holm: corrected over the set's words
        - controls: number of random sets; control_low, control_high: range of their mean changes over the sample
        - p_controls: share of sets at least as far from 0 as the set itself, which counts as one of them; nan with
          fewer than `MIN_UNITS` random sets or prompts
        - beyond_controls: whether the set is farther from 0 than every random set; False where there are none
        - significant_published: p_published below `level`
        - significant: p_paired_holm below `level`, and beyond_controls
        - disagreement: "published only", "paired only" or ""
        - note: why there is no result, or ""
    """
    order = {word: number for number, word in enumerate(words["word"])}
    about = prompts.set_index("prompt")
    nouns, unseen = about["noun"], ~about["attributed"].astype(bool)
    by_set = dict(list(effects.groupby(KEY, observed=True, sort=False)))
    controls_by_set = dict(list(controls.groupby(KEY, observed=True, sort=False)))
    frames = []
    for one in sets[sets["draw"] == 0].itertuples():
        key = (one.kind, one.set, one.operation)
        frame = words.assign(kind=one.kind, set=one.set, operation=one.operation, neurons=one.neurons)
        frame = frame.assign(note=_notes(words, one), prompts=0, nouns=0, controls=0)
        if key in by_set:
            names, *arrays = _arrays(by_set[key], order)
            over = _own(one, about.loc[names]) if published_over == "own" else np.ones(len(names), dtype=bool)
            values = _word_values(names, *arrays, over, nouns, unseen, resamples, confidence, seed)
            frame = frame.assign(**values)
            if key in controls_by_set:
                frame = frame.assign(**_control_values(controls_by_set[key], order))
        frames.append(frame)
    # A task without any prompt has no set.
    table = pd.concat(frames, ignore_index=True) if frames else words.iloc[:0].assign(note="")
    table = table.reindex(columns=WORD_COLUMNS)
    table["beyond_controls"] = table["beyond_controls"].eq(True)  # there may be none to compare with
    table["p_controls"] = table["p_controls"].where(table["prompts"] >= MIN_UNITS)
    table["significant_published"] = table["p_published"] < level
    table["significant"] = (table["p_paired_holm"] < level) & table["beyond_controls"]
    published, paired = table["significant_published"], table["significant"]
    table["disagreement"] = np.select([published & ~paired, paired & ~published], ["published only", "paired only"], "")
    few = (table["note"] == "") & (table["nouns"] < MIN_UNITS)
    table.loc[few, "note"] = f"fewer than {MIN_UNITS} nouns: no test"
    return table


def _notes(words: pd.DataFrame, one: Any) -> list[str]:
    """Why a set or a word has no result, or a weak one, per word."""
    if not one.neurons:
        noun = "prompt" if one.refined_over == 1 else "prompts"
        return [f"no neuron is selected over {one.refined_over} {noun}"] * len(words)
    alone = "neurons of 1 prompt" if one.refined_over == 1 else ""
    return [alone if n else f"left out: {reason}" for n, reason in zip(words["prompts"], words["reason"], strict=True)]


def _own(one: Any, about: pd.DataFrame) -> np.ndarray:
    """Which prompts have the set's own target or number; all of them if the set is shared."""
    if one.kind == "number" and one.set == SHARED:
        return np.ones(len(about), dtype=bool)
    return (about["number" if one.kind == "number" else "group"] == one.set).to_numpy(bool)


def _arrays(rows: pd.DataFrame, order: dict[str, int]) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Prompts, and before, after, log_change as float64 (prompts, words), nan where a word is not asked."""
    names, at = np.unique(rows["prompt"].to_numpy(dtype=object).astype(str), return_inverse=True)
    column = rows["word"].map(order).to_numpy(dtype=int)
    arrays = np.full((3, len(names), len(order)), np.nan)
    for array, name in zip(arrays, ("before", "after", "log_change"), strict=True):
        array[at, column] = rows[name].to_numpy()
    return list(names), *arrays


def _word_values(
    names: list[str],
    before: np.ndarray,
    after: np.ndarray,
    change: np.ndarray,
    over: np.ndarray,
    nouns: pd.Series,
    unseen: pd.Series,
    resamples: int,
    confidence: float,
    seed: int,
) -> dict[str, np.ndarray]:
    """Columns of the words under one set, (words,) each. `over`: the prompts of the published test."""
    clusters = nouns.loc[names].to_numpy(dtype=str)
    means = cluster_means(change, clusters)
    relative, p_published = published_test(before[over], after[over])
    t, p_paired, p_wilcoxon = paired_test(means)
    low, high = clustered_interval(change, clusters, resamples, confidence, seed)
    with quiet():
        rest = np.nanmean(change[unseen.loc[names].to_numpy()], axis=0)
        return {
            "prompts": np.isfinite(change).sum(axis=0),
            "nouns": np.isfinite(means).sum(axis=0),
            "before": np.nanmean(before, axis=0),
            "after": np.nanmean(after, axis=0),
            "relative_change": relative,
            "p_published": p_published,
            "log_change": np.nanmean(change, axis=0),
            "low": low,
            "high": high,
            "log_change_unseen": rest,
            "d_z": effect_size(change),
            "t": t,
            "p_paired": p_paired,
            "p_wilcoxon": p_wilcoxon,
            "p_paired_holm": holm(p_paired),
            "p_wilcoxon_holm": holm(p_wilcoxon),
        }


def _control_values(rows: pd.DataFrame, order: dict[str, int]) -> dict[str, np.ndarray]:
    """Range of the random sets' mean changes, and the rank of the set itself among them."""
    rows = rows.sort_values("draw", kind="stable")
    means = np.full((rows["draw"].nunique(), len(order)), np.nan)
    means[rows.groupby("word", observed=True).cumcount(), rows["word"].map(order).to_numpy(dtype=int)] = rows[
        "log_change"
    ]
    own, random = means[0], means[1:]
    if not len(random):
        return {"controls": np.zeros(len(own), dtype=int)}
    with quiet():
        beyond = (np.abs(random) >= np.abs(own)).sum(axis=0)
        share = (1 + beyond) / (1 + len(random))
        return {
            "controls": np.full(len(own), len(random)),
            "control_low": np.nanmin(random, axis=0),
            "control_high": np.nanmax(random, axis=0),
            "p_controls": np.where(np.isfinite(own) & (len(random) >= MIN_UNITS), share, np.nan),
            "beyond_controls": (beyond == 0) & np.isfinite(own),
        }


def accuracy_table(
    effects: pd.DataFrame, sets: pd.DataFrame, prompts: pd.DataFrame, confidence: float = 0.95
) -> pd.DataFrame:
    """Compare accuracy before and after suppression, every prompt under the set of its own number or target.

    A prompt is right if its target is more probable than its foil.

    Args:
        effects: `tables.Suppression.effects` of one model and task.
        sets: `tables.Suppression.sets`.
        prompts: The task's prompts, with the columns prompt, group and number.
        confidence: Confidence level of Wilson's intervals.

    Returns:
        One row per kind of set and operation, with the columns `ACCURACY_COLUMNS`:

        - prompts: those whose own set has neurons; without_neurons: the others
        - correct_before, correct_after, overturned (right, then wrong), restored (wrong, then right): counts
        - accuracy_before, accuracy_after with intervals low_…, high_…; change (after − before)
        - p_mcnemar: exact; nan with fewer than `MIN_UNITS` prompts
        - controls: number of draws of random sets; control_accuracy, control_low: mean and minimum accuracy with random
          sets in place of the numbers' own, on the sample of prompts that these are tried on
        - note: why there is no test, or ""
    """
    own = _own_words(effects, prompts)
    rows = []
    for kind, column in (("number", "number"), ("target", "group")):
        for operation in dict.fromkeys(sets["operation"]):
            with_set = prompts[prompts[column].isin(sets.loc[_is_own_set(sets, kind), "set"])]
            if not len(with_set):
                continue
            answers = own[(own["kind"] == kind) & (own["operation"] == operation)]
            answers = answers.merge(
                with_set[["prompt", column]], left_on=["prompt", "set"], right_on=["prompt", column]
            )
            rows.append(
                {"kind": kind, "operation": operation, "without_neurons": len(with_set) - len(answers)}
                | _counts(answers["before"].to_numpy(bool), answers["after"].to_numpy(bool))
                | _control_accuracy(
                    sets[_is_own_set(sets, kind) & (sets["operation"] == operation) & (sets["draw"] > 0)]
                )
            )
    table = pd.DataFrame(rows).reindex(columns=ACCURACY_COLUMNS)
    for when in ("before", "after"):
        n, correct = table["prompts"], table[f"correct_{when}"]
        some = n > 0
        table.loc[some, f"accuracy_{when}"] = correct[some] / n[some]
        ends = wilson(correct[some].astype(int), n[some].astype(int), confidence)
        table.loc[some, f"low_{when}"], table.loc[some, f"high_{when}"] = ends
    table["change"] = table["accuracy_after"] - table["accuracy_before"]
    return table


def add_published(table: pd.DataFrame, published: Mapping[str, Any], families: Mapping[str, str]) -> pd.DataFrame:
    """Add the published accuracies to the rows in which that family's numbers are erased; other cells stay empty.

    Args:
        table: Rows of `accuracy_table` with the columns model and task.
        published: The section `accuracy` of resources/published.yaml.
        families: Family of each model.

    Returns:
        The table with published_model, published_before and published_after (0 to 1).
    """
    tasks = published["tasks"]
    known = table["task"].isin(list(tasks)) & (table["kind"] == "number") & (table["operation"] == "erase")
    known &= table["model"].map(dict(families)) == published["family"]
    result = table.assign(
        published_model=pd.Series(published["model"], index=table.index, dtype=object).where(known, "")
    )
    for when in ("before", "after"):
        values = table["task"].map({task: entry[when] / 100 for task, entry in tasks.items()})
        result[f"published_{when}"] = pd.to_numeric(values).where(known)
    return result


def _is_own_set(sets: pd.DataFrame, kind: str) -> pd.Series:
    """Whether a set can be a prompt's own: that of a number or a target, but not the shared one."""
    return (sets["kind"] == kind) & ((kind == "target") | sets["set"].isin(NUMBERS))


def _own_words(effects: pd.DataFrame, prompts: pd.DataFrame) -> pd.DataFrame:
    """Per prompt and set: whether the target was, and is, more probable than the foil."""
    number = prompts.set_index("prompt")["number"]
    key = ["prompt", "kind", "set", "operation"]
    rows = effects[effects["word"].isin([*FORMS.values(), *OWN.values()])]
    numbers = rows["prompt"].map(number).astype(str)
    target = rows["word"].astype(str).isin([OWN["target"]]) | (rows["word"].astype(str) == numbers.map(FORMS))
    good, bad = (part.set_index(key)[["before", "after"]] for part in (rows[target], rows[~target]))
    return (good > bad.reindex(good.index)).reset_index()


def _counts(before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    table = [[int((a & b).sum()) for b in (after, ~after)] for a in (before, ~before)]
    n = len(before)
    return {
        "prompts": n,
        "correct_before": int(before.sum()),
        "correct_after": int(after.sum()),
        "overturned": table[0][1],
        "restored": table[1][0],
        "p_mcnemar": mcnemar(table, exact=True).pvalue if n >= MIN_UNITS else np.nan,
        "note": ""
        if n >= MIN_UNITS
        else "no neuron is selected"
        if not n
        else f"fewer than {MIN_UNITS} prompts: no test",
    }


def _control_accuracy(draws: pd.DataFrame) -> dict[str, Any]:
    """Accuracy under random sets; one draw covers all sets of the kind."""
    sums = draws.groupby("draw")[["own_prompts", "correct_after"]].sum()
    sums = sums[sums["own_prompts"] > 0]
    shares = sums["correct_after"] / sums["own_prompts"]
    return {
        "controls": len(shares),
        "control_accuracy": shares.mean() if len(shares) else np.nan,
        "control_low": shares.min() if len(shares) else np.nan,
    }
