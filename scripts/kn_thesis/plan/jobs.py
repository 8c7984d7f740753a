"""Estimate what each kind of job takes: passes, floating-point operations, bytes on disk, memory and time.

A function per kind of job returns a `Job`, with the cost of the plain algorithm beside it. `memory_mb` and `minutes`
turn an estimate into a request to a cluster, which the rules make (workflow/rules/resources.smk) and which doubles at
each attempt. `make plan` adds the same jobs up. Constants are measurements unless their comments say otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from kn_thesis.editing.editors import EDITORS
from kn_thesis.localization.memory_budget import HEAD_NUMBERS, budget_bytes, plan_layout
from kn_thesis.models.memory import EDITS
from kn_thesis.plan import plain, work
from kn_thesis.plan.sizes import DTYPE_BYTES, Shape
from kn_thesis.plan.work import Edits, Task, Work

# Requests to a cluster.
SPARE_MB = 1000  # added to the estimate; a GPU's runtime takes as much
SPARE_MINUTES = 10  # added to the estimate, for the start and for loading a model from a slow disk
SPARE = 3  # factor on the estimated time: a killed job costs most

# Memory and time of all jobs.
LIBRARIES_MB = 500  # Python with torch and transformers
START = 4.5  # seconds until a job with a model has imported its libraries
SMALL_START = 0.5  # the same for a job without a model
TABLE_SECONDS = 2.0  # of a job that makes tables, figures or pages
CALL = 2.5e-4  # minimum of seconds that a layer takes, forward or backward, however few tokens it gets
LOADING_SPEED = 1e9  # bytes of weights per second
WRITING_SPEED = 1e8  # bytes of results per second

# Time of particular jobs, in seconds.
SECONDS_PER_SCORE = 2e-7  # selection and its confidence intervals, for each score of a neuron
SECONDS_PER_SELECTION = 0.2  # the same, for each task
SECONDS_PER_TEST = 6e-6  # for each word, set, operation and prompt
TESTS_START = 2.2  # until the tests begin
SECONDS_PER_QUESTION = 2e-3  # Python code that draws, tokenizes and judges a question about an edit
SECONDS_PER_WORD = 3e-5  # the same for each studied word of a prompt

# Bytes of a table, from the miniature's compressed files: per file, and per row.
TABLES = {
    "prompts": (7000, 50),
    "evaluation": (5000, 22),
    "neurons": (2200, 12),
    "statistics": (5800, 0),
    "effects": (17000, 9.5),
    "controls": (8000, 14),
    "sets": (6500, 10),
    "words": (3600, 0),
    "tests": (18000, 110),
    "of_tests": (30000, 60),  # accuracy, co-occurrence and slopes of one model
    "traced": (4350, 8),
    "trace": (1500, 5.5),
    "edits": (3000, 35),
    "questions": (3400, 46),
    "completions": (900, 26),
    "layers": (890, 11.4),
    "examples": (14800, 30),
}
SCORED_NEURONS = 50  # that pass the coarse threshold in some prompt of a group
SENTENCE = 38  # bytes of a sentence of the world's text
WORLD_TASKS = 7.9e6  # bytes of a world's pairs, facts and counts
VOCABULARY = 60  # bytes of a token in a tokenizer's file
# Bytes that the other rules write: files of the public corpora; figures, tables and pages.
OTHERS = {
    "fetch_corpus_file": 5e5,
    "fetch_patterns": 3e3,
    "fetch_facts": 8e4,
    "make_corpus_text": 2e6,
    "build_report": 2e7,
}


@dataclass(frozen=True)
class Speed:
    """Floating-point operations per second that a job reaches in practice.

    Attributes:
        cpu: on one core.
        gpu: on one GPU.
    """

    cpu: float
    gpu: float


@dataclass(frozen=True)
class Model:
    """What is known of a model before it is there.

    Attributes:
        shape: its sizes.
        masked: whether it is a masked language model.
        dtype: of its weights, a key of `DTYPE_BYTES`.
        speed: floating-point operations per second of its device.
    """

    shape: Shape
    masked: bool
    dtype: str
    speed: float


@dataclass(frozen=True)
class Job:
    """The estimated cost of a job.

    Attributes:
        forward: forward passes (plan.work).
        backward: backward passes.
        flops: floating-point operations.
        stored: bytes written.
        peak_mb: peak memory in megabytes.
        seconds: wall-clock time on one device.
        plain_forward: `forward` of the plain algorithm (plan.plain).
        plain_backward: `backward` of the plain algorithm.
        plain_flops: `flops` of the plain algorithm.
        plain_seconds: `seconds` of the plain algorithm.
    """

    forward: float = 0.0
    backward: float = 0.0
    flops: float = 0.0
    stored: float = 0.0
    peak_mb: float = 250.0
    seconds: float = SMALL_START
    plain_forward: float = 0.0
    plain_backward: float = 0.0
    plain_flops: float = 0.0
    plain_seconds: float = SMALL_START


# Requests to a cluster


def memory_mb(peak: float, attempt: int = 1) -> int:
    """Return the megabytes to request for a job whose memory peaks at `peak` megabytes; each attempt doubles them."""
    return _round_up((SPARE_MB + peak) * 2 ** (attempt - 1), 500)


def minutes(took: float, attempt: int = 1) -> int:
    """Return the minutes to request for a job that takes `took` seconds; each attempt doubles them."""
    return _round_up((SPARE_MINUTES + SPARE * took / 60) * 2 ** (attempt - 1), 5)


def _round_up(value: float, step: int) -> int:
    return int(math.ceil(value / step) * step)


# Jobs of the models' chapter


def training(model: Model, settings: Mapping[str, Any], tokens: float) -> Job:
    """Estimate the training of a model.

    Args:
        model: the model.
        settings: the configuration's `train`.
        tokens: mean length of a sentence.
    """
    masked, steps, batch = model.masked, settings["steps"], settings["batch"]
    phases = settings.get("causal_steps", 0), settings.get("mask_rate", 0)
    cost = work.training(model.shape, masked, steps, batch, tokens, *phases)
    held = 16 * model.shape.parameters + 4 * 8 * tokens * batch * model.shape.vocabulary / 4
    return with_model(model, cost, cost, trained_model_bytes(model.shape), int(tokens * batch), held)


def loading(model: Model) -> Job:
    """Estimate loading a pretrained model, whose weights stay in the cache of the hub or in their folder."""
    weights = DTYPE_BYTES[model.dtype] * model.shape.parameters
    took = START + weights / WRITING_SPEED
    return Job(stored=weights, peak_mb=LIBRARIES_MB, seconds=took, plain_seconds=took)


def evaluation(model: Model, tasks: Sequence[Task], batch_tokens: int) -> Job:
    """Estimate the evaluation of a model on every prompt of every task."""
    size = table_file_bytes("evaluation", sum(task.prompts for task in tasks))
    return with_model(model, *_evaluation_work(model, tasks, batch_tokens), size, batch_tokens)


# Jobs of localization


def attribution(model: Model, tasks: Sequence[Task], nodes: int, batch_tokens: int) -> Job:
    """Estimate integrated gradients over the attributed prompts of `tasks`, with `nodes` quadrature nodes."""
    shape, objective = model.shape, "masked" if model.masked else "causal"
    keeps = [plan_layout(objective, shape.layers, round(task.tokens), nodes, batch_tokens).keep for task in tasks]
    each = zip(tasks, keeps, strict=True)
    ours = [work.attribution(shape, model.masked, task, nodes, batch_tokens, not keep) for task, keep in each]
    plainly = [plain.attribution(shape, task) for task in tasks]
    sizes = [attribution_file_bytes(shape, task.prompts) for task in tasks]
    budget = attribution_bytes(shape, model.dtype, batch_tokens)
    costs = work.together(ours), work.together(plainly)
    return with_model(model, *costs, sum(sizes), batch_tokens, held=2 * sum(sizes), batch=budget)


def selection(model: Model, tasks: Sequence[Task], groups: Sequence[float]) -> Job:
    """Estimate the selection of knowledge neurons, one task at a time, with bootstrap samples of its groups.

    Args:
        model: the model.
        tasks: the attributed prompts of each task.
        groups: how many groups of prompts each task has.
    """
    numbers = [task.prompts * model.shape.layers * model.shape.intermediate for task in tasks]
    took = SMALL_START + sum(SECONDS_PER_SELECTION + SECONDS_PER_SCORE * count for count in numbers)
    rows = [SCORED_NEURONS * count for count in groups]
    size = sum(table_file_bytes("neurons", count) + table_file_bytes("statistics", 1) for count in rows)
    return Job(stored=size, peak_mb=array_memory_mb(max(numbers)), seconds=took, plain_seconds=took)


# Jobs of suppression


def suppression(
    model: Model, tasks: Sequence[Task], sets: Sequence[float], settings: Mapping[str, Any], batch_tokens: int
) -> Job:
    """Estimate the suppression of neuron sets.

    Args:
        model: the model.
        tasks: the prompts of each task.
        sets: how many sets of neurons are suppressed in each task.
        settings: as for `work.suppression`.
        batch_tokens: tokens of a batch.
    """
    shape, masked = model.shape, model.masked
    each = list(zip(tasks, sets, strict=True))
    ours = [work.suppression(shape, masked, task, count, settings, batch_tokens) for task, count in each]
    plainly = [plain.suppression(shape, task, count, settings) for task, count in each]
    words, operations = work.words_of(settings), len(settings["operations"])
    rows = [task.prompts * count * operations * words for task, count in each]
    controls = [count * (1 + settings["random_sets"]) * operations for count in sets]
    size = sum(
        table_file_bytes("effects", n) + table_file_bytes("controls", m * words) + table_file_bytes("sets", m) + 3600
        for n, m in zip(rows, controls, strict=True)
    )
    samples = [min(task.prompts, settings["random_prompts"]) for task in tasks]
    held = sum(100 * n + 12 * m * words * s for n, m, s in zip(rows, controls, samples, strict=True))
    beside = SECONDS_PER_WORD * words * sum(task.prompts for task in tasks) + sum(rows) * 1e-6
    return with_model(model, work.together(ours), work.together(plainly), size, batch_tokens, held, beside)


def tests(model: Model, tasks: Sequence[Task], sets: Sequence[float], settings: Mapping[str, Any]) -> Job:
    """Estimate the tests of suppression, which hold each word's change at each prompt, set and operation in memory.

    The arguments are those of `suppression`.
    """
    per_set = work.words_of(settings) * len(settings["operations"])
    rows = sum(task.prompts * count * per_set for task, count in zip(tasks, sets, strict=True))
    size = table_file_bytes("tests", sum(sets) * per_set) + table_file_bytes("of_tests", sum(sets))
    took = TESTS_START + rows * SECONDS_PER_TEST
    return Job(stored=size, peak_mb=table_memory_mb(rows), seconds=took, plain_seconds=took)


# Jobs of tracing


def tracing(
    model: Model,
    evaluated_tasks: Sequence[Task],
    traced_tasks: Sequence[Task],
    settings: Mapping[str, Any],
    batch_tokens: int,
    evaluation_batch: int,
) -> Job:
    """Estimate causal tracing.

    Args:
        model: the model.
        evaluated_tasks: all prompts of each task, which the model answers first.
        traced_tasks: the prompts of each task that are traced.
        settings: as for `work.tracing`.
        batch_tokens: tokens of a batch of traces.
        evaluation_batch: tokens of a batch of the evaluation.
    """
    shape, masked = model.shape, model.masked
    first = _evaluation_work(model, evaluated_tasks, evaluation_batch)
    ours = [work.tracing(shape, masked, task, settings, batch_tokens) for task in traced_tasks]
    plainly = [plain.tracing(shape, task, settings) for task in traced_tasks]
    kinds = len(settings["kinds"])
    rows = [task.prompts * task.tokens * shape.layers * kinds * (task.behind > 0) for task in traced_tasks]
    size = sum(table_file_bytes("trace", count) for count in rows)
    size += sum(table_file_bytes("traced", task.prompts) for task in evaluated_tasks)
    return with_model(
        model,
        work.together([first[0], *ours]),
        work.together([first[1], *plainly]),
        size,
        batch_tokens,
        held=100 * sum(rows),
        beside=2e-2 * sum(task.prompts for task in traced_tasks),
    )


# Jobs of editing


def covariance(model: Model, tokens: int, layers: Iterable[int], batch_tokens: int) -> Job:
    """Estimate the collection of the keys' second moments at `layers`, over `tokens` tokens of text."""
    collected_layers = list(layers)
    cost = work.covariance(model.shape, tokens, collected_layers, batch_tokens)
    size = covariance_file_bytes(model.shape, len(collected_layers))
    return with_model(model, cost, cost, size, batch_tokens, held=4 * size)


