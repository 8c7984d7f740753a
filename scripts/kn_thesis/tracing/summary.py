"""Build the CSV tables of the tracing chapter from what was traced in every model and task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kn_thesis.files import joined, keyed
from kn_thesis.tracing.sites import (
    COLUMNS,
    ROLE_COLUMNS,
    boundary_layer,
    compare_kinds,
    role_averages,
    site_tests,
    total_effects,
)
from kn_thesis.tracing.tables import MEASURES, Tracing, measures_of, read_tracings

EXAMPLE_COLUMNS = ["prompt", "position", "token", "role", "restored", "layer"]
HEADS = {
    "tracing": ["model", "family", *COLUMNS],
    "roles": ["model", "family", *ROLE_COLUMNS, "upper"],
    "skipped": ["model", "family", "kind", "task", "status", "prompts"],
    "examples": ["model", "family", "kind", "task", *EXAMPLE_COLUMNS, "cue", "measure", "clean", "corrupted", "effect"],
}


@dataclass(frozen=True)
class Settings:
    """Settings of the tests.

    Attributes:
        boundary: Boundary between lower and upper layers, as a share of the depth.
        level: Significance level.
        resamples: Bootstrap resamples.
        confidence: Confidence level of the intervals.
        seed: Seed of the bootstrap.
    """

    boundary: float
    level: float
    resamples: int
    confidence: float
    seed: int


@dataclass(frozen=True)
class Tables:
    """The tables of the chapter.

    Attributes:
        tracing: See `sites.site_tests`.
        roles: See `sites.role_averages`; upper says whether the late site is looked for in the layer.
        comparison: See `sites.compare_kinds`.
        skipped: Number of prompts by model, kind, task and status.
        examples: Effects of the prompts that are drawn, a row per token, layer and restored kind; see `example`.
    """

    tracing: pd.DataFrame
    roles: pd.DataFrame
    comparison: pd.DataFrame
    skipped: pd.DataFrame
    examples: pd.DataFrame


def summarise(
    files: Mapping[str, Mapping[str, Sequence[str | Path]]],
    tasks: Mapping[str, Sequence[str]],
    kinds: Mapping[str, str],
    families: Mapping[str, str],
    shown: Sequence[str],
    settings: Settings,
) -> Tables:
    """Build all tables of the chapter.

    Args:
        files: Each model's files of "prompts" and of "effects"; see `tables.read_tracings`.
        tasks: Tasks of each model.
        kinds: "relation" or "paradigm" by task.
        families: Family of each model.
        shown: Tasks of which one prompt is drawn.
        settings: Settings of the tests.

    Returns:
        The tables over all models and tasks.
    """
    interval = {"resamples": settings.resamples, "confidence": settings.confidence, "seed": settings.seed}
    frames: dict[str, list[pd.DataFrame]] = {name: [] for name in ("tracing", "roles", "skipped", "examples")}
    for model, of_model in tasks.items():
        by_task = read_tracings(files[model]["prompts"], files[model]["effects"])
        tracings = {task: by_task[task] for task in of_model}
        key = {"model": model, "family": families[model]}
        sites = site_tests(tracings, kinds, boundary=settings.boundary, level=settings.level, **interval)
        frames["tracing"].append(keyed(sites, key))
        for kind in dict.fromkeys(kinds[task] for task in of_model):
            of_kind = {task: tracing for task, tracing in tracings.items() if kinds[task] == kind}
            averages = role_averages(of_kind, kind, **interval)
            first_upper = boundary_layer(int(averages["layer"].max()) + 1 if len(averages) else 1, settings.boundary)
            frames["roles"].append(keyed(averages.assign(upper=averages["layer"] >= first_upper), key))
        for task, tracing in tracings.items():
            of_task = key | {"kind": kinds[task], "task": task}
            counts = tracing.prompts["status"].value_counts().sort_index().rename_axis("status").reset_index()
            frames["skipped"].append(keyed(counts.rename(columns={"count": "prompts"}), of_task))
            if task in shown and len(tracing.effects):
                frames["examples"].append(keyed(example(tracing, measures_of(kinds[task])[0]), of_task))
    tables = {name: joined(parts, HEADS[name]) for name, parts in frames.items()}
    return Tables(comparison=compare_kinds(tables["tracing"], settings.confidence, settings.level), **tables)


def example(tracing: Tracing, measure: str) -> pd.DataFrame:
    """Select the traced prompt with the median total effect.

    Args:
        tracing: One model and task, with at least one traced prompt.
        measure: A key of `tables.MEASURES`.

    Returns:
        The prompt's effects: `EXAMPLE_COLUMNS`, cue (whether the token is corrupted), measure, clean and corrupted (of
        the prompt), effect.
    """
    effects = total_effects(tracing.prompts, measure).sort_values(kind="stable")
    name = effects.index[len(effects) // 2]
    row = tracing.prompts.set_index("prompt").loc[name]
    columns = MEASURES[measure]
    table = tracing.effects[tracing.effects["prompt"] == name]
    value = table[columns.effect]
    return table[EXAMPLE_COLUMNS].assign(
        cue=table["position"].between(row["cue_first"], row["cue_last"]),
        measure=measure,
        clean=row[columns.clean],
        corrupted=row[columns.corrupted],
        effect=value.astype(float),
    )
