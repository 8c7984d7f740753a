"""Regress suppression effects on co-occurrence with singular and plural nouns (claim 7).

First over words: does a word's effect follow how often it occurs with plural and with singular nouns in the training
text (`regressions`)? Then by experiment: the text is written again with a different co-occurrence for the
number-biased words, a model is trained from scratch on each version (a world), and the same word is compared across
worlds (`variant_effects`, `variant_tests`). Worlds differ in nothing but these words' co-occurrence.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
import statsmodels.formula.api as smf
from scipy import stats

from kn_thesis.stats import MIN_UNITS, holm_within
from kn_thesis.suppression.tables import CONTRAST, NUMBERS

PUBLISHED = "erase"  # the operation of the paper
WORDS = {"all": ("plural", "singular", "biased", "neutral"), "without number": ("biased", "neutral")}
SLOPES = [
    *("operation", "set", "words", "n_words", "slope", "low", "high", "p", "r_squared", "prompts"),
    *("mixed_slope", "mixed_low", "mixed_high", "mixed_p", "note"),
]
COLUMNS = ["family", "world", "seed", "model", "operation", "set", "word", "log_ratio", "log_change", "tasks"]
TEST_COLUMNS = [
    *("family", "operation", "set", "worlds", "models", "tasks", "words", "slope", "low", "high", "p", "p_holm"),
    *("moved", "words_changed", "p_wilcoxon", "note"),
]
EXCHANGED = ("baseline", "swapped")  # the two worlds that differ most in co-occurrence
MIN_WORDS = 10  # clusters; in simulations, 17 % false positives with 5 words, 4 % with 12
MIN_CHANGE = 0.5  # of the log-ratio, for a word's co-occurrence to count as changed


def expected_sign(operation: str, name: str) -> int:
    """Return the sign of the slope of effect on plural co-occurrence if words follow their co-occurrence.

    Erasing plural neurons lowers words that occur with plural nouns; erasing singular neurons raises them relative to
    the others. Doubling does the opposite. Holding neurons at their mean lowers them at some prompts and raises them at
    others, so that no sign is expected.

    Args:
        operation: "erase", "enhance" or "mean".
        name: Name of the set, or `CONTRAST`.

    Returns:
        -1, 1, or 0 where no sign is expected.
    """
    if operation == "mean":
        return 0
    sign = -1 if name in ("plural", CONTRAST) else 1
    return -sign if operation == "enhance" else sign


def log_ratios(cooccurrence: pd.DataFrame) -> pd.DataFrame:
    """Compute each word's log-ratio of plural to singular co-occurrence.

    Half a count is added to both numbers, so that a word that occurs with one number only has a ratio (Haldane 1956;
    Anscombe 1956).

    Args:
        cooccurrence: Counts with the columns word, role, number and count.

    Returns:
        A table indexed by word: plural and singular (counts over all roles), log_ratio (natural logarithm; nan for a
        word without any co-occurrence).
    """
    counts = cooccurrence.pivot_table(index="word", columns="number", values="count", aggfunc="sum", fill_value=0)
    counts = counts.reindex(columns=["plural", "singular"], fill_value=0).rename_axis(columns=None)
    ratio = np.log((counts["plural"] + 0.5) / (counts["singular"] + 0.5))
    return counts.assign(log_ratio=ratio.where(counts.sum(axis=1) > 0))


def number_effects(effects: pd.DataFrame) -> pd.DataFrame:
    """Select the configured words' effects under the sets of the numbers, and add the contrast between the two sets.

    The contrast cancels whatever suppressing neurons of this kind does to a word regardless of number.

    Args:
        effects: `Suppression.effects` of one task.

    Returns:
        The columns prompt, operation, word, word_group, set (singular, plural, and `CONTRAST` where both exist) and
        log_change (nats).
    """
    rows = effects[
        (effects["kind"] == "number") & effects["set"].isin(NUMBERS) & ~effects["word"].astype(str).str.startswith("(")
    ]
    key = ["prompt", "operation", "word", "word_group"]
    wide = rows.pivot(index=key, columns="set", values="log_change").astype(float)
    wide = wide.reindex(columns=[number for number in NUMBERS if number in wide.columns])
    if set(NUMBERS) <= set(wide.columns):
        wide[CONTRAST] = wide["plural"] - wide["singular"]
    return wide.rename_axis(columns="set").stack().dropna().rename("log_change").reset_index()


def regressions(
    effects: pd.DataFrame, ratios: pd.Series, sample: Collection[str], confidence: float = 0.95
) -> pd.DataFrame:
    """Regress effects on log-ratios within one task, over words and over prompts.

    Over words, OLS of each word's mean effect with HC3 errors and t quantiles. Over prompts and words, a linear mixed
    model with a random intercept per prompt (REML), fitted for the published operation only. The mixed model treats a
    word's prompts as independent observations of the slope, so its interval is too narrow: rely on the first.

    Args:
        effects: What `number_effects` returns.
        ratios: log_ratio by word.
        sample: Prompts that the mixed model is fitted to.
        confidence: Confidence level of the intervals.

    Returns:
        One row per operation, set (with the contrast) and choice of words ("all", or "without number" of their own).
        slope, low, high, p, r_squared and n_words are of the first regression; mixed_slope, mixed_low, mixed_high,
        mixed_p and prompts (their number) of the second. p is nan with fewer than `MIN_UNITS` words or prompts, and
        where all words but one have the same log-ratio; `note` then says so.
    """
    rows = []
    data = effects.assign(log_ratio=effects["word"].astype(str).map(ratios).astype(float)).dropna(subset=["log_ratio"])
    for (operation, name), part in data.groupby(["operation", "set"], observed=True, sort=False):
        for words, groups in WORDS.items():
            in_groups = part[part["word_group"].isin(groups)]
            rows.append(
                {"operation": operation, "set": name, "words": words}
                | _slope_over_words(in_groups, confidence)
                | (
                    _mixed_slope(in_groups[in_groups["prompt"].isin(sample)], confidence)
                    if operation == PUBLISHED
                    else {}
                )
            )
    return pd.DataFrame(rows).reindex(columns=SLOPES)


def _slope_over_words(rows: pd.DataFrame, confidence: float) -> dict[str, object]:
    means = rows.groupby("word", observed=True).agg(y=("log_change", "mean"), x=("log_ratio", "first"))
    row: dict[str, object] = {"n_words": len(means), "note": ""}
    if len(means) < MIN_UNITS or np.ptp(means["x"]) == 0:
        return row | {"note": f"fewer than {MIN_UNITS} words with a co-occurrence of their own: no test"}
    squares = (means["x"] - means["x"].mean()) ** 2
    if (1 / len(means) + squares / squares.sum()).max() > 1 - 1e-9:  # the line goes through that word: no HC3 error
        return row | {"note": "all words but one have the same co-occurrence: no test"}
    with np.errstate(all="ignore"):  # where no word moves there is no variance to explain
        fit = sm.OLS(means["y"], sm.add_constant(means["x"])).fit(cov_type="HC3", use_t=True)
        row |= {"slope": fit.params["x"], "p": fit.pvalues["x"], "r_squared": fit.rsquared}
    row["low"], row["high"] = fit.conf_int(alpha=1 - confidence).loc["x"]
    return row if np.isfinite(row["p"]) else row | {"note": "no word moves: no test"}


def _mixed_slope(rows: pd.DataFrame, confidence: float) -> dict[str, object]:
    prompts = rows["prompt"].nunique()
    if prompts < MIN_UNITS or rows["word"].nunique() < MIN_UNITS or np.ptp(rows["log_ratio"]) == 0:
        return {"prompts": prompts}
    x, y = sm.add_constant(rows["log_ratio"].to_numpy()), rows["log_change"].to_numpy()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            fit = sm.MixedLM(y, x, groups=rows["prompt"].to_numpy()).fit(reml=True)
        except np.linalg.LinAlgError:  # prompts do not differ in level: the variance is 0 and the model is that of OLS
            fit = sm.OLS(y, x).fit(use_t=False)
    low, high = fit.conf_int(alpha=1 - confidence)[1]
    return {
        "prompts": prompts,
        "mixed_slope": fit.params[1],
        "mixed_low": low,
        "mixed_high": high,
        "mixed_p": fit.pvalues[1],
    }


def correct_slopes(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Add p_holm, p after Holm's correction over the rows (tasks) that share the values of the columns `by`."""
    return table.assign(p_holm=holm_within(table, by))


