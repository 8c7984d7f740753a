"""Indirect effects averaged by the role of the restored token, with intervals over facts or nouns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kn_thesis.clusters import FEWEST, clustered_interval, percentiles, quiet, resampled_means
from kn_thesis.tracing.names import MEASURES, TRACED, measures_of
from kn_thesis.tracing.results import Tracing
from kn_thesis.tracing.roles import ROLES

CELL = ["restored", "role", "layer"]
ROLE_COLUMNS = ["kind", "task", "measure", *CELL, "prompts", "clusters", "effect", "low", "high"]


def total_effects(prompts: pd.DataFrame, measure: str) -> pd.Series:
    """Clean minus corrupted of every traced prompt."""
    columns = MEASURES[measure]
    traced = prompts[prompts["status"] == TRACED]
    return (traced[columns.clean] - traced[columns.corrupted]).set_axis(traced["prompt"])


def by_prompt(tracing: Tracing, measure: str) -> pd.DataFrame:
    """Mean effect over the tokens of each role: a row per prompt, columns (restored, role, layer).

    nan where a prompt has no token of a role.
    """
    means = tracing.effects.groupby(["prompt", *CELL], observed=True, sort=False)[MEASURES[measure].effect].mean()
    wide = means.unstack(CELL)
    restored = list(tracing.effects["restored"].cat.categories)
    layers = range(int(tracing.effects["layer"].max()) + 1)
    return wide.reindex(columns=pd.MultiIndex.from_product([restored, ROLES, layers], names=CELL)).astype(float)


def role_averages(
    tracings: dict[str, Tracing], kind: str, *, resamples: int, confidence: float, seed: int
) -> pd.DataFrame:
    """Averages of the tasks of one kind in one model: each task's, and under the task "all" those over all of them.

    One row per task, measure, restored kind, role and layer: kind, task, measure, restored, role, layer, prompts and
    clusters (with a token of that role), effect (mean over prompts; "all": mean of the tasks' means) and its
    percentile interval low, high (clusters resampled; "all": resampled within each task). nan with fewer than 5
    clusters.
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
            frames.append(_frame(task, measure, table, [clusters[task]], table.mean(), ends))
        if len(tables) > 1:
            means = pd.concat([table.mean() for table in tables.values()], axis=1).mean(axis=1)
            ends = _stratified(list(tables.values()), list(clusters.values()), resamples, confidence, seed)
            frames.append(_frame("all", measure, pd.concat(tables.values()), list(clusters.values()), means, ends))
    if not frames:
        return pd.DataFrame(columns=ROLE_COLUMNS)
    found = pd.concat(frames, ignore_index=True)
    found.insert(0, "kind", kind)
    return found[found["prompts"] > 0].reset_index(drop=True)[ROLE_COLUMNS]


def _frame(
    task: str,
    measure: str,
    table: pd.DataFrame,
    clusters: Sequence[Sequence[str]],
    means: pd.Series,
    ends: tuple[np.ndarray, np.ndarray],
) -> pd.DataFrame:
    names = np.array([f"{number} {name}" for number, part in enumerate(clusters) for name in part])
    known = table.notna().to_numpy()
    counted = np.array([len(set(names[column])) for column in known.T])
    low, high = np.where(counted < FEWEST, np.nan, ends)
    values = {"prompts": known.sum(axis=0), "clusters": counted, "effect": means.to_numpy(), "low": low, "high": high}
    return table.columns.to_frame(index=False).assign(task=task, measure=measure, **values)


def _stratified(
    tables: Sequence[pd.DataFrame], clusters: Sequence[Sequence[str]], resamples: int, confidence: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval of the mean of tasks' means: each task's clusters are resampled."""
    draws = [
        resampled_means(table.to_numpy(), names, resamples, seed + number)
        for number, (table, names) in enumerate(zip(tables, clusters, strict=True))
    ]
    with quiet():
        return percentiles(np.nanmean(draws, axis=0), confidence)