def edits(
    model: Model,
    evaluated_tasks: Sequence[Task],
    tasks: Sequence[Edits],
    editor: Mapping[str, Any],
    continued: Mapping[str, Any],
    batch_tokens: int,
) -> Job:
    """Estimate one editor's edits and the questions about them.

    Args:
        model: the model.
        evaluated_tasks: all prompts of each task, which the model answers first.
        tasks: the edits of each task.
        editor: method and settings of the editor.
        continued: tokens and samples of the continuations; masked models write none.
        batch_tokens: tokens of a batch.
    """
    searches, layer = _search_work(model, tasks, editor, batch_tokens)
    parts = [_evaluation_work(model, evaluated_tasks, batch_tokens), *searches]
    for one in tasks:
        parts.append((work.answers(model.shape, one, layer, batch_tokens), plain.answers(model.shape, one)))
        if not model.masked:
            settings = (continued["tokens"], continued["samples"])
            continuations = work.continuations(model.shape, one, *settings, batch_tokens)
            parts.append((continuations, plain.continuations(model.shape, one, *settings)))
    ours, plainly = zip(*parts, strict=True)
    size = sum(
        table_file_bytes("edits", one.considered)
        + table_file_bytes("questions", one.count * one.questions)
        + table_file_bytes("completions", 0 if model.masked else one.count * one.criteria)
        for one in tasks
    )
    # A whole matrix for each edit of a block.
    matrix = 4 * model.shape.intermediate * model.shape.hidden if EDITORS[editor["method"]].whole_matrix else 0
    beside = SECONDS_PER_QUESTION * sum(one.count * one.questions for one in tasks)
    return with_model(
        model,
        work.together(ours),
        work.together(plainly),
        size,
        batch_tokens,
        held=matrix * min(EDITS, max(one.count for one in tasks)) + _graph(model, tasks, editor, layer, batch_tokens),
        beside=beside,
        # A batch holds rows of the unedited model and of the edited ones; in a masked model with all their tokens.
        batch=batch_bytes(model.shape, batch_tokens) * (2 if model.masked else 1),
    )


