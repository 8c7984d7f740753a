"""Average indirect effects by token role, and test for an early and a late site (claim 12).

In GPT-2 XL, Meng et al. (2022, §2.2) saw MLPs do most at the last token of the subject, in lower and middle layers (the
early site), and attention do most at the last token of the prompt, in upper layers (the late site). Two numbers make
this testable. Both are mean effects of single restored modules, over the layers below or above a boundary:

    early contrast   MLPs minus attention, at the cue's last token, in lower layers
    late contrast    attention minus MLPs, at the blank, in upper layers

Two sites can be told apart when both are above 0. Each is tested by a one-sided t-test of clusters' means (facts, or
nouns), and both together by the larger p (intersection-union test: Berger 1982, Technometrics 24), under Holm's
correction over the tasks of a model. Beside them stand shares: how much of the MLPs' positive effects lies in the early
site, and how much of attention's in the late one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from kn_thesis.stats import (
    MIN_UNITS,
    cluster_means,
    clustered_interval,
    holm,
    holm_within,
    percentiles,
    quiet,
    resampled_means,
)
from kn_thesis.tracing.tables import MEASURES, NO_CUE, NO_TOKEN, ROLES, SITES, TRACED, WRONG, Tracing, measures_of

MODULES = ("mlp", "attention")
CONTRASTS = {"early_contrast": ("early_mlp", "early_attention"), "late_contrast": ("late_attention", "late_mlp")}
SHARES = {"early_share": ("mlp", "early"), "late_share": ("attention", "late")}
PARTS = [f"{site}_{module}" for site in SITES for module in MODULES]
KEY = ["restored", "role", "layer"]
ROLE_COLUMNS = ["kind", "task", "measure", *KEY, "prompts", "clusters", "effect", "low", "high"]
WITH_INTERVALS = [
    name for measured in (*PARTS, *CONTRASTS, *SHARES) for name in (measured, f"{measured}_low", f"{measured}_high")
]
COLUMNS = [
    *("kind", "task", "measure", "headline", "prompts", "right", "with_cue", "traced", "apart", "clusters"),
    *("clean", "corrupted", "total_effect", *WITH_INTERVALS),
    *("p_early", "p_late", "p_sites", "p_holm", "two_sites", "note"),
]
COMPARISON = [
    *("model", "name", "facts", "syntax", "tasks_facts", "tasks_syntax", "difference", "low", "high", "p", "p_holm"),
    "differs",
]


def total_effects(prompts: pd.DataFrame, measure: str) -> pd.Series:
    """Compute the total effect of corruption, clean minus corrupted.

    Args:
        prompts: `Tracing.prompts`.
        measure: A key of `MEASURES`.

    Returns:
        The total effect of every traced prompt, by prompt.
    """
    columns = MEASURES[measure]
    traced = prompts[prompts["status"] == TRACED]
    return (traced[columns.clean] - traced[columns.corrupted]).set_axis(traced["prompt"])


def by_prompt(tracing: Tracing, measure: str) -> pd.DataFrame:
    """Average effects over the tokens of each role.

    Args:
        tracing: One model and task.
        measure: A key of `MEASURES`.

    Returns:
        A row per prompt, with the columns (restored, role, layer); nan where a prompt has no token of that role.
    """
    means = tracing.effects.groupby(["prompt", *KEY], observed=True, sort=False)[MEASURES[measure].effect].mean()
    wide = means.unstack(KEY)
    restored = list(tracing.effects["restored"].cat.categories)
    layers = range(int(tracing.effects["layer"].max()) + 1)
    return wide.reindex(columns=pd.MultiIndex.from_product([restored, ROLES, layers], names=KEY)).astype(float)


def role_averages(
    tracings: dict[str, Tracing], kind: str, *, resamples: int, confidence: float, seed: int
) -> pd.DataFrame:
    """Average the tasks of one kind in one model: each task, and under the task "all" the mean over all of them.

    Args:
        tracings: The traced tasks, all of one kind.
        kind: "relation" or "paradigm".
        resamples: Bootstrap resamples.
        confidence: Confidence level of the intervals.
        seed: Seed of the bootstrap.

    Returns:
        One row per task, measure, restored kind, role and layer, with the columns `ROLE_COLUMNS`. prompts and clusters
        count those with a token of that role. effect is the mean over prompts ("all": the mean of the tasks' means);
        low and high are its percentile interval over resampled clusters ("all": resampled within each task), nan with
        fewer than `MIN_UNITS` clusters.
    """
    frames = []
    for measure in measures_of(kind):
        tables = {task: by_prompt(tracing, measure) for task, tracing in tracings.items() if len(tracing.effects)}
        clusters = {
            task: tracings[task].prompts.set_index("prompt")["cluster"].loc[table.index].tolist()
            for task, table in tables.items()
        }
        for task, table in tables.items():
            ends = clustered_interval(table.to_numpy(), clusters[task], resamples, confidence, seed)
            frames.append(_role_rows(task, measure, table, [clusters[task]], table.mean(), ends))
        if len(tables) > 1:
            means = pd.concat([table.mean() for table in tables.values()], axis=1).mean(axis=1)
            ends = _stratified_interval(list(tables.values()), list(clusters.values()), resamples, confidence, seed)
            frames.append(_role_rows("all", measure, pd.concat(tables.values()), list(clusters.values()), means, ends))
    if not frames:
        return pd.DataFrame(columns=ROLE_COLUMNS)
    table = pd.concat(frames, ignore_index=True)
    table.insert(0, "kind", kind)
    return table[table["prompts"] > 0].reset_index(drop=True)[ROLE_COLUMNS]


def _role_rows(
    task: str,
    measure: str,
    table: pd.DataFrame,
    clusters: Sequence[Sequence[str]],
    means: pd.Series,
    ends: tuple[np.ndarray, np.ndarray],
) -> pd.DataFrame:
    """Rows of one task and measure. `clusters`: those of each task in `table`, in order."""
    names = np.array([f"{number} {name}" for number, part in enumerate(clusters) for name in part])
    known = table.notna().to_numpy()
    counts = np.array([len(set(names[column])) for column in known.T])
    low, high = np.where(counts < MIN_UNITS, np.nan, ends)
    values = {"prompts": known.sum(axis=0), "clusters": counts, "effect": means.to_numpy(), "low": low, "high": high}
    return table.columns.to_frame(index=False).assign(task=task, measure=measure, **values)


def _stratified_interval(
    tables: Sequence[pd.DataFrame], clusters: Sequence[Sequence[str]], resamples: int, confidence: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval of the mean of the tasks' means; clusters are resampled within each task."""
    means = [
        resampled_means(table.to_numpy(), names, resamples, seed + number)
        for number, (table, names) in enumerate(zip(tables, clusters, strict=True))
    ]
    with quiet():
        return percentiles(np.nanmean(means, axis=0), confidence)


def boundary_layer(layers: int, boundary: float) -> int:
    """Return the first upper layer. The early site is looked for below it, the late one from it on.

    Args:
        layers: Number of layers of the model.
        boundary: The boundary as a share of the depth.

    Returns:
        At least 1 and at most `layers - 1`; 1 for a model of one layer, which has no upper layers.
    """
    return min(max(1, round(boundary * layers)), layers - 1) if layers > 1 else layers


def site_effects(tracing: Tracing, measure: str, boundary: float) -> pd.DataFrame:
    """Average effects at the two sites within each prompt; prompts whose sites are one token are left out.

    Args:
        tracing: One model and task.
        measure: A key of `MEASURES`.
        boundary: See `boundary_layer`.

    Returns:
        A row per traced prompt, with mean effects `PARTS`, `CONTRASTS` and `SHARES`. A share is nan where no effect of
        the module is above 0.
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
    columns = {}
    for site, at_site in inside.items():
        for module in MODULES:
            mask = at_site & (rows["restored"] == module)
            columns[f"{site}_{module}"] = value[mask].groupby(rows["prompt"][mask]).mean()
    for name, (module, site) in SHARES.items():
        positive = value.clip(lower=0)[rows["restored"] == module]
        total = positive.groupby(rows["prompt"]).sum()
        at_site = positive[inside[site]].groupby(rows["prompt"]).sum()
        columns[name] = (at_site / total).where(total > 0)
    table = pd.DataFrame(columns).loc[apart["prompt"]]
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
    """Test each task of one model: what was traced, its effect, and whether two sites can be told apart.

    Args:
        tracings: The traced tasks of one model.
        kinds: "relation" or "paradigm" by task.
        boundary: See `boundary_layer`.
        level: Significance level.
        resamples: Bootstrap resamples.
        confidence: Confidence level of the intervals.
        seed: Seed of the bootstrap.

    Returns:
        One row per task and measure, with the columns `COLUMNS`:

        - kind, task, measure; headline: whether the report uses this measure
        - prompts (asked), right, with_cue, traced, apart (sites at two tokens), clusters: counts
        - clean, corrupted, total_effect: means over traced prompts
        - `PARTS`, `CONTRASTS` and `SHARES`, each with _low and _high
        - p_early, p_late: one-sided; p_sites: the larger of both; nan with fewer than `MIN_UNITS` clusters
        - p_holm: p_sites corrected over the model's tasks, headline measures only
        - two_sites: whether they can be told apart
        - note: why there is no test, or ""
    """
    rows = []
    for task, tracing in tracings.items():
        for measure in measures_of(kinds[task]):
            headline = measure == measures_of(kinds[task])[0]
            row = {"kind": kinds[task], "task": task, "measure": measure, "headline": headline}
            rows.append(row | _task_row(tracing, measure, boundary, resamples, confidence, seed))
    table = pd.DataFrame(rows, columns=COLUMNS)
    table["p_holm"] = np.nan
    table.loc[table["headline"], "p_holm"] = holm(table.loc[table["headline"], "p_sites"].to_numpy(dtype=float))
    corrected = table["p_holm"].where(table["headline"], table["p_sites"])
    table["two_sites"] = corrected < level
    return table


def _task_row(
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
    few = row["clusters"] < MIN_UNITS
    p = [np.nan, np.nan]
    if not few:
        with quiet():
            means = cluster_means(effects[list(CONTRASTS)].to_numpy(dtype=float), clusters)
            p = stats.ttest_1samp(means, 0.0, alternative="greater").pvalue
    notes = {
        "nothing was traced": row["traced"] == 0,
        "the cue ends at the blank: both sites are one token": row["traced"] > 0 and not len(effects),
        "a model of one layer has no upper layers: no test": bool(len(effects)) and effects["late_mlp"].isna().all(),
        f"fewer than {MIN_UNITS} facts or nouns: no test": bool(len(effects)) and few,
    }
    return row | {
        "p_early": float(p[0]),
        "p_late": float(p[1]),
        "p_sites": float(np.max(p)),
        "note": next((note for note, holds in notes.items() if holds), ""),
    }


def compare_kinds(sites: pd.DataFrame, confidence: float, level: float) -> pd.DataFrame:
    """Compare facts with syntax, per model: contrasts as shares of the total effect, and the sites' shares.

    The units are tasks, of which there are few (Welch's t-test of their means).

    Args:
        sites: Rows of `site_tests` with the column model.
        confidence: Confidence level of the intervals.
        level: Significance level.

    Returns:
        One row per model and name (contrasts and shares), with the columns `COMPARISON`: facts, syntax (means over
        tasks), tasks_facts, tasks_syntax (counts), difference with low and high, p, p_holm (over the rows of a model)
        and differs (p_holm below `level`). nan with fewer than 2 tasks on a side.
    """
    rows = []
    tested = sites[sites["headline"] & (sites["clusters"] >= MIN_UNITS)]
    for model in dict.fromkeys(sites["model"]):
        part = tested[tested["model"] == model]
        for name in (*CONTRASTS, *SHARES):
            value = part[name] / part["total_effect"] if name in CONTRASTS else part[name]
            facts, syntax = (value[part["kind"] == kind].dropna().to_numpy() for kind in ("relation", "paradigm"))
            rows.append({"model": model, "name": name} | _welch(facts, syntax, confidence))
    table = pd.DataFrame(rows, columns=COMPARISON)
    p = holm_within(table, ["model"])
    return table.assign(p_holm=p, differs=p < level)


def _welch(facts: Sequence[float], syntax: Sequence[float], confidence: float) -> dict[str, float]:
    with quiet():
        row = {"facts": np.mean(facts), "syntax": np.mean(syntax)}
    row |= {"tasks_facts": len(facts), "tasks_syntax": len(syntax), "difference": row["facts"] - row["syntax"]}
    if min(len(facts), len(syntax)) < 2 or np.ptp(facts) + np.ptp(syntax) == 0:
        return row
    means = CompareMeans(DescrStatsW(facts), DescrStatsW(syntax))
    low, high = means.tconfint_diff(alpha=1 - confidence, usevar="unequal")
    return row | {"low": low, "high": high, "p": float(means.ttest_ind(usevar="unequal")[1])}
