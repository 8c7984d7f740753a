"""What a suppression did to each word: the published test, and beside it tests that fit the data.

Published (Niu et al. 2024, as coded): scipy's unpaired t-test between a word's probabilities before and after, at 0.05,
uncorrected, and the relative change (after − before)/min(before, after) of the means. But the two samples are the same
prompts, probabilities are skewed, prompts about one noun resemble each other, and each figure tests some 30 words.

Ours: each prompt's change of log-probability, averaged over the prompts of a noun; a t-test of the nouns' means against
0, which is valid whatever the nouns' own variances (Ibragimov & Müller 2010), Wilcoxon's signed-rank test of the same
means, both under Holm's correction over the words of a figure; an effect size, and an interval that resamples nouns.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from kn_thesis.clusters import FEWEST, cluster_means, clustered_interval, holm, quiet
from kn_thesis.suppression.names import SHARED

KEY = ["kind", "set", "operation"]


def published_test(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Relative change of the means and p of the unpaired t-test, (words,) each, from probabilities (prompts, words).

    nan stands for a word that is not asked at a prompt; p is nan for fewer than FEWEST prompts.
    """
    with quiet():
        means = np.nanmean(before, axis=0), np.nanmean(after, axis=0)
        p = stats.ttest_ind(before, after, axis=0, nan_policy="omit").pvalue
    few = np.isfinite(before).sum(axis=0) < FEWEST
    change = (means[1] - means[0]) / np.minimum(*means)
    return change, np.where(few, np.nan, np.ma.filled(p, np.nan))