def sweep(
    model: Model,
    evaluated_tasks: Sequence[Task],
    tasks: Sequence[Edits],
    editor: Mapping[str, Any],
    every: int,
    batch_tokens: int,
) -> Job:
    """Estimate the same edits at every `every`-th layer, without continuations.

    The other arguments are those of `edits`.
    """
    parts = [_evaluation_work(model, evaluated_tasks, batch_tokens)]
    layers = range(0, model.shape.layers, every)
    for layer in layers:
        searches, _ = _search_work(model, tasks, {**editor, "layer": layer}, batch_tokens)
        parts += searches
        for one in tasks:
            parts.append((work.answers(model.shape, one, layer, batch_tokens), plain.answers(model.shape, one)))
    ours, plainly = zip(*parts, strict=True)
    size = sum(table_file_bytes("layers", one.count * one.criteria * len(layers)) for one in tasks)
    beside = SECONDS_PER_QUESTION / 2 * len(layers) * sum(one.count * one.questions for one in tasks)
    held = _graph(model, tasks, editor, 0, batch_tokens)
    return with_model(model, work.together(ours), work.together(plainly), size, batch_tokens, held, beside)


# All jobs


def with_model(
    model: Model,
    ours: Work,
    plainly: Work,
    stored: float,
    batch_tokens: int,
    held: float = 0.0,
    beside: float = 0.0,
    batch: float | None = None,
) -> Job:
    """Estimate a job that loads a model.

    Args:
        model: the model.
        ours: what the job computes.
        plainly: what the plain algorithm computes.
        stored: bytes written.
        batch_tokens: tokens of a batch.
        held: bytes of results in memory.
        beside: seconds of other work than the model's.
        batch: bytes of a batch in memory, where `batch_bytes` does not give them.
    """
    here, there = (
        {
            "forward": one.forward,
            "backward": one.backward,
            "flops": one.flops(model.shape),
            "seconds": seconds(one, model.shape, model.dtype, model.speed, stored) + beside,
        }
        for one in (ours, plainly)
    )
    batch = batch_bytes(model.shape, batch_tokens) if batch is None else batch
    peak = peak_memory_mb(model.shape, model.dtype, batch, held)
    return Job(**here, stored=stored, peak_mb=peak, **{f"plain_{name}": value for name, value in there.items()})


