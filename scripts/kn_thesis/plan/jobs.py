"""What each kind of job takes: computation, files, memory and time; and computation and time of the plain algorithm.

The rules ask here what to request of a cluster (workflow/rules/resources.smk), and `make plan` adds the same jobs up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from kn_thesis.localization.room import layout
from kn_thesis.plan import editing, plain, request, stored, work
from kn_thesis.plan.editing import Edits
from kn_thesis.plan.shape import DTYPE_BYTES, Shape
from kn_thesis.plan.work import Task, Work
from kn_thesis.shards import EDITS

SELECTED = 2e-7  # seconds of selection and its intervals per score of a neuron, and
SELECTING = 0.2  # per task
TESTED = 6e-6  # seconds of tests per word, set, operation and prompt, and
TESTING = 2.2  # until they begin
WITHOUT = 2.0  # seconds of a job of tables, figures or pages
ASKED = 2e-3  # seconds of Python per question of an edit: it is drawn, put in tokens and judged
WORDED = 3e-5  # the same per word that is looked at in a prompt


@dataclass(frozen=True)
class Model:
    """What is known of a model before it is there. speed: of its device, floating-point operations a second."""

    shape: Shape
    masked: bool
    dtype: str
    speed: float


@dataclass(frozen=True)
class Job:
    """forward, backward: passes (plan.work). flops: floating-point operations. stored: bytes written. peak_mb: memory.
    seconds: wall-clock time on one device. plain_*: the same by the plain algorithm (plan.plain).
    """

    forward: float = 0.0
    backward: float = 0.0
    flops: float = 0.0
    stored: float = 0.0
    peak_mb: float = 250.0
    seconds: float = request.SMALL_START
    plain_forward: float = 0.0
    plain_backward: float = 0.0
    plain_flops: float = 0.0
    plain_seconds: float = request.SMALL_START


def with_model(
    model: Model,
    done: Work,
    plainly: Work,
    written: float,
    batch_tokens: int,
    held: float = 0.0,
    beside: float = 0.0,
    batch: float | None = None,
) -> Job:
    """A job that holds a model. held: bytes of results in memory; beside: seconds that are spent beside the model.

    batch: bytes of a batch in memory, where they are not those of `request.batch_bytes`.
    """
    here, there = (
        {
            "forward": one.forward,
            "backward": one.backward,
            "flops": one.flops(model.shape),
            "seconds": request.seconds(one, model.shape, model.dtype, model.speed, written) + beside,
        }
        for one in (done, plainly)
    )
    batch = request.batch_bytes(model.shape, batch_tokens) if batch is None else batch
    peak = request.peak_memory_mb(model.shape, model.dtype, batch, held)
    return Job(**here, stored=written, peak_mb=peak, **{f"plain_{name}": value for name, value in there.items()})


def training(model: Model, settings: Mapping[str, Any], tokens: float) -> Job:
    """settings: of the configuration's `train`; tokens: of a sentence."""
    masked, steps, batch = model.masked, settings["steps"], settings["batch"]
    phases = settings.get("causal_steps", 0), settings.get("mask_rate", 0)
    done = work.training(model.shape, masked, steps, batch, tokens, *phases)
    held = 16 * model.shape.parameters + 4 * 8 * tokens * batch * model.shape.vocabulary / 4
    return with_model(model, done, done, stored.trained(model.shape), int(tokens * batch), held)


def loaded(model: Model) -> Job:
    """A model of the hub: its weights lie in the hub's cache."""
    weights = DTYPE_BYTES[model.dtype] * model.shape.parameters
    took = request.START + weights / request.WRITTEN
    return Job(stored=weights, peak_mb=request.LIBRARIES_MB, seconds=took, plain_seconds=took)


def evaluation(model: Model, tasks: Sequence[Task], batch_tokens: int) -> Job:
    """Every prompt of every task."""
    written = stored.table("evaluation", sum(task.prompts for task in tasks))
    return with_model(model, *_evaluated(model, tasks, batch_tokens), written, batch_tokens)


def attribution(model: Model, tasks: Sequence[Task], nodes: int, batch_tokens: int) -> Job:
    """The prompts that are localized."""
    shape, objective = model.shape, "masked" if model.masked else "causal"
    kept = [layout(objective, shape.layers, round(task.tokens), nodes, batch_tokens).keep for task in tasks]
    each = zip(tasks, kept, strict=True)
    done = [work.attribution(shape, model.masked, task, nodes, batch_tokens, not keep) for task, keep in each]
    plainly = [plain.attribution(shape, task) for task in tasks]
    sizes = [stored.attribution(shape, task.prompts) for task in tasks]
    budget = request.attribution_bytes(shape, model.dtype, batch_tokens)
    found = work.together(done), work.together(plainly), sum(sizes), batch_tokens
    return with_model(model, *found, held=2 * max(sizes), batch=budget)


