"""Early site and late site: what Meng et al. (2022, §2.2) saw, as numbers that a test can deny.

In GPT-2 XL they saw MLPs do most at the last token of the subject, in lower and middle layers (the early site), and
attention do most at the last token of the prompt, in upper layers (the late site). So, with mean effects of single
restored modules over the layers below (early) and above (late) a boundary:

    early contrast   MLPs minus attention, at the cue's last token, in lower layers
    late contrast    attention minus MLPs, at the gap, in upper layers

Two sites can be told apart when both are above 0: each is tested by a one-sided t-test of clusters' means (facts, or
nouns), both together by the larger p (intersection-union test: Berger 1982, Technometrics 24), under Holm's correction
over the tasks of a model. Beside them stand shares: of the MLPs' positive effects, how much lies in the early site; of
attention's, how much in the late one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from kn_thesis.clusters import FEWEST, cluster_means, clustered_interval, holm, quiet
from kn_thesis.tracing.averages import total_effects
from kn_thesis.tracing.names import MEASURES, NO_CUE, NO_TOKEN, SITES, TRACED, WRONG, measures_of
from kn_thesis.tracing.results import Tracing

MODULES = ("mlp", "attention")
CONTRASTS = {"early_contrast": ("early_mlp", "early_attention"), "late_contrast": ("late_attention", "late_mlp")}
SHARES = {"early_share": ("mlp", "early"), "late_share": ("attention", "late")}
PARTS = [f"{site}_{module}" for site in SITES for module in MODULES]


def boundary_layer(layers: int, boundary: float) -> int:
    """The first upper layer: layers below it are the early site's, it and those above the late one's."""
    return min(max(1, round(boundary * layers)), layers - 1) if layers > 1 else layers


def site_effects(tracing: Tracing, measure: str, boundary: float) -> pd.DataFrame:
    """Per traced prompt (index) mean effects PARTS, contrasts and shares; prompts whose sites are one token left out.

    A share is nan where no effect of the module is above 0.
    """
    apart = tracing.prompts[(tracing.prompts["status"] == TRACED) & ~tracing.prompts["shared_site"].fillna(True)]
    rows = tracing.effects[tracing.effects["restored"].isin(MODULES) & tracing.effects["prompt"].isin(apart["prompt"])]
    if not len(rows):
        return pd.DataFrame(columns=[*PARTS, *CONTRASTS, *SHARES], dtype=float)
    first_upper = boundary_layer(int(tracing.effects["layer"].max()) + 1, boundary)
    inside = {
        "early": (rows["role"] == SITES["early"]) & (rows["layer"] < first_upper),
        "late": (rows["role"] == SITES["late"]) & (rows["layer"] >= first_upper),
    }
    value = rows[MEASURES[measure].effect].astype(float)
    found = {}
    for site, chosen in inside.items():
        for module in MODULES:
            of = chosen & (rows["restored"] == module)
            found[f"{site}_{module}"] = value[of].groupby(rows["prompt"][of]).mean()
    for name, (module, site) in SHARES.items():
        positive = value.clip(lower=0)[rows["restored"] == module]
        total = positive.groupby(rows["prompt"]).sum()
        there = positive[inside[site]].groupby(rows["prompt"]).sum()
        found[name] = (there / total).where(total > 0)
    table = pd.DataFrame(found).loc[apart["prompt"]]
    for name, (more, less) in CONTRASTS.items():
        table[name] = table[more] - table[less]
    return table[[*PARTS, *CONTRASTS, *SHARES]]


def site_tests(
    tracings: Mapping[str, Tracing],
    kinds: Mapping[str, str],
    *,
    boundary: float,
    level: float,
    resamples: int,
    confidence: float,
    seed: int,
) -> pd.DataFrame:
    """One row per task and measure of one model: what was traced, what it did, and whether two sites can be told apart.

    kinds: "relation" or "paradigm" by task. Columns: kind, task, measure, headline (whether the report reads this
    measure); prompts asked, right, with_cue, traced, apart (with sites at two tokens), clusters; clean, corrupted,
    total_effect; PARTS, contrasts and shares, each with _low and _high; p_early, p_late (one-sided), p_sites, p_holm
    (over the model's tasks, headline measures alone), two_sites, note. p is nan for fewer than 5 clusters.
    """
    rows = []
    for task, tracing in tracings.items():
        for measure in measures_of(kinds[task]):
            headline = measure == measures_of(kinds[task])[0]
            row = {"kind": kinds[task], "task": task, "measure": measure, "headline": headline}
            rows.append(row | _one_task(tracing, measure, boundary, resamples, confidence, seed))
    table = pd.DataFrame(rows, columns=COLUMNS)
    table["p_holm"] = np.nan
    table.loc[table["headline"], "p_holm"] = holm(table.loc[table["headline"], "p_sites"].to_numpy(dtype=float))
    corrected = table["p_holm"].where(table["headline"], table["p_sites"])
    table["two_sites"] = corrected < level
    return table


NUMBERS = [
    name for measured in (*PARTS, *CONTRASTS, *SHARES) for name in (measured, f"{measured}_low", f"{measured}_high")
]
COLUMNS = [
    *("kind", "task", "measure", "headline", "prompts", "right", "with_cue", "traced", "apart", "clusters"),
    *("clean", "corrupted", "total_effect", *NUMBERS, "p_early", "p_late", "p_sites", "p_holm", "two_sites", "note"),
]


def _one_task(
    tracing: Tracing, measure: str, boundary: float, resamples: int, confidence: float, seed: int
) -> dict[str, object]:
    prompts = tracing.prompts
    status = prompts["status"]
    columns = MEASURES[measure]
    effects = site_effects(tracing, measure, boundary)
    clusters = prompts.set_index("prompt")["cluster"].loc[effects.index].tolist()
    row = {
        "prompts": len(prompts),
        "right": int((status != WRONG).sum()),
        "with_cue": int((~status.isin([WRONG, NO_CUE, NO_TOKEN])).sum()),
        "traced": int((status == TRACED).sum()),
        "apart": len(effects),
        "clusters": len(set(clusters)),
        "clean": prompts[columns.clean].mean(),
        "corrupted": prompts[columns.corrupted].mean(),
        "total_effect": total_effects(prompts, measure).mean(),
    }
    low, high = clustered_interval(effects.to_numpy(dtype=float), clusters, resamples, confidence, seed)
    for name, mean, *ends in zip(effects.columns, effects.mean(), low, high, strict=True):
        row |= {name: mean, f"{name}_low": ends[0], f"{name}_high": ends[1]}
    few = row["clusters"] < FEWEST
    p = [np.nan, np.nan]
    if not few:
        with quiet():
            means = cluster_means(effects[list(CONTRASTS)].to_numpy(dtype=float), clusters)
            p = stats.ttest_1samp(means, 0.0, alternative="greater").pvalue
    notes = {
        "nothing was traced": row["traced"] == 0,
        "the cue ends at the gap: both sites are one token": row["traced"] > 0 and not len(effects),
        "a model of one layer has no upper layers: no test": bool(len(effects)) and effects["late_mlp"].isna().all(),
        f"fewer than {FEWEST} facts or nouns: no test": bool(len(effects)) and few,
    }
    return row | {
        "p_early": float(p[0]),
        "p_late": float(p[1]),
        "p_sites": float(np.max(p)),
        "note": next((note for note, holds in notes.items() if holds), ""),
    }


def compare_kinds(sites: pd.DataFrame, confidence: float, level: float) -> pd.DataFrame:
    """Facts against syntax, per model: are the sites' contrasts, as shares of the total effect, alike?

    sites: rows of `site_tests` with the column model. The units are tasks (Welch's t-test of their means), which are
    few; rows per model and name (contrasts and shares): facts, syntax (means over tasks), tasks_facts, tasks_syntax,
    difference with low and high, p, p_holm (over the rows of a model), differs (p_holm < level). nan with fewer than 2
    tasks on a side.
    """
    rows = []
    asked = sites[sites["headline"] & (sites["clusters"] >= FEWEST)]
    for model in dict.fromkeys(sites["model"]):
        part = asked[asked["model"] == model]
        for name in (*CONTRASTS, *SHARES):
            value = part[name] / part["total_effect"] if name in CONTRASTS else part[name]
            facts, syntax = (value[part["kind"] == kind].dropna().to_numpy() for kind in ("relation", "paradigm"))
            rows.append({"model": model, "name": name} | _welch(facts, syntax, confidence))
    table = pd.DataFrame(rows, columns=COMPARISON)
    for _, part in table.groupby("model", sort=False):
        table.loc[part.index, "p_holm"] = holm(part["p"].to_numpy(dtype=float))
    table["differs"] = table["p_holm"] < level
    return table


COMPARISON = [
    *("model", "name", "facts", "syntax", "tasks_facts", "tasks_syntax", "difference", "low", "high", "p", "p_holm"),
    "differs",
]


def _welch(facts: Sequence[float], syntax: Sequence[float], confidence: float) -> dict[str, float]:
    with quiet():
        found = {"facts": np.mean(facts), "syntax": np.mean(syntax)}
    found |= {"tasks_facts": len(facts), "tasks_syntax": len(syntax), "difference": found["facts"] - found["syntax"]}
    if min(len(facts), len(syntax)) < 2 or np.ptp(facts) + np.ptp(syntax) == 0:
        return found
    compared = CompareMeans(DescrStatsW(facts), DescrStatsW(syntax))
    low, high = compared.tconfint_diff(alpha=1 - confidence, usevar="unequal")
    return found | {"low": low, "high": high, "p": float(compared.ttest_ind(usevar="unequal")[1])}
