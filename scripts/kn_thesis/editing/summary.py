"""Tables of the chapter on editing, from the edits of every model, editor and task.

`summarise` makes all of them; `add_published` puts what others reported beside what is measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from kn_thesis.editing import statistics
from kn_thesis.editing.statistics import (
    criteria_rows,
    criteria_tests,
    cue_effects,
    fluency_row,
    in_order,
    layer_rows,
    localization_rows,
    per_edit,
    pooled,
)
from kn_thesis.editing.tables import CRITERIA, Editing, read_editings
from kn_thesis.files import joined, keyed, read_tasks
from kn_thesis.stats import holm_within
from kn_thesis.tracing.tables import read_tracings


@dataclass(frozen=True)
class Settings:
    """Settings of the chapter's statistics.

    Attributes:
        level: of significance.
        resamples: of the bootstrap; there are as many permutations.
        confidence: of the intervals.
        seed: of both.
    """

    level: float
    resamples: int
    confidence: float
    seed: int

    @property
    def interval(self) -> dict[str, float]:
        """Arguments of `stats.clustered_interval`."""
        return {"resamples": self.resamples, "confidence": self.confidence, "seed": self.seed}


@dataclass(frozen=True)
class Tables:
    """Tables of the chapter; each has the model and its family first. The task "all" stands for all tasks of a kind.

    Attributes:
        editing: `statistics.criteria_rows` by editor, kind and task, and "all"; with published and source.
        tests: `statistics.criteria_tests` by editor and kind, with p_holm over a model's rows and differs.
        skipped: number of requests by editor, kind, task and status.
        fluency: `statistics.fluency_row` by editor, kind and task, and "all".
        layers: `statistics.layer_rows` by kind and task, and "all".
        localization: `statistics.localization_rows`.
        directions: `statistics.direction_rows`, p corrected over a pair of models.
        completions: `completion_rows` by editor, kind and task.
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
    "editing": [*EDITOR, "task", *statistics.CRITERIA_COLUMNS, "published", "source"],
    "tests": [*EDITOR, *statistics.TESTS, "p_holm", "differs"],
    "skipped": [*EDITOR, "task", "status", "edits"],
    "fluency": [*EDITOR, "task", *statistics.FLUENCY_COLUMNS],
    "layers": [*MODEL, "kind", "task", *statistics.LAYERS],
    "localization": [*MODEL, *statistics.LOCALIZATION],
    "directions": statistics.DIRECTION_HEAD,
    "completions": [*EDITOR, "task", *COMPLETIONS],
}