def selection(model: Model, tasks: Sequence[Task], groups: Sequence[float]) -> Job:
    """One task's scores at a time, and bootstrap samples of its groups."""
    numbers = [task.prompts * model.shape.layers * model.shape.intermediate for task in tasks]
    took = request.SMALL_START + sum(SELECTING + SELECTED * count for count in numbers)
    rows = [stored.SCORED * count for count in groups]
    written = sum(stored.table("neurons", count) + stored.table("statistics", 1) for count in rows)
    return Job(stored=written, peak_mb=request.array_memory_mb(max(numbers)), seconds=took, plain_seconds=took)


def suppression(
    model: Model, tasks: Sequence[Task], sets: Sequence[float], settings: Mapping[str, Any], batch_tokens: int
) -> Job:
    """sets: suppressed in each task; settings: as work.suppression has them."""
    shape, masked = model.shape, model.masked
    each = list(zip(tasks, sets, strict=True))
    done = [work.suppression(shape, masked, task, count, settings, batch_tokens) for task, count in each]
    plainly = [plain.suppression(shape, task, count, settings) for task, count in each]
    words, operations = work.words_of(settings), len(settings["operations"])
    rows = [task.prompts * count * operations * words for task, count in each]
    controls = [count * (1 + settings["random_sets"]) * operations for count in sets]
    written = sum(
        stored.table("effects", n) + stored.table("controls", m * words) + stored.table("sets", m) + 3600
        for n, m in zip(rows, controls, strict=True)
    )
    samples = [min(task.prompts, settings["random_prompts"]) for task in tasks]
    held = max(100 * n + 12 * m * words * s for n, m, s in zip(rows, controls, samples, strict=True))
    beside = WORDED * words * sum(task.prompts for task in tasks) + sum(rows) * 1e-6
    return with_model(model, work.together(done), work.together(plainly), written, batch_tokens, held, beside)


def tests(model: Model, tasks: Sequence[Task], sets: Sequence[float], settings: Mapping[str, Any]) -> Job:
    """Tests hold every word's change at every prompt, for each set and operation."""
    per_set = work.words_of(settings) * len(settings["operations"])
    rows = sum(task.prompts * count * per_set for task, count in zip(tasks, sets, strict=True))
    written = stored.table("tests", sum(sets) * per_set) + stored.table("of_tests", sum(sets))
    took = TESTING + rows * TESTED
    return Job(stored=written, peak_mb=request.table_memory_mb(rows), seconds=took, plain_seconds=took)


def tracing(
    model: Model,
    asked: Sequence[Task],
    traced: Sequence[Task],
    settings: Mapping[str, Any],
    batch_tokens: int,
    evaluation_batch: int,
) -> Job:
    """asked: all prompts of each task, which are answered first; traced: those that are traced."""
    shape, masked = model.shape, model.masked
    first = _evaluated(model, asked, evaluation_batch)
    done = [work.tracing(shape, masked, task, settings, batch_tokens) for task in traced]
    plainly = [plain.tracing(shape, task, settings) for task in traced]
    rows = [task.prompts * task.tokens * shape.layers * len(settings["kinds"]) * (task.behind > 0) for task in traced]
    written = sum(stored.table("trace", count) for count in rows)
    written += sum(stored.table("traced", task.prompts) for task in asked)
    return with_model(
        model,
        work.together([first[0], *done]),
        work.together([first[1], *plainly]),
        written,
        batch_tokens,
        held=100 * sum(rows),
        beside=2e-2 * sum(task.prompts for task in traced),
    )


def covariance(model: Model, tokens: int, layers: Iterable[int], batch_tokens: int) -> Job:
    """layers: whose matrices are collected."""
    wanted = list(layers)
    done = work.covariance(model.shape, tokens, wanted, batch_tokens)
    written = stored.covariance(model.shape, len(wanted))
    return with_model(model, done, done, written, batch_tokens, held=4 * written)