def without_model(stored: float = 0.0, seconds: float = TABLE_SECONDS) -> Job:
    """Estimate a job that loads no model: of the corpora, a table, a figure or a page."""
    return Job(stored=stored, seconds=seconds, plain_seconds=seconds)


def in_one(parts: Sequence[Job], stored: float) -> Job:
    """Join several jobs with one model into a single one, which loads it once and writes `stored` bytes."""
    values = {one.name: sum(getattr(part, one.name) for part in parts) for one in fields(Job)}
    values |= {"peak_mb": max(part.peak_mb for part in parts), "stored": stored}
    starts = START * (len(parts) - 1)
    return Job(**values | {name: values[name] - starts for name in ("seconds", "plain_seconds")})


# Time and memory


def seconds(work: Work, shape: Shape, dtype: str, speed: float, stored: float = 0.0, start: float = START) -> float:
    """Estimate the wall-clock time of a job with a model.

    Args:
        work: what it computes.
        shape: the model's sizes.
        dtype: of the weights, a key of `DTYPE_BYTES`.
        speed: floating-point operations per second.
        stored: bytes written.
        start: seconds until its libraries are imported.
    """
    weights = shape.parameters * DTYPE_BYTES[dtype]
    return start + weights / LOADING_SPEED + work.calls * CALL + work.flops(shape) / speed + stored / WRITING_SPEED