def variant_effects(cooccurrence: pd.DataFrame, models: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Collect the effect and the log-ratio of each number-biased word in each model of the experiment.

    Families trained in a single world are left out. A task counts if every model of the family has that set in it.

    Args:
        cooccurrence: The rows of all models, with the columns model, task, operation, set, word, word_group, log_ratio
            and log_change; see `summary.ModelTables.cooccurrence`.
        models: family, world and seed of each model trained in a world.

    Returns:
        The columns `COLUMNS`: log_change in nats, mean over tasks; tasks is their number.
    """
    if cooccurrence.empty:
        return pd.DataFrame(columns=COLUMNS)
    rows = cooccurrence[
        (cooccurrence["word_group"] == "biased")
        & cooccurrence["model"].isin(list(models))
        & cooccurrence["log_ratio"].notna()
    ]
    for column in ("family", "world", "seed"):
        rows = rows.assign(**{column: rows["model"].map({model: about[column] for model, about in models.items()})})
    frames = []
    for family, part in rows.groupby("family", sort=False):
        if part["world"].nunique() < 2:
            continue
        key = ["task", "operation", "set"]
        shared = part.groupby(key, observed=True)["model"].transform("nunique") == part["model"].nunique()
        by = ["world", "seed", "model", "operation", "set", "word"]
        means = (
            part[shared]
            .groupby(by, observed=True, sort=False)
            .agg(log_ratio=("log_ratio", "first"), log_change=("log_change", "mean"), tasks=("task", "nunique"))
        )
        frames.append(means.reset_index().assign(family=family))
    return pd.concat(frames, ignore_index=True)[COLUMNS] if frames else pd.DataFrame(columns=COLUMNS)


def variant_tests(effects: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Test whether effects follow co-occurrence from world to world, per family, operation and set.

    The slope is from OLS of log_change on log_ratio with an intercept per word and per model, so that only a word's own
    change from world to world counts; errors are clustered by word (t quantiles). Words are the sampled units in both
    tests. With one model per world, whatever is peculiar to a model (its seed, say) is confounded with its world,
    except that every word is compared with the others of the same model.

    Args:
        effects: What `variant_effects` returns.
        confidence: Confidence level of the intervals.

    Returns:
        The columns `TEST_COLUMNS`. slope with low, high and p; p_holm corrects p over a family's sets for each
        operation. moved counts, of words_changed, the words whose effect (relative to the others) moved in the
        direction of their co-occurrence (relative to the others) from `baseline` to `swapped`; p_wilcoxon tests these
        words. These three are empty where no direction is expected. p is nan with fewer than `MIN_WORDS` words; `note`
        then says so.
    """
    rows = []
    for (family, operation, name), part in effects.groupby(["family", "operation", "set"], observed=True, sort=False):
        rows.append(
            {
                "family": family,
                "operation": operation,
                "set": name,
                "worlds": " ".join(sorted(part["world"].unique())),
                "models": part["model"].nunique(),
                "tasks": int(part["tasks"].max()),
                "words": part["word"].nunique(),
            }
            | _slope_within_words(part, confidence)
            | _words_that_moved(part, expected_sign(operation, name))
        )
    table = pd.DataFrame(rows).reindex(columns=TEST_COLUMNS)
    return table.assign(p_holm=holm_within(table, ["family", "operation"]))


def _slope_within_words(rows: pd.DataFrame, confidence: float) -> dict[str, Any]:
    varied = rows.groupby("word", observed=True)["log_ratio"].agg(np.ptp) > 0
    if varied.sum() < MIN_WORDS:
        return {"note": f"fewer than {MIN_WORDS} words whose co-occurrence differs: no test"}
    data = rows.assign(word=rows["word"].astype(str), cluster=pd.factorize(rows["word"].astype(str))[0])
    fit = smf.ols("log_change ~ C(word) + C(model) + log_ratio", data).fit(
        cov_type="cluster", cov_kwds={"groups": data["cluster"]}, use_t=True
    )
    low, high = fit.conf_int(alpha=1 - confidence).loc["log_ratio"]
    p = fit.pvalues["log_ratio"]
    note = "" if np.isfinite(p) else "no word moves: no test"
    return {"slope": fit.params["log_ratio"], "low": low, "high": high, "p": p, "note": note}


def _words_that_moved(rows: pd.DataFrame, sign: int) -> dict[str, Any]:
    means = rows.groupby(["word", "world"], observed=True)[["log_ratio", "log_change"]].mean().unstack("world")
    if not sign or not set(EXCHANGED) <= set(means.columns.get_level_values("world")):
        return {}
    before, after = EXCHANGED
    ratio, effect = (means[name][after] - means[name][before] for name in ("log_ratio", "log_change"))
    changed = (ratio.abs() >= MIN_CHANGE) & effect.notna()  # nan: one of the two models cannot be asked
    ratio, effect = (x[changed] - x[changed].mean() for x in (ratio, effect))
    along = sign * effect * np.sign(ratio)
    p = stats.wilcoxon(along).pvalue if len(along) >= MIN_UNITS and along.any() else np.nan
    return {"moved": int((along > 0).sum()), "words_changed": len(along), "p_wilcoxon": p}
