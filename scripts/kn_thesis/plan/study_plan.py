"""Plan a study before it runs: passes, bytes on disk, memory and time of each of its jobs.

The rules take their resources from `StudyPlan`, and `make plan` adds its jobs up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from kn_thesis.configuration.study import Batch, StudyTasks, entries
from kn_thesis.errors import UserError
from kn_thesis.inputs import read_user_yaml
from kn_thesis.plan import jobs, sizes, work
from kn_thesis.plan.jobs import Job
from kn_thesis.plan.sizes import GATED, Shape, folder_shape, shape_from_config, trained_shape
from kn_thesis.plan.work import Edits, questions_of

CONFIGS_FILE = "resources/models.yaml"  # sizes of models on the hub
# Tokens per word of running text and of targets, by the origin of the tokenizer: pretrained, or trained on a text,
# whose words nearly all are whole tokens. These are guesses, since no tokenizer is there when a study is planned.
TOKENS_PER_WORD = {"pretrained": 1.25, "trained": 1.05}
TOKENS_OF_TARGET = {  # of a paradigm, of a relation
    "masked": {"pretrained": (1.05, 1.0), "trained": (1.05, 1.0)},
    "causal": {"pretrained": (1.1, 1.4), "trained": (1.05, 1.0)},
}
# Further texts of a prompt, per studied word: a word of several tokens needs a text for each of them. A tokenizer that
# was trained on a text has that text's words as whole tokens.
LONGER = {"world": 0.005, "fetched": 0.05, "pretrained": 0.05}
SENTENCE = 10  # tokens of a sentence of the training text
NUMBER_SETS = 1  # suppressed sets beside those of each target: a number's neurons, or those that both share
# Rules whose jobs take a batch of tasks of one model, with their chapters.
BATCHED = (
    ("corpora", "make_prompts"),
    ("localization", "attribute_neurons"),
    ("localization", "select_neurons"),
    ("suppression", "suppress_neurons"),
    ("tracing", "trace_prompts"),
    ("editing", "sweep_layers"),
)
UNKNOWN = sizes.Size(1000, 200, 10, 6, 4)  # a task of unknown size


class StudyPlan:
    """Estimates of the jobs of a study.

    Each method named after a rule returns its `Job` for a batch, model or editor. Expensive values are cached.
    """

    def __init__(self, tasks: StudyTasks) -> None:
        """Plan the study of `tasks`.

        Raises:
            UserError: a table of sizes cannot be read.
        """
        self.tasks, self.study = tasks, tasks.study
        self.speed = jobs.Speed(self.study.plan.cpu_speed, self.study.plan.gpu_speed)
        self._configs = read_user_yaml(tasks.root / CONFIGS_FILE)
        self.size_of = cache(self._size_of)

    # Sizes of models and tasks

    @cached_property
    def models(self) -> dict[str, jobs.Model]:
        """The shape and speed of each model."""
        speed = self.speed
        return {
            name: jobs.Model(
                self._shape(name), self._is_masked(name), model.dtype, speed.gpu if self.gpus(name) else speed.cpu
            )
            for name, model in self.study.models.items()
        }

    def gpus(self, model: str) -> int:
        """Return how many GPUs a job with this model requests."""
        return 0 if self.study.models[model].device == "cpu" else self.study.models[model].gpus

    def _shape(self, name: str) -> Shape:
        """Return the sizes of a model; those of a large one where they are unknown."""
        model = self.study.models[name]
        if model.train:
            return trained_shape(model.family, model.train.model_dump())
        known = folder_shape(Path(model.path)) if model.path else shape_from_config(self._configs.get(model.hub.id, {}))
        return known or shape_from_config(self._configs["unknown"])

    def _is_masked(self, model: str) -> bool:
        return self.tasks.objective(model) == "masked"

    def _source(self, model: str) -> str:
        """Return the origin of a model's tokenizer."""
        return "pretrained" if model in self.tasks.pretrained else "trained"

    @cached_property
    def _known_sizes(self) -> Any:
        return sizes.read_sizes(read_user_yaml(self.tasks.root / sizes.SIZES_FILE))

    def _size_of(self, model: str, task: str) -> sizes.Size:
        """Return the size of a task for a model, before sampling."""
        kind, about, fetched = self.tasks.objective(model), self.tasks.table[task], self.study.corpora.fetched
        if about.files:
            try:
                files = {part: self.tasks.root / path for part, path in about.files.items()}
                return sizes.count_task(task, kind, files)
            except UserError:
                return UNKNOWN  # the job that reads them says what is wrong
        size = self._known_sizes[self.study.corpora.source].get((task, kind), UNKNOWN)
        if model in self.tasks.trained and self.study.corpora.source == "fetched":
            if about.kind == "paradigm":
                return size.share(size.prompts * (fetched.held_out or 1), size.groups)
            facts = min(size.groups, fetched.facts or size.groups)
            return size.share(size.prompts * facts / max(1, size.groups), facts)
        return size

    def _in_tokens(self, model: str, task: str, size: sizes.Size, most: int | None = None) -> work.Task:
        """Convert a task to tokens, with at most `most` prompts."""
        kind, source = self.tasks.objective(model), self._source(model)
        masked, paradigm = self._is_masked(model), self.tasks.table[task].kind == "paradigm"
        ratio, target = TOKENS_PER_WORD[source], TOKENS_OF_TARGET[kind][source][not paradigm]
        special = 2 if masked else int(self.study.models[model].family in GATED)
        prompts = size.prompts if most is None else min(size.prompts, most)
        # A masked model sees as many masks as the target has tokens.
        tokens = size.words * ratio + special + (target - 1 if masked else 0)
        behind = 0 if not size.behind else tokens if masked else size.behind * ratio
        return work.Task(prompts, tokens, target, behind, size.last * ratio, paradigm)

    def _evaluated(self, model: str, tasks: Sequence[str]) -> list[work.Task]:
        """Return all evaluated prompts of each task."""
        most = self.study.tasks.evaluated
        return [self._in_tokens(model, task, sizes.evaluated_size(self.size_of(model, task), most)) for task in tasks]

    def _attributed(self, model: str, tasks: Sequence[str]) -> list[sizes.Size]:
        """Return the attributed prompts and groups of each task."""
        most = min(self.study.tasks.attributed, self.study.tasks.evaluated)
        return [sizes.attributed_size(self.size_of(model, task), self.tasks.table[task].kind, most) for task in tasks]

    def _suppressed_sets(self, model: str, tasks: Sequence[str]) -> list[float]:
        return [size.groups + NUMBER_SETS for size in self._attributed(model, tasks)]

    def _edits(self, model: str, tasks: Sequence[str], requests: int | None) -> list[Edits]:
        """Return at most `requests` edits of each task, and the questions about each."""
        editing, edits = self.study.editing, []
        for task, prompts in zip(tasks, self._evaluated(model, tasks), strict=True):
            each = self._paraphrases(model, task)
            links = {link: self._paraphrases(model, name) for link, name in self.tasks.linked(model, task).items()}
            questions, criteria = questions_of(
                prompts.paradigm, editing.questions.each, editing.questions.others, each, **links
            )
            considered = prompts.prompts if prompts.paradigm else prompts.prompts / each
            count = min(considered, requests or considered)
            edits.append(Edits(count, considered, prompts, questions, criteria, 1 if prompts.paradigm else each))
        return edits

    def _paraphrases(self, model: str, task: str) -> float:
        size = self.size_of(model, task)
        return size.prompts / max(1, size.groups)

    def _of_one_shard(self, chapter: str, tasks: list[Any], editor: str | None = None) -> list[Any]:
        """Return one shard's part of the tasks, or of their edits."""
        if not self.tasks.is_sharded(chapter, editor):
            return tasks
        size = "count" if chapter == "editing" else "prompts"
        return [replace(task, **{size: getattr(task, size) / self.tasks.shards[chapter]}) for task in tasks]

    # Rules

    def make_world(self) -> Job:
        """Plan the text and files of one world."""
        return jobs.without_model(jobs.WORLD_TASKS + jobs.SENTENCE * self.study.corpora.world.sentences)

    def train_model(self, model: str) -> Job:
        """Plan training for the maximum number of steps."""
        return jobs.training(self.models[model], self.study.models[model].train.model_dump(), SENTENCE)

    def get_model(self, model: str) -> Job:
        """Plan resolving and loading a model."""
        return jobs.loading(self.models[model])

    def evaluate_model(self, model: str) -> Job:
        """Plan the evaluation of all prompts of all tasks."""
        tasks = self._evaluated(model, self.tasks.tasks_of(model))
        return jobs.evaluation(self.models[model], tasks, self.study.attribution.batch_tokens)

    def make_prompts(self, batch: Batch) -> Job:
        """Plan the tables of prompts."""
        tasks = self._evaluated(batch.model, batch.tasks)
        size = sum(jobs.table_file_bytes("prompts", task.prompts) for task in tasks)
        return jobs.without_model(size, jobs.SMALL_START + 0.2 * len(batch.tasks))

    def attribute_neurons(self, batch: Batch) -> Job:
        """Plan integrated gradients, of one shard where tasks are split."""
        tasks = zip(batch.tasks, self._attributed(batch.model, batch.tasks), strict=True)
        prompts = [self._in_tokens(batch.model, task, size) for task, size in tasks]
        settings = self.study.attribution
        prompts = self._of_one_shard("attribution", prompts)
        return jobs.attribution(self.models[batch.model], prompts, settings.nodes, settings.batch_tokens)

    def select_neurons(self, batch: Batch) -> Job:
        """Plan the selection of knowledge neurons and their statistics."""
        some = self._attributed(batch.model, batch.tasks)
        tasks = [self._in_tokens(batch.model, task, size) for task, size in zip(batch.tasks, some, strict=True)]
        return jobs.selection(self.models[batch.model], tasks, [size.groups for size in some])

    def suppress_neurons(self, batch: Batch) -> Job:
        """Plan suppression, of one shard where tasks are split."""
        tasks = self._of_one_shard("suppression", self._evaluated(batch.model, batch.tasks))
        sets = self._suppressed_sets(batch.model, batch.tasks)
        longer = LONGER[self.study.corpora.source if batch.model in self.tasks.trained else "pretrained"]
        settings = self.tasks.suppression_settings() | {"longer": longer}
        return jobs.suppression(self.models[batch.model], tasks, sets, settings, self.study.attribution.batch_tokens)

    def test_suppression(self, model: str) -> Job:
        """Plan all tests of one model's suppression."""
        tasks = self.tasks.paradigms_of(model)
        prompts, sets = self._evaluated(model, tasks), self._suppressed_sets(model, tasks)
        return jobs.tests(self.models[model], prompts, sets, self.tasks.suppression_settings())

    def trace_prompts(self, batch: Batch) -> Job:
        """Plan causal tracing, of one shard where tasks are split."""
        tasks = self._evaluated(batch.model, batch.tasks)
        traced = [replace(task, prompts=min(task.prompts, self.study.tracing.prompts)) for task in tasks]
        traced = self._of_one_shard("tracing", traced)
        batches = self.study.tracing.batch_tokens, self.study.attribution.batch_tokens
        return jobs.tracing(self.models[batch.model], tasks, traced, self.tasks.tracing_settings(), *batches)

    def collect_covariance(self, model: str, editor: str) -> Job:
        """Plan the collection of the keys' second moments."""
        settings = self.tasks.covariance_settings(model, editor)
        layers = range(self.models[model].shape.layers) if settings["layers"] is None else settings["layers"]
        return jobs.covariance(self.models[model], settings["tokens"], layers, settings["batch_tokens"])

    def edit_tasks(self, batch: Batch, editor: str) -> Job:
        """Plan one editor's edits and the questions about them, of one shard where tasks are split."""
        editing, model, tasks = self.study.editing, batch.model, self._evaluated(batch.model, batch.tasks)
        edits = self._of_one_shard("editing", self._edits(model, batch.tasks, editing.requests), editor)
        continued = entries(editing.continuations, "tokens", "samples")
        settings = self.tasks.editor_settings(model, editor)
        return jobs.edits(self.models[model], tasks, edits, settings, continued, editing.batch_tokens)

    def sweep_layers(self, batch: Batch) -> Job:
        """Plan the edits at every layer."""
        editing, model, tasks = self.study.editing, batch.model, self._evaluated(batch.model, batch.tasks)
        edits = self._edits(model, batch.tasks, editing.sweep.requests)
        settings = self.tasks.editor_settings(model, editing.sweep.editor)
        return jobs.sweep(self.models[model], tasks, edits, settings, editing.sweep.every, editing.batch_tokens)

    def edit_examples(self, model: str) -> Job:
        """Plan the example edits by each editor, one after the other."""
        examples, source, editing = self.tasks.examples, self._source(model), self.study.editing
        continued = sum(len(example.continued) for example in examples)
        words = sum(len(example.prompt.split()) for example in examples)
        tokens = TOKENS_PER_WORD[source] * words / len(examples)
        task = work.Task(len(examples), tokens, TOKENS_OF_TARGET["causal"][source][1], last=tokens / 2)
        edits = Edits(len(examples), len(examples), task, 2, continued / len(examples))
        continuations = {"tokens": editing.continuations.tokens, "samples": 0}
        parts = [
            jobs.edits(
                self.models[model],
                [],
                [edits],
                self.tasks.editor_settings(model, editor),
                continuations,
                editing.batch_tokens,
            )
            for editor in self.tasks.example_editors(model)
        ]
        return jobs.in_one(parts, jobs.table_file_bytes("examples", continued * len(parts)))

    # All jobs

    def rows(self) -> list[dict[str, Any]]:
        """Return `jobs` as dictionaries with chapter, rule, model, place, and the fields of `Job`."""
        return [
            {"chapter": chapter, "rule": rule, "model": model, "place": place, **asdict(job)}
            for chapter, rule, model, place, job in self.jobs()
        ]

    def jobs(self) -> Iterator[tuple[str, str, str, str, Job]]:
        """Yield each job of a model, and of the worlds: chapter, rule, model, its benchmark file's place, and `Job`."""
        tasks, models = self.tasks, self.study.models
        if self.study.corpora.source == "world":
            for world in dict.fromkeys(model.world for model in models.values()):
                yield "corpora", "make_world", "", world, self.make_world()
        for chapter, rule, some in (
            ("models", "train_model", tasks.trained),
            ("models", "get_model", tasks.pretrained),
            ("models", "evaluate_model", models),
        ):
            for model in some:
                yield chapter, rule, model, model, getattr(self, rule)(model)
        for chapter, rule in BATCHED:
            for model in models:
                alike: dict[tuple[str, ...], Job] = {}  # shards of a task are planned once
                for batch in tasks.batches(rule, model):
                    key = tuple(batch.tasks)
                    job = alike[key] = alike.get(key) or getattr(self, rule)(batch)
                    yield chapter, rule, model, f"{model}/{batch.name}", job
        for model in filter(tasks.paradigms_of, models):
            yield "suppression", "test_suppression", model, model, self.test_suppression(model)
        for model in models:
            for editor in tasks.editors_of(model) if tasks.edited_tasks(model) else ():
                alike = {}
                for batch in tasks.batches("edit_tasks", model, editor):
                    key = tuple(batch.tasks)
                    job = alike[key] = alike.get(key) or self.edit_tasks(batch, editor)
                    yield "editing", "edit_tasks", model, f"{model}/{editor}/{batch.name}", job
        for model in filter(tasks.example_editors, models):
            yield "editing", "edit_examples", model, model, self.edit_examples(model)
        for model in filter(tasks.edited_tasks, models):
            for editor in filter(tasks.uses_covariance, tasks.editors_of(model)):
                yield (
                    "editing",
                    "collect_covariance",
                    model,
                    f"{model}/{editor}",
                    self.collect_covariance(model, editor),
                )