def peak_memory_mb(shape: Shape, dtype: str, batch: float, held: float = 0.0) -> float:
    """Estimate the peak of main memory of a job with a model, in megabytes.

    With a GPU, the GPU's memory is the same: the weights pass through both.

    Args:
        shape: the model's sizes.
        dtype: of the weights, a key of `DTYPE_BYTES`.
        batch: bytes of activations and gradients.
        held: bytes of results.
    """
    weights = shape.parameters * DTYPE_BYTES[dtype]
    return LIBRARIES_MB + (1.2 * weights + batch + held) / 1e6


def batch_bytes(shape: Shape, batch_tokens: int) -> float:
    """Return the bytes of a batch in float32.

    It has a layer's states and neurons a few times over, and scores of a part of the vocabulary.
    """
    return batch_tokens * 4 * (8 * shape.hidden + 4 * shape.intermediate) + 4 * HEAD_NUMBERS


def attribution_bytes(shape: Shape, dtype: str, batch_tokens: int) -> float:
    """Return the memory budget of attribution in bytes."""
    sizes = (shape.hidden, shape.intermediate, shape.vocabulary)
    return budget_bytes(*sizes, batch_tokens, DTYPE_BYTES[dtype])


def table_memory_mb(rows: float) -> float:
    """Return the megabytes of a job that holds tables with `rows` rows, as measured."""
    return 230 + rows * 40 / 1e6