def summarise(
    files: Mapping[str, Mapping[str, Sequence[str | Path]]],
    tasks: Mapping[str, Sequence[str]],
    editors: Mapping[str, Sequence[str]],
    kinds: Mapping[str, str],
    families: Mapping[str, str],
    *,
    swept: Mapping[str, Sequence[str]],
    traced: Mapping[str, Sequence[str]],
    tracing: Mapping[str, Mapping[str, Sequence[str | Path]]],
    pairs: Sequence[Mapping[str, str]],
    shown: int,
    published: Mapping[str, Any],
    settings: Settings,
) -> Tables:
    """Make all tables of the chapter.

    Args:
        files: of "edits", "questions" and "completions", by "{model}/{editor}" (see `tables.read_editings`), and of the
            sweeps' "layers" by "{model}/layers".
        tasks: edited tasks, by model.
        editors: by model.
        kinds: "relation" or "paradigm", by task.
        families: by model.
        swept: tasks whose layers were swept, by model.
        traced: those of them that were traced, by model.
        tracing: files of traced "prompts" and "effects", by model; see `tracing.tables.read_tracings`.
        pairs: family, both and one_way of each pair of models (see `statistics.direction_rows`).
        shown: number of edits whose continuations are kept.
        published: section `editing` of resources/published.yaml.
        settings: of the statistics.
    """
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in HEADS}
    averaged: dict[tuple[str, str], dict[str, pd.DataFrame]] = {}
    for model, tasks_of_model in tasks.items():
        key = {"model": model, "family": families[model]}
        for editor in editors[model]:
            by_task = read_editings(files[f"{model}/{editor}"])
            editings = {task: by_task[task] for task in tasks_of_model}
            averaged[model, editor] = {task: per_edit(editing) for task, editing in editings.items()}
            for kind, members in _by_kind(tasks_of_model, kinds).items():
                of_kind = {task: editings[task] for task in members}
                for name, part in _one_kind(of_kind, averaged[model, editor], kind, shown, settings).items():
                    parts[name].append(keyed(part, key | {"editor": editor, "kind": kind}))
        members = [task for task in swept.get(model, ()) if task in traced.get(model, ())]
        tracings = read_tracings(tracing[model]["prompts"], tracing[model]["effects"], members) if members else {}
        effects = {task: cue_effects(tracings[task], kinds[task]) for task in members}
        layers = read_tasks(files[f"{model}/layers"]["layers"]) if swept.get(model) else {}
        sweeps = {task: layers[task].assign(task=task) for task in swept.get(model, ())}
        for kind, members in _by_kind(list(sweeps), kinds).items():
            rows = _layers({task: sweeps[task] for task in members}, effects, settings)
            parts["layers"].append(keyed(rows, key | {"kind": kind}))
        options = {"level": settings.level, "permutations": settings.resamples, "seed": settings.seed}
        parts["localization"].append(keyed(localization_rows(sweeps, effects, kinds, **options), key))
    for pair in pairs:
        parts["directions"].append(_direction(pair, averaged, kinds, settings))
    tables = {name: joined(frames, HEADS[name]) for name, frames in parts.items()}
    tables["editing"] = add_published(tables["editing"], published)[HEADS["editing"]]
    tables["tests"] = _corrected(tables["tests"], settings.level)
    return Tables(**tables)


def _one_kind(
    editings: Mapping[str, Editing], averaged: Mapping[str, pd.DataFrame], kind: str, shown: int, settings: Settings
) -> dict[str, pd.DataFrame]:
    """Tables of one model, editor and kind, without the columns that say which."""
    averaged = {task: averaged[task] for task in editings}
    edits = {task: editing.edits for task, editing in editings.items()}
    groups = {task: [task] for task in editings} | {"all": list(editings)}
    shares, fluency = [], []
    for name, members in groups.items():
        rows = criteria_rows(pooled({task: averaged[task] for task in members}), **settings.interval)
        shares.append(keyed(rows, {"task": name}))
        table = pd.concat([edits[task] for task in members], ignore_index=True)
        if len(table):
            fluency.append({"task": name} | fluency_row(table, **settings.interval))
    counts = {task: table["status"].astype(str).value_counts().sort_index() for task, table in edits.items()}
    return {
        "editing": joined(shares, ["task", *statistics.CRITERIA_COLUMNS]),
        "tests": criteria_tests(pooled(averaged), kind),
        "skipped": joined(
            [
                keyed(count.rename_axis("status").reset_index(name="edits"), {"task": task})
                for task, count in counts.items()
            ],
            ["task", "status", "edits"],
        ),
        "fluency": pd.DataFrame(fluency, columns=["task", *statistics.FLUENCY_COLUMNS]),
        "completions": joined(
            [keyed(completion_rows(editing, shown), {"task": task}) for task, editing in editings.items()],
            ["task", *COMPLETIONS],
        ),
    }


def completion_rows(editing: Editing, shown: int) -> pd.DataFrame:
    """Collect the continuations of the first edits that have any.

    Args:
        editing: tables of one task.
        shown: number of edits, in the order of their names.

    Returns:
        Columns COMPLETIONS: each continuation with the expected word and whether the criterion holds after the edit (""
        where there is no such question).
    """
    key = ["edit", "criterion", "question"]
    rows = in_order(editing.completions, key)
    rows = rows[rows["edit"].isin(rows["edit"].unique()[:shown])]
    questions = in_order(editing.questions, [*key, "expected", "rival"]).drop_duplicates(key)
    questions = questions[[*key, "expected"]].assign(holds=questions["holds_after"].astype(bool).astype(object))
    rows = rows.merge(editing.edits[["edit", "subject", "old", "new"]], on="edit", how="left")
    rows = rows.merge(questions, on=key, how="left").astype({"expected": object, "holds": object})
    for name in ("expected", "holds"):
        rows[name] = rows[name].where(rows[name].notna(), "")
    place = rows["criterion"].map(CRITERIA.index)
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
    return joined(parts, ["task", *statistics.LAYERS])


