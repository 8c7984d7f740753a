"""The tables of the chapter on editing, from the edits of every model, editor and task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kn_thesis.clusters import holm
from kn_thesis.editing import criteria, directions, fluency, layers
from kn_thesis.editing.criteria import criteria_rows, criteria_tests, in_order, per_edit, pooled
from kn_thesis.editing.fluency import fluency_row
from kn_thesis.editing.layers import cue_effects, layer_rows, localization_rows
from kn_thesis.editing.names import CRITERIA
from kn_thesis.editing.published import with_published
from kn_thesis.editing.results import Editing
from kn_thesis.frames import joined, keyed
from kn_thesis.tracing.results import read_tracing


@dataclass(frozen=True)
class Settings:
    """level: of significance. resamples, confidence, seed: of the bootstrap; permutations are as many as resamples."""

    level: float
    resamples: int
    confidence: float
    seed: int

    @property
    def interval(self) -> dict[str, float]:
        """What `clusters.clustered_interval` asks."""
        return {"resamples": self.resamples, "confidence": self.confidence, "seed": self.seed}


@dataclass(frozen=True)
class Tables:
    """Each with the model and its family first.

    editing: criteria.criteria_rows by editor, kind and task, and over the tasks of a kind (task "all"), with published
    and source. tests: criteria.criteria_tests by editor and kind, with p_holm over a model's rows and differs. skipped:
    edits by status. fluency: fluency.fluency_row by editor, kind and task, and "all". layers: layers.layer_rows by kind
    and task, and "all". localization: layers.localization_rows. directions: directions.direction_rows, p corrected over
    a pair of models. completions: `completion_rows`.
    """

    editing: pd.DataFrame
    tests: pd.DataFrame
    skipped: pd.DataFrame
    fluency: pd.DataFrame
    layers: pd.DataFrame
    localization: pd.DataFrame
    directions: pd.DataFrame
    completions: pd.DataFrame


COMPLETIONS = ["edit", "subject", "old", "new", "criterion", "question", "before", "after", "expected", "holds"]
MODEL, EDITOR = ("model", "family"), ("model", "family", "editor", "kind")
HEADS = {
    "editing": [*EDITOR, "task", *criteria.COLUMNS, "published", "source"],
    "tests": [*EDITOR, *criteria.TESTS, "p_holm", "differs"],
    "skipped": [*EDITOR, "task", "status", "edits"],
    "fluency": [*EDITOR, "task", *fluency.COLUMNS],
    "layers": [*MODEL, "kind", "task", *layers.LAYERS],
    "localization": [*MODEL, *layers.LOCALIZATION],
    "directions": directions.HEAD,
    "completions": [*EDITOR, "task", *COMPLETIONS],
}


def read_editing(folder: str | Path, task: str) -> Editing:
    """The tables of one model, editor and task: {task}.edits.parquet, {task}.questions.parquet, {task}.completions.…"""
    names = ("edits", "questions", "completions")
    return Editing(*(pd.read_parquet(Path(folder) / f"{task}.{name}.parquet") for name in names))


def summarise(
    folder: str | Path,
    tasks: Mapping[str, Sequence[str]],
    editors: Mapping[str, Sequence[str]],
    kinds: Mapping[str, str],
    families: Mapping[str, str],
    *,
    swept: Mapping[str, Sequence[str]],
    traced: Mapping[str, Sequence[str]],
    tracing: str | Path,
    pairs: Sequence[Mapping[str, str]],
    shown: int,
    published: Mapping[str, Any],
    settings: Settings,
) -> Tables:
    """All tables of the chapter; kinds by task, families by model, all else by model.

    The edits lie at {folder}/{model}/{editor}/{task}.*.parquet, sweeps of layers of the tasks `swept` at
    {folder}/{model}/layers/{task}.parquet, effects of the tasks `traced` at {tracing}/{model}/. pairs: models family,
    both, one_way (see `directions`). shown: of how many edits continuations are kept. published: of published.yaml.
    """
    found: dict[str, list[pd.DataFrame]] = {name: [] for name in HEADS}
    asked: dict[tuple[str, str], dict[str, pd.DataFrame]] = {}
    for model, named in tasks.items():
        key = {"model": model, "family": families[model]}
        for editor in editors[model]:
            editings = {task: read_editing(Path(folder) / model / editor, task) for task in named}
            asked[model, editor] = {task: per_edit(editing) for task, editing in editings.items()}
            for kind, members in _by_kind(named, kinds).items():
                of_kind = {task: editings[task] for task in members}
                parts = _one_kind(of_kind, asked[model, editor], kind, shown, settings)
                for name, part in parts.items():
                    found[name].append(keyed(part, key | {"editor": editor, "kind": kind}))
        effects = {
            task: cue_effects(read_tracing(Path(tracing) / model, task), kinds[task])
            for task in swept.get(model, ())
            if task in traced.get(model, ())
        }
        sweeps = {
            task: pd.read_parquet(Path(folder) / model / "layers" / f"{task}.parquet").assign(task=task)
            for task in swept.get(model, ())
        }
        for kind, members in _by_kind(list(sweeps), kinds).items():
            rows = _layers({task: sweeps[task] for task in members}, effects, settings)
            found["layers"].append(keyed(rows, key | {"kind": kind}))
        tested = {"level": settings.level, "permutations": settings.resamples, "seed": settings.seed}
        found["localization"].append(keyed(localization_rows(sweeps, effects, kinds, **tested), key))
    for pair in pairs:
        found["directions"].append(_direction(pair, asked, kinds, settings))
    tables = {name: joined(parts, HEADS[name]) for name, parts in found.items()}
    tables["editing"] = with_published(tables["editing"], published)[HEADS["editing"]]
    tables["tests"] = _corrected(tables["tests"], settings.level)
    return Tables(**tables)


def _one_kind(
    editings: Mapping[str, Editing], asked: Mapping[str, pd.DataFrame], kind: str, shown: int, settings: Settings
) -> dict[str, pd.DataFrame]:
    """Of one model, editor and kind: tables without the columns of these."""
    asked = {task: asked[task] for task in editings}
    edits = {task: editing.edits for task, editing in editings.items()}
    groups = {task: [task] for task in editings} | {"all": list(editings)}
    shares, free = [], []
    for name, members in groups.items():
        rows = criteria_rows(pooled({task: asked[task] for task in members}), **settings.interval)
        shares.append(keyed(rows, {"task": name}))
        table = pd.concat([edits[task] for task in members], ignore_index=True)
        if len(table):
            free.append({"task": name} | fluency_row(table, **settings.interval))
    counts = {task: table["status"].astype(str).value_counts().sort_index() for task, table in edits.items()}
    return {
        "editing": joined(shares, ["task", *criteria.COLUMNS]),
        "tests": criteria_tests(pooled(asked), kind),
        "skipped": joined(
            [
                keyed(count.rename_axis("status").reset_index(name="edits"), {"task": task})
                for task, count in counts.items()
            ],
            ["task", "status", "edits"],
        ),
        "fluency": pd.DataFrame(free, columns=["task", *fluency.COLUMNS]),
        "completions": joined(
            [keyed(completion_rows(editing, shown), {"task": task}) for task, editing in editings.items()],
            ["task", *COMPLETIONS],
        ),
    }


def completion_rows(editing: Editing, shown: int) -> pd.DataFrame:
    """The continuations of the first `shown` edits, by name, that have any; columns COMPLETIONS.

    Beside each stand what is expected, and whether the criterion holds afterwards ("" where that was not asked).
    """
    key = ["edit", "criterion", "question"]
    rows = in_order(editing.completions, key)
    rows = rows[rows["edit"].isin(rows["edit"].unique()[:shown])]
    asked = in_order(editing.questions, [*key, "expected", "rival"]).drop_duplicates(key)
    asked = asked[[*key, "expected"]].assign(holds=asked["holds_after"].astype(bool).astype(object))
    rows = rows.merge(editing.edits[["edit", "subject", "old", "new"]], on="edit", how="left")
    rows = rows.merge(asked, on=key, how="left").astype({"expected": object, "holds": object})
    for name in ("expected", "holds"):
        rows[name] = rows[name].where(rows[name].notna(), "")
    place = rows["criterion"].map(list(CRITERIA).index)
    order = ["edit", "place", "question"]
    return rows.assign(place=place).sort_values(order, kind="stable", ignore_index=True)[COMPLETIONS]


def _layers(
    sweeps: Mapping[str, pd.DataFrame], effects: Mapping[str, pd.DataFrame], settings: Settings
) -> pd.DataFrame:
    """Layer rows of the tasks of one kind, and of all of them together."""
    groups = {task: [task] for task in sweeps} | {"all": list(sweeps)}
    parts = []
    for name, members in groups.items():
        sweep = pd.concat([sweeps[task] for task in members], ignore_index=True)
        traced = [effects[task] for task in members if task in effects]
        rows = layer_rows(sweep, pd.concat(traced) if traced else None, **settings.interval)
        parts.append(keyed(rows, {"task": name}))
    return joined(parts, ["task", *layers.LAYERS])


def _direction(
    pair: Mapping[str, str],
    asked: Mapping[tuple[str, str], Mapping[str, pd.DataFrame]],
    kinds: Mapping[str, str],
    settings: Settings,
) -> pd.DataFrame:
    """Rows of one pair of models, over the editors and relations that both have; `asked` by model and editor."""
    models = {name: pair[name] for name in ("both", "one_way")}
    parts = []
    for editor in (editor for model, editor in asked if model == pair["both"] and (pair["one_way"], editor) in asked):
        tables = [
            {task: table for task, table in asked[model, editor].items() if kinds[task] == "relation"}
            for model in models.values()
        ]
        rows = directions.direction_rows(*tables, settings.confidence)
        parts.append(keyed(rows, {"family": pair["family"], **models, "editor": editor}))
    head = ["family", *models, "editor", *directions.COLUMNS]
    return directions.corrected(joined(parts, head), settings.level)


def _corrected(tests: pd.DataFrame, level: float) -> pd.DataFrame:
    """With p_holm over the rows of each model, and differs."""
    tests = tests.assign(p_holm=np.nan)
    for _, part in tests.groupby("model", sort=False):
        tests.loc[part.index, "p_holm"] = holm(part["p"].to_numpy(dtype=float))
    return tests.assign(differs=tests["p_holm"] < level)[HEADS["tests"]]


def _by_kind(tasks: Sequence[str], kinds: Mapping[str, str]) -> dict[str, list[str]]:
    """Tasks of each kind, in the order they come in."""
    return {kind: [task for task in tasks if kinds[task] == kind] for kind in dict.fromkeys(kinds[t] for t in tasks)}