def careful_test(means: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """t, p of the t-test and p of Wilcoxon's test that clusters' mean changes (clusters, words) are 0; (words,) each.

    nan for fewer than FEWEST clusters, and where nothing changes at all.
    """
    with quiet():
        t = stats.ttest_1samp(means, 0.0, axis=0, nan_policy="omit")
        wilcoxon = _wilcoxon(means)
    few = np.isfinite(means).sum(axis=0) < FEWEST
    still = ~(np.nan_to_num(means) != 0).any(axis=0)
    statistic, p = (np.where(few | still, np.nan, np.ma.filled(x, np.nan)) for x in (t.statistic, t.pvalue))
    return statistic, p, np.where(few | still, np.nan, wilcoxon)


def _wilcoxon(means: np.ndarray) -> np.ndarray:
    """p (words,) of Wilcoxon's test on each word's own clusters: nan for fewer than FEWEST, and where none changes.

    scipy takes many columns in one call, but decides once whether the exact distribution will do: not for a column with
    ties or zeros. Columns that it would treat alike go together, and each has what it has alone.
    """
    p = np.full(means.shape[1], np.nan)
    known = np.isfinite(means)
    patterns, pattern = np.unique(known, axis=1, return_inverse=True)
    for number, rows in enumerate(patterns.T):
        if rows.sum() < FEWEST:
            continue
        words = np.flatnonzero(pattern.ravel() == number)
        sizes = np.sort(np.abs(means[np.ix_(rows, words)]), axis=0)
        plain = (sizes[0] > 0) & (np.diff(sizes, axis=0) > 0).all(axis=0)
        alike = [words[plain], *(words[~plain & (sizes[-1] > 0)][:, None])]
        for columns in filter(len, alike):
            p[columns] = stats.wilcoxon(means[np.ix_(rows, columns)], axis=0).pvalue
    return p


def effect_size(change: np.ndarray) -> np.ndarray:
    """d_z (words,): mean of the prompts' changes (prompts, words) over their standard deviation."""
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
    """One row per set, operation and word of one model and task; no combination is left out.

    The first four are the tables of `effects.Suppression`, `prompts` (columns prompt, noun, attributed, group,
    number) those of the task. published_over: "all", or "own" for relative_change and p_published over the prompts
    of the set's own number or target alone; the neurons that numbers share have all. Columns: kind, set, operation,
    word, word_group, neurons, prompts, nouns, before, after (mean probabilities), relative_change, p_published;
    log_change (mean, nats) with low and high, log_change_unseen (over prompts from which no neuron was localized),
    d_z, t, p_paired, p_wilcoxon, both also _holm; controls (number of random sets), control_low, control_high
    (range of their mean changes over the sample), p_controls (share of random sets at least as far from 0 as the
    set itself, it included; nan for fewer than FEWEST sets or prompts), beyond_controls (farther than every one of
    them; False where there are none); significant_published (p_published below `level`), significant (p_paired_holm
    below `level`, and beyond_controls: with so many prompts a test tells any change from none, and random neurons
    change something, too), disagreement ("published only", "careful only" or "") and note (why there is nothing to
    say, or "").
    """
    order = {word: number for number, word in enumerate(words["word"])}
    about = prompts.set_index("prompt")
    nouns, unseen = about["noun"], ~about["attributed"].astype(bool)
    by_set = dict(list(effects.groupby(KEY, observed=True, sort=False)))
    compared = dict(list(controls.groupby(KEY, observed=True, sort=False)))
    frames = []
    for one in sets[sets["draw"] == 0].itertuples():
        key = (one.kind, one.set, one.operation)
        frame = words.assign(kind=one.kind, set=one.set, operation=one.operation, neurons=one.neurons)
        frame = frame.assign(note=_notes(words, one), prompts=0, nouns=0, controls=0)
        if key in by_set:
            names, *arrays = _arrays(by_set[key], order)
            over = _own(one, about.loc[names]) if published_over == "own" else np.ones(len(names), dtype=bool)
            frame = frame.assign(**_row_values(names, *arrays, over, nouns, unseen, resamples, confidence, seed))
            if key in compared:
                frame = frame.assign(**_control_values(compared[key], order))
        frames.append(frame)
    # A task of which nothing is kept has no set.
    table = pd.concat(frames, ignore_index=True) if frames else words.iloc[:0].assign(note="")
    table = table.reindex(columns=COLUMNS)
    table["beyond_controls"] = table["beyond_controls"].eq(True)  # there may be none to compare with
    table["p_controls"] = table["p_controls"].where(table["prompts"] >= FEWEST)
    table["significant_published"] = table["p_published"] < level
    table["significant"] = (table["p_paired_holm"] < level) & table["beyond_controls"]
    published, careful = table["significant_published"], table["significant"]
    table["disagreement"] = np.select(
        [published & ~careful, careful & ~published], ["published only", "careful only"], ""
    )
    few = (table["note"] == "") & (table["nouns"] < FEWEST)
    table.loc[few, "note"] = f"fewer than {FEWEST} nouns: no test"
    return table


COLUMNS = [
    *KEY,
    *("word", "word_group", "neurons", "prompts", "nouns", "before", "after", "relative_change", "p_published"),
    *("log_change", "low", "high", "log_change_unseen", "d_z", "t", "p_paired", "p_wilcoxon", "p_paired_holm"),
    *("p_wilcoxon_holm", "controls", "control_low", "control_high", "p_controls", "beyond_controls"),
    *("significant_published", "significant", "disagreement", "note"),
]


def _notes(words: pd.DataFrame, one) -> list[str]:
    """Why a set or a word has nothing to show, or little to stand on, per word."""
    if not one.neurons:
        seen = "prompt" if one.refined_over == 1 else "prompts"
        return [f"no neuron is selected over {one.refined_over} {seen}"] * len(words)
    alone = "neurons of 1 prompt" if one.refined_over == 1 else ""
    return [alone if n else f"left out: {reason}" for n, reason in zip(words["prompts"], words["reason"], strict=True)]


def _own(one, about: pd.DataFrame) -> np.ndarray:
    """Which prompts, by their columns group and number, are of the set's own target or number; all if it is shared."""
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


def _row_values(
    names, before, after, change, over, nouns, unseen, resamples, confidence, seed
) -> dict[str, np.ndarray]:
    clusters = nouns.loc[names].to_numpy(dtype=str)
    means = cluster_means(change, clusters)
    relative, p_published = published_test(before[over], after[over])
    t, p_paired, p_wilcoxon = careful_test(means)
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
    """Range of the random sets' mean changes, and where the set itself stands among them."""
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
            "p_controls": np.where(np.isfinite(own) & (len(random) >= FEWEST), share, np.nan),
            "beyond_controls": (beyond == 0) & np.isfinite(own),
        }