def edits(
    model: Model,
    asked: Sequence[Task],
    tasks: Sequence[Edits],
    editor: Mapping[str, Any],
    continued: Mapping[str, Any],
    batch_tokens: int,
) -> Job:
    """asked: all prompts of each task, which are answered first. editor: method and settings of one editor.

    continued: tokens and samples; masked models write nothing.
    """
    found, layer = _found(model, tasks, editor, batch_tokens)
    parts = [_evaluated(model, asked, batch_tokens), *found]
    for one in tasks:
        parts.append((editing.answers(model.shape, one, layer, batch_tokens), plain.answers(model.shape, one)))
        if not model.masked:
            settings = (continued["tokens"], continued["samples"])
            written = editing.continuations(model.shape, one, *settings, batch_tokens)
            parts.append((written, plain.continuations(model.shape, one, *settings)))
    done, plainly = zip(*parts, strict=True)
    size = sum(
        stored.table("edits", one.considered)
        + stored.table("questions", one.count * one.questions)
        + stored.table("completions", 0 if model.masked else one.count * one.criteria)
        for one in tasks
    )
    # A whole matrix for each edit of a block.
    matrix = 4 * model.shape.intermediate * model.shape.hidden if editor["method"] == "fine_tuning" else 0
    beside = ASKED * sum(one.count * one.questions for one in tasks)
    return with_model(
        model,
        work.together(done),
        work.together(plainly),
        size,
        batch_tokens,
        held=matrix * min(EDITS, max(one.count for one in tasks)) + _graph(model, tasks, editor, layer, batch_tokens),
        beside=beside,
        # Rows of the model as it is and of the edited ones are there together, in a masked model with all their tokens.
        batch=request.batch_bytes(model.shape, batch_tokens) * (2 if model.masked else 1),
    )


def sweep(
    model: Model,
    asked: Sequence[Task],
    tasks: Sequence[Edits],
    editor: Mapping[str, Any],
    every: int,
    batch_tokens: int,
) -> Job:
    """The same edits at one layer after the other; nothing is written by the edited models."""
    parts = [_evaluated(model, asked, batch_tokens)]
    layers = range(0, model.shape.layers, every)
    for layer in layers:
        found, _ = _found(model, tasks, {**editor, "layer": layer}, batch_tokens)
        parts += found
        for one in tasks:
            parts.append((editing.answers(model.shape, one, layer, batch_tokens), plain.answers(model.shape, one)))
    done, plainly = zip(*parts, strict=True)
    written = sum(stored.table("layers", one.count * one.criteria * len(layers)) for one in tasks)
    beside = ASKED / 2 * len(layers) * sum(one.count * one.questions for one in tasks)
    held = _graph(model, tasks, editor, 0, batch_tokens)
    return with_model(model, work.together(done), work.together(plainly), written, batch_tokens, held, beside)


def in_one(parts: Sequence[Job], written: float) -> Job:
    """Several jobs with one model as a single one, which loads it once and writes so much."""
    found = {one.name: sum(getattr(part, one.name) for part in parts) for one in fields(Job)}
    found |= {"peak_mb": max(part.peak_mb for part in parts), "stored": written}
    again = request.START * (len(parts) - 1)
    return Job(**found | {name: found[name] - again for name in ("seconds", "plain_seconds")})


def without_model(written: float = 0.0, seconds: float = WITHOUT) -> Job:
    """A job that computes no model: of the corpora, a table, a figure, a page."""
    return Job(stored=written, seconds=seconds, plain_seconds=seconds)


def _evaluated(model: Model, tasks: Iterable[Task], batch_tokens: int) -> tuple[Work, Work]:
    """Here, and plainly."""
    listed = list(tasks)
    done = [work.evaluation(model.shape, model.masked, task, batch_tokens) for task in listed]
    return work.together(done), work.together(plain.evaluation(model.shape, task) for task in listed)


def _graph(model: Model, tasks: Sequence[Edits], editor: Mapping[str, Any], layer: int, batch_tokens: int) -> float:
    """Bytes that the search for edits keeps for its way back, beside a batch."""
    if editor["method"] != "rome":
        return 0.0
    how = editor["contexts"], editor["token"] == "last", batch_tokens
    return DTYPE_BYTES[model.dtype] * max(editing.rome_graph(model.shape, one, layer, *how) for one in tasks)


def _found(
    model: Model, tasks: Sequence[Edits], editor: Mapping[str, Any], batch_tokens: int
) -> tuple[list[tuple[Work, Work]], int]:
    """What finds the edits of each task, here and plainly, and the edited layer; nothing for unknown methods."""
    shape, found = model.shape, []
    layer = editing.edited_layer(shape, editor.get("layer"))
    for one in tasks:
        if editor["method"] == "rome":
            contexts, last = editor["contexts"], editor["token"] == "last"
            done = editing.rome(shape, one, layer, editor["steps"], contexts, last, batch_tokens)
            found.append((done, plain.rome(shape, one, layer, editor["steps"], contexts)))
        elif editor["method"] == "fine_tuning":
            done = editing.fine_tuning(shape, one, layer, editor["steps"])
            found.append((done, plain.fine_tuning(shape, one, layer, editor["steps"])))
        elif editor["method"] == "knowledge_neuron":
            some = replace(one, paraphrases=min(one.paraphrases, editor["paraphrases"]))
            done = editing.knowledge_neuron(shape, model.masked, some, editor["nodes"], batch_tokens)
            found.append((done, plain.knowledge_neuron(shape, some)))
    return found, layer
