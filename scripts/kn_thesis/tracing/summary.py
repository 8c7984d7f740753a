"""The tables of the chapter on tracing, from what was traced in every model and task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kn_thesis.frames import joined, keyed
from kn_thesis.tracing.averages import ROLE_COLUMNS, role_averages, total_effects
from kn_thesis.tracing.names import MEASURES, measures_of
from kn_thesis.tracing.results import Tracing, read_tracing
from kn_thesis.tracing.sites import COLUMNS, boundary_layer, compare_kinds, site_tests


@dataclass(frozen=True)
class Settings:
    """boundary: of the depth, below it is the early site. level: of significance. The rest is the bootstrap's."""

    boundary: float
    level: float
    resamples: int
    confidence: float
    seed: int


@dataclass(frozen=True)
class Tables:
    """tracing: sites.site_tests. roles: averages.role_averages, and upper, whether the layer is one of those in which
    the late site is looked for. comparison: sites.compare_kinds. skipped: prompts by
    model, kind, task and status. examples: effects of the prompts that are shown, a row per token, layer and kind.
    """

    tracing: pd.DataFrame
    roles: pd.DataFrame
    comparison: pd.DataFrame
    skipped: pd.DataFrame
    examples: pd.DataFrame


SHOWN = ["prompt", "position", "token", "role", "restored", "layer"]
HEADS = {
    "tracing": ["model", "family", *COLUMNS],
    "roles": ["model", "family", *ROLE_COLUMNS, "upper"],
    "skipped": ["model", "family", "kind", "task", "status", "prompts"],
    "examples": ["model", "family", "kind", "task", *SHOWN, "cue", "measure", "clean", "corrupted", "effect"],
}


def summarise(
    folder: str | Path,
    tasks: Mapping[str, Sequence[str]],
    kinds: Mapping[str, str],
    families: Mapping[str, str],
    shown: Sequence[str],
    settings: Settings,
) -> Tables:
    """All tables of the chapter; `tasks` of each model, whose files lie at {folder}/{model}/; `kinds` by task.

    shown: tasks of which one prompt is drawn, the one with the median total effect.
    """
    interval = {"resamples": settings.resamples, "confidence": settings.confidence, "seed": settings.seed}
    found: dict[str, list[pd.DataFrame]] = {name: [] for name in ("tracing", "roles", "skipped", "examples")}
    for model, named in tasks.items():
        tracings = {task: read_tracing(Path(folder) / model, task) for task in named}
        key = {"model": model, "family": families[model]}
        sites = site_tests(tracings, kinds, boundary=settings.boundary, level=settings.level, **interval)
        found["tracing"].append(keyed(sites, key))
        for kind in dict.fromkeys(kinds[task] for task in named):
            of_kind = {task: tracing for task, tracing in tracings.items() if kinds[task] == kind}
            averages = role_averages(of_kind, kind, **interval)
            first_upper = boundary_layer(int(averages["layer"].max()) + 1 if len(averages) else 1, settings.boundary)
            found["roles"].append(keyed(averages.assign(upper=averages["layer"] >= first_upper), key))
        for task, tracing in tracings.items():
            of_task = key | {"kind": kinds[task], "task": task}
            counts = tracing.prompts["status"].value_counts().sort_index().rename_axis("status").reset_index()
            found["skipped"].append(keyed(counts.rename(columns={"count": "prompts"}), of_task))
            if task in shown and len(tracing.effects):
                found["examples"].append(keyed(example(tracing, measures_of(kinds[task])[0]), of_task))
    tables = {name: joined(parts, HEADS[name]) for name, parts in found.items()}
    return Tables(comparison=compare_kinds(tables["tracing"], settings.confidence, settings.level), **tables)


def example(tracing: Tracing, measure: str) -> pd.DataFrame:
    """Effects of the traced prompt with the median total effect: prompt, cue (whether corrupted) and measure first."""
    effects = total_effects(tracing.prompts, measure).sort_values(kind="stable")
    name = effects.index[len(effects) // 2]
    row = tracing.prompts.set_index("prompt").loc[name]
    columns = MEASURES[measure]
    table = tracing.effects[tracing.effects["prompt"] == name]
    value = table[columns.effect]
    return table[SHOWN].assign(
        cue=table["position"].between(row["cue_first"], row["cue_last"]),
        measure=measure,
        clean=row[columns.clean],
        corrupted=row[columns.corrupted],
        effect=value.astype(float),
    )