def array_memory_mb(numbers: float) -> float:
    """Return the megabytes of a job that holds an array of `numbers` float32 numbers, and some copies of it."""
    return 150 + numbers * 4 * 4 / 1e6


# Bytes of files


def table_file_bytes(name: str, rows: float) -> float:
    """Return the bytes of one file of TABLES."""
    base, each = TABLES[name]
    return base + each * rows


def attribution_file_bytes(shape: Shape, prompts: float) -> float:
    """Return the bytes of a file of attributions: float32 scores of all neurons, two more numbers per layer."""
    return 600 + prompts * (4 * shape.layers * (shape.intermediate + 2) + 50)


def covariance_file_bytes(shape: Shape, layers: int) -> float:
    """Return the bytes of a float32 matrix for each of `layers` layers."""
    return 4 * layers * shape.intermediate**2


def trained_model_bytes(shape: Shape) -> float:
    """Return the bytes of a trained model: float32 weights and the tokenizer."""
    return 4 * shape.parameters + VOCABULARY * shape.vocabulary


# Parts of jobs: our work and the plain algorithm's


def _evaluation_work(model: Model, tasks: Iterable[Task], batch_tokens: int) -> tuple[Work, Work]:
    task_list = list(tasks)
    ours = [work.evaluation(model.shape, model.masked, task, batch_tokens) for task in task_list]
    return work.together(ours), work.together(plain.evaluation(model.shape, task) for task in task_list)


def _graph(model: Model, tasks: Sequence[Edits], editor: Mapping[str, Any], layer: int, batch_tokens: int) -> float:
    """Return the bytes that the search for edits keeps for its backward pass, beside a batch."""
    if editor["method"] != "rome":
        return 0.0
    how = editor["contexts"], editor["token"] == "last", batch_tokens
    return DTYPE_BYTES[model.dtype] * max(work.rome_graph(model.shape, one, layer, *how) for one in tasks)


def _search_work(
    model: Model, tasks: Sequence[Edits], editor: Mapping[str, Any], batch_tokens: int
) -> tuple[list[tuple[Work, Work]], int]:
    """Return the work of the search for each task's edits, and the edited layer."""
    layer = work.edited_layer(model.shape, editor.get("layer"))
    search = SEARCHES.get(editor["method"])
    return [search(model, one, layer, editor, batch_tokens) for one in tasks] if search else [], layer


def _rome(model: Model, one: Edits, layer: int, editor: Mapping[str, Any], batch_tokens: int) -> tuple[Work, Work]:
    shape, steps, contexts, last = model.shape, editor["steps"], editor["contexts"], editor["token"] == "last"
    ours = work.rome(shape, one, layer, steps, contexts, last, batch_tokens)
    return ours, plain.rome(shape, one, layer, steps, contexts)


def _fine_tuning(model: Model, one: Edits, layer: int, editor: Mapping[str, Any], _: int) -> tuple[Work, Work]:
    arguments = model.shape, one, layer, editor["steps"]
    return work.fine_tuning(*arguments), plain.fine_tuning(*arguments)


def _knowledge_neuron(
    model: Model, one: Edits, _: int, editor: Mapping[str, Any], batch_tokens: int
) -> tuple[Work, Work]:
    some = replace(one, paraphrases=min(one.paraphrases, editor["paraphrases"]))
    ours = work.knowledge_neuron(model.shape, model.masked, some, editor["nodes"], batch_tokens)
    return ours, plain.knowledge_neuron(model.shape, some)


Search = Callable[[Model, Edits, int, Mapping[str, Any], int], tuple[Work, Work]]
# The work of the search for an edit, by method. For a method that is not listed only the questions are counted.
SEARCHES: dict[str, Search] = {"rome": _rome, "fine_tuning": _fine_tuning, "knowledge_neuron": _knowledge_neuron}
