"""Do words move with their company? Effects of suppression against co-occurrence with plural and singular (claim 7)."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
import statsmodels.api as sm

from kn_thesis.clusters import FEWEST, holm
from kn_thesis.suppression.names import CONTRAST, NUMBERS

PUBLISHED = "erase"
SLOPES = ["operation", "set", "words", "n_words", "slope", "low", "high", "p", "r_squared", "prompts"]
SLOPES += ["mixed_slope", "mixed_low", "mixed_high", "mixed_p", "note"]
WORDS = {"all": ("plural", "singular", "biased", "neutral"), "without number": ("biased", "neutral")}


def log_ratios(cooccurrence: pd.DataFrame) -> pd.DataFrame:
    """Company of every word: index word; plural, singular (counts over all roles), log_ratio (natural logarithm).

    `cooccurrence` has the columns word, role, number, count. Half a count is added to both numbers, so that a word with
    company of one number only has a ratio (Haldane 1956; Anscombe 1956); a word without any company has nan.
    """
    counts = cooccurrence.pivot_table(index="word", columns="number", values="count", aggfunc="sum", fill_value=0)
    counts = counts.reindex(columns=["plural", "singular"], fill_value=0).rename_axis(columns=None)
    ratio = np.log((counts["plural"] + 0.5) / (counts["singular"] + 0.5))
    return counts.assign(log_ratio=ratio.where(counts.sum(axis=1) > 0))


def number_effects(effects: pd.DataFrame) -> pd.DataFrame:
    """Words configured, under the numbers' sets and their contrast: prompt, operation, set, word, word_group,
    log_change.

    The contrast is free of what any suppression of such neurons does to a word.
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
    """Slopes of effect on log-ratio: a row per operation, set (with the contrast) and choice of words, of one task.

    `effects`: see `number_effects`; `ratios`: log_ratio by word. words: "all", or those "without number" of their own.
    Over words: OLS of a word's mean effect, with HC3 errors and t quantiles: slope, low, high, p, r_squared, n_words.
    Over prompts and words: a linear mixed model with a random intercept for each prompt (REML): mixed_slope,
    mixed_low, mixed_high, mixed_p, over the prompts in `sample` (their number: prompts). That model takes a word's
    prompts for independent observations of the slope, so its interval is too narrow: the first is the one to go by; it
    is fitted for the published operation alone.
    p is nan for fewer than FEWEST words or prompts, and where words other than one have the same company; then `note`
    says so.
    """
    rows = []
    data = effects.assign(log_ratio=effects["word"].astype(str).map(ratios).astype(float)).dropna(subset=["log_ratio"])
    for (operation, name), part in data.groupby(["operation", "set"], observed=True, sort=False):
        for words, groups in WORDS.items():
            chosen = part[part["word_group"].isin(groups)]
            rows.append(
                {"operation": operation, "set": name, "words": words}
                | _over_words(chosen, confidence)
                | (_mixed(chosen[chosen["prompt"].isin(sample)], confidence) if operation == PUBLISHED else {})
            )
    return pd.DataFrame(rows).reindex(columns=SLOPES)


def _over_words(rows: pd.DataFrame, confidence: float) -> dict[str, object]:
    means = rows.groupby("word", observed=True).agg(y=("log_change", "mean"), x=("log_ratio", "first"))
    found: dict[str, object] = {"n_words": len(means), "note": ""}
    if len(means) < FEWEST or np.ptp(means["x"]) == 0:
        return found | {"note": f"fewer than {FEWEST} words with company of their own: no test"}
    apart = (means["x"] - means["x"].mean()) ** 2
    if (1 / len(means) + apart / apart.sum()).max() > 1 - 1e-9:  # the line goes through that word: no HC3 error
        return found | {"note": "all words but one have the same company: no test"}
    with np.errstate(all="ignore"):  # where no word moves there is no variance to explain
        fit = sm.OLS(means["y"], sm.add_constant(means["x"])).fit(cov_type="HC3", use_t=True)
        found |= {"slope": fit.params["x"], "p": fit.pvalues["x"], "r_squared": fit.rsquared}
    found["low"], found["high"] = fit.conf_int(alpha=1 - confidence).loc["x"]
    return found if np.isfinite(found["p"]) else found | {"note": "no word moves: no test"}


def _mixed(rows: pd.DataFrame, confidence: float) -> dict[str, object]:
    prompts = rows["prompt"].nunique()
    if prompts < FEWEST or rows["word"].nunique() < FEWEST or np.ptp(rows["log_ratio"]) == 0:
        return {"prompts": prompts}
    x, y = sm.add_constant(rows["log_ratio"].to_numpy()), rows["log_change"].to_numpy()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            fit = sm.MixedLM(y, x, groups=rows["prompt"].to_numpy()).fit(reml=True)
        except np.linalg.LinAlgError:  # prompts without a level of their own: no variance, and the model is OLS's
            fit = sm.OLS(y, x).fit(use_t=False)
    low, high = fit.conf_int(alpha=1 - confidence)[1]
    return {
        "prompts": prompts,
        "mixed_slope": fit.params[1],
        "mixed_low": low,
        "mixed_high": high,
        "mixed_p": fit.pvalues[1],
    }


def corrected(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """`table` with p_holm beside p, corrected over the rows (tasks) that share the columns `by`."""
    result = table.copy()
    result["p_holm"] = np.nan
    for _, part in table.groupby(list(by), sort=False):
        result.loc[part.index, "p_holm"] = holm(part["p"].to_numpy())
    return result
