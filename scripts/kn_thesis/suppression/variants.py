"""The experiment: change a word's company, train anew, and see whether the effect of suppression follows (claim 7).

Worlds differ in the company of the number-biased words and in nothing else. Each model is trained, localized and
suppressed in its own world; what is compared is the same word's effect under different company.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf
from scipy import stats

from kn_thesis.clusters import FEWEST, holm
from kn_thesis.suppression.names import expected_sign

COLUMNS = ["family", "world", "seed", "model", "operation", "set", "word", "log_ratio", "log_change", "tasks"]
EXCHANGED = ("baseline", "swapped")  # worlds whose difference in company is the largest
FEWEST_WORDS = 10  # clusters: with 5 words the slope's test was wrong in 17 % of simulations, with 12 in 4 %
LEAST = 0.5  # change of log-ratio from which a word's company is taken to be another


def variant_effects(company: pd.DataFrame, models: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Effect and company of each number-biased word in each model: family, world, seed, model, operation, set, word,
    log_ratio, log_change (nats, mean over tasks), tasks (number of them).

    `company` has the rows of all models (model, task, operation, set, word, word_group, log_ratio, log_change);
    `models`: family, world and seed of those trained in a world. Families of which one world only was trained are left
    out; tasks count that have such a set in every model of the family.
    """
    if company.empty:
        return pd.DataFrame(columns=COLUMNS)
    rows = company[
        (company["word_group"] == "biased") & company["model"].isin(list(models)) & company["log_ratio"].notna()
    ]
    for column in ("family", "world", "seed"):
        rows = rows.assign(**{column: rows["model"].map({model: about[column] for model, about in models.items()})})
    frames = []
    for family, part in rows.groupby("family", sort=False):
        if part["world"].nunique() < 2:
            continue
        key = ["task", "operation", "set"]
        shared = part.groupby(key, observed=True)["model"].transform("nunique") == part["model"].nunique()
        kept = part[shared]
        by = ["world", "seed", "model", "operation", "set", "word"]
        means = kept.groupby(by, observed=True, sort=False).agg(
            log_ratio=("log_ratio", "first"), log_change=("log_change", "mean"), tasks=("task", "nunique")
        )
        frames.append(means.reset_index().assign(family=family))
    return pd.concat(frames, ignore_index=True)[COLUMNS] if frames else pd.DataFrame(columns=COLUMNS)


def variant_tests(effects: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Whether effects follow company, one row per family, operation and set, from the table of `variant_effects`.

    slope (low, high, p): OLS of log_change on log_ratio with a level for every word and for every model, so that only
    a word's own change from world to world counts; errors clustered by word (t quantiles). moved of words_changed:
    words whose effect, against the others', went the way of their company, against the others', from `baseline` to
    `swapped`, with p_wilcoxon over these words; empty where no way is expected.
    Both take words as the units that are sampled; with one model a world, what a model has of its own, its seed say,
    is not told from its world, save that every word is compared with the others of the same model.
    p_holm corrects p over a family's sets for each operation. p is nan for fewer than FEWEST_WORDS words; then note
    says so.
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
            | _slope(part, confidence)
            | _moved(part, expected_sign(operation, name))
        )
    columns = ["family", "operation", "set", "worlds", "models", "tasks", "words"]
    columns += ["slope", "low", "high", "p", "p_holm"]
    table = pd.DataFrame(rows).reindex(columns=[*columns, "moved", "words_changed", "p_wilcoxon", "note"])
    for _, part in table.groupby(["family", "operation"], sort=False):
        table.loc[part.index, "p_holm"] = holm(part["p"].to_numpy(dtype=float))
    return table


def _slope(rows: pd.DataFrame, confidence: float) -> dict[str, Any]:
    varied = rows.groupby("word", observed=True)["log_ratio"].agg(np.ptp) > 0
    if varied.sum() < FEWEST_WORDS:
        return {"note": f"fewer than {FEWEST_WORDS} words whose company differs: no test"}
    data = rows.assign(word=rows["word"].astype(str), cluster=pd.factorize(rows["word"].astype(str))[0])
    fit = smf.ols("log_change ~ C(word) + C(model) + log_ratio", data).fit(
        cov_type="cluster", cov_kwds={"groups": data["cluster"]}, use_t=True
    )
    low, high = fit.conf_int(alpha=1 - confidence).loc["log_ratio"]
    p = fit.pvalues["log_ratio"]
    note = "" if np.isfinite(p) else "no word moves: no test"
    return {"slope": fit.params["log_ratio"], "low": low, "high": high, "p": p, "note": note}


def _moved(rows: pd.DataFrame, sign: int) -> dict[str, Any]:
    means = rows.groupby(["word", "world"], observed=True)[["log_ratio", "log_change"]].mean().unstack("world")
    if not sign or not set(EXCHANGED) <= set(means.columns.get_level_values("world")):
        return {}
    before, after = EXCHANGED
    company, effect = (means[name][after] - means[name][before] for name in ("log_ratio", "log_change"))
    changed = (company.abs() >= LEAST) & effect.notna()  # nan: not asked in one of the two
    company, effect = (x[changed] - x[changed].mean() for x in (company, effect))
    along = sign * effect * np.sign(company)
    p = stats.wilcoxon(along).pvalue if len(along) >= FEWEST and along.any() else np.nan
    return {"moved": int((along > 0).sum()), "words_changed": len(along), "p_wilcoxon": p}