def _direction(
    pair: Mapping[str, str],
    averaged: Mapping[tuple[str, str], Mapping[str, pd.DataFrame]],
    kinds: Mapping[str, str],
    settings: Settings,
) -> pd.DataFrame:
    """Rows of one pair of models over the editors and relations that both have; `averaged` by model and editor."""
    models = {name: pair[name] for name in ("both", "one_way")}
    parts = []
    for editor in (
        editor for model, editor in averaged if model == pair["both"] and (pair["one_way"], editor) in averaged
    ):
        tables = [
            {task: table for task, table in averaged[model, editor].items() if kinds[task] == "relation"}
            for model in models.values()
        ]
        rows = statistics.direction_rows(*tables, settings.confidence)
        parts.append(keyed(rows, {"family": pair["family"], **models, "editor": editor}))
    head = ["family", *models, "editor", *statistics.DIRECTION_COLUMNS]
    return statistics.correct_directions(joined(parts, head), settings.level)


def _corrected(tests: pd.DataFrame, level: float) -> pd.DataFrame:
    """The tests with p_holm over the rows of each model, and differs."""
    p = holm_within(tests, ["model"])
    return tests.assign(p_holm=p, differs=p < level)[HEADS["tests"]]


def _by_kind(tasks: Sequence[str], kinds: Mapping[str, str]) -> dict[str, list[str]]:
    """Tasks of each kind, in their order."""
    return {kind: [task for task in tasks if kinds[task] == kind] for kind in dict.fromkeys(kinds[t] for t in tasks)}


class PublishedResult(NamedTuple):
    """A published result, and the rows that it belongs to.

    Attributes:
        task: "all" for all tasks about facts.
        family: "" for any family.
        text: the result in words.
        source: where it was published.
    """

    editor: str
    task: str
    criterion: str
    family: str
    text: str
    source: str


def add_published(table: pd.DataFrame, published: Mapping[str, Any]) -> pd.DataFrame:
    """Add what others reported.

    Args:
        table: with the columns family, editor, kind, task and criterion.
        published: section `editing` of resources/published.yaml.

    Returns:
        The table with the columns published (text) and source, "" where nothing was reported.
    """
    result = table.assign(published="", source="").astype({"published": object, "source": object})
    for reported in published_results(published):
        rows = (result["editor"] == reported.editor) & (result["task"] == reported.task)
        rows &= result["criterion"] == reported.criterion
        if reported.task == "all":
            rows &= result["kind"] == "relation"
        if reported.family:
            rows &= result["family"] == reported.family
        result.loc[rows, ["published", "source"]] = [reported.text, reported.source]
    return result


def published_results(published: Mapping[str, Any]) -> Iterator[PublishedResult]:
    """Yield the poster's examples of ROME, by task and criterion, and how often edits of neurons succeed elsewhere."""
    examples = published["rome_examples"]
    for example in examples.values():
        for criterion, outcome in example["criteria"].items() if isinstance(example, Mapping) else ():
            outcomes = "; ".join(f"{what}: {', '.join(texts)}" for what, texts in outcome.items())
            text = f"{examples['model']}, one example, {outcomes}"
            yield PublishedResult("rome", example["task"], criterion, examples["family"], text, examples["source"])
    measured = published["neuron_edit_reliability"]
    sets = {name: values for name, values in measured.items() if name != "source"}
    shares = "; ".join(
        f"{name}: {', '.join(f'{model} {value} %' for model, value in values.items())}" for name, values in sets.items()
    )
    yield PublishedResult("knowledge_neuron", "all", "reliability", "", shares, measured["source"])
