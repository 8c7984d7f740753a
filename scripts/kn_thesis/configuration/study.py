"""The tasks, batches and job parameters of a study: which model does what.

`StudyTasks` holds the checked configuration and the table of tasks. The workflow's rules and the plan of a study
(kn_thesis/plan/study_plan.py) ask it the same questions.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from kn_thesis.configuration.check import COMMAND_LINE, check_configuration, check_own_files
from kn_thesis.configuration.overlays import read_layer, with_schema_types
from kn_thesis.configuration.schema import Study
from kn_thesis.configuration.tasks import TASKS_FILE, TaskTable, objective, takes, task_table, with_own
from kn_thesis.editing.editors import EDITORS
from kn_thesis.editing.examples import Example, read_examples
from kn_thesis.editing.settings import Editor
from kn_thesis.errors import UserError
from kn_thesis.inputs import read_user_yaml

LARGEST = 1000  # prompts of a task, where nothing else limits them: BLiMP has so many pairs, ParaRel no more facts
# Files of a task's raw items, by the kind of task.
PARTS_OF = {"paradigm": ["pairs"], "relation": ["patterns", "facts"]}


class Batch(NamedTuple):
    """Tasks of one model that one job does, one after the other; or a shard of one task.

    Attributes:
        name: tells the batch from others of its rule and model. It is a task's name where the batch has no other task.
        model: the model's name.
        tasks: names of the tasks, in the configuration's order.
        shard: "2-of-5", the part of the task's prompts or requests; None for all of them.
    """

    name: str
    model: str
    tasks: list[str]
    shard: str | None = None


class Step(NamedTuple):
    """How the tasks of a rule are put into batches.

    Attributes:
        tasks: the method of `StudyTasks` that returns a model's tasks.
        chapter: the key of `tasks.shards` that splits large tasks; None for a rule that takes tasks whole.
        shards: whether a job takes a shard; otherwise it takes a task whole whose shards other jobs have done.
        apart: whether paradigms and relations have separate batches where they do not fit into one.
    """

    tasks: str
    chapter: str | None = None
    shards: bool = True
    apart: bool = True


# The rules with a wildcard {batch}.
STEPS = {
    "make_prompts": Step("tasks_of"),
    "attribute_neurons": Step("tasks_of", "attribution"),
    "select_neurons": Step("tasks_of", "attribution", shards=False),
    "suppress_neurons": Step("paradigms_of", "suppression"),
    "gather_suppression": Step("paradigms_of", "suppression", shards=False),
    "trace_prompts": Step("traced_tasks", "tracing"),
    "edit_tasks": Step("edited_tasks", "editing", apart=False),
    "sweep_layers": Step("swept_tasks", apart=False),
}


def read_study(root: Path, config: dict[str, Any], files: Sequence[str | Path], given: Mapping[str, Any]) -> StudyTasks:
    """Check a configuration and read the files that it names.

    Args:
        root: the repository's root.
        config: the merged content of the files. Values of `given` are laid over it in place.
        files: the configuration files, later ones over earlier ones.
        given: the values of --config.

    Raises:
        UserError: with a line for each mistake.
    """
    from snakemake.utils import update_config

    tasks = task_table(read_user_yaml(root / TASKS_FILE))
    layers = [(_short(path), read_layer(path)) for path in dict.fromkeys(map(str, files))]
    if values := with_schema_types(given):
        update_config(config, values)
        layers.append((COMMAND_LINE, values))
    study = check_configuration(config, layers, tasks)
    return StudyTasks(study, with_own(tasks, study.tasks.own.model_dump()), root, tuple(layers))


def entries(section: BaseModel, *keys: str) -> dict[str, Any]:
    """Some entries of a section of the configuration, as plain values that a job can be given."""
    values = section.model_dump(mode="json")
    return {key: values[key] for key in keys}


@dataclass(frozen=True)
class StudyTasks:
    """A study's configuration and its tasks.

    Attributes:
        study: the checked configuration.
        table: all tasks by name, the user's own among them.
        root: the repository's root.
        layers: name and content of each configuration file, for messages.
    """

    study: Study
    table: TaskTable
    root: Path
    layers: tuple[tuple[str, Mapping[str, Any]], ...] = ()

    def check_own_files(self) -> None:
        """Read the user's own tasks and model folders. Raises UserError with a line for each that is broken."""
        check_own_files(self.study, self.layers, self.root)

    # Models

    @cached_property
    def trained(self) -> list[str]:
        """Models that the study trains."""
        return [name for name, model in self.study.models.items() if model.train]

    @cached_property
    def pretrained(self) -> list[str]:
        """Models from the hub or a folder."""
        return [name for name, model in self.study.models.items() if not model.train]

    @cached_property
    def first_of_family(self) -> list[str]:
        """Pretrained models, and one trained model per family: its others differ in world or seed alone."""
        first = {self.study.models[name].family: name for name in reversed(self.trained)}
        return [name for name in self.study.models if name in self.pretrained or name in first.values()]

    def objective(self, model: str) -> str:
        """ "masked" or "causal"."""
        return objective(self.study.models[model].family)

    def corpus_of(self, model: str) -> str:
        """The corpus whose tasks a model is asked, and whose text it is trained on."""
        return f"world-{self.study.models[model].world}" if self.study.corpora.source == "world" else "fetched"

    def world_settings(self, variant: str) -> dict[str, Any]:
        """What a world's text depends on: the settings that all variants share, and the variant's own."""
        world = self.study.corpora.world.model_dump()
        return world.pop("variants")[variant] | world

    # Tasks of models

    def tasks_of(self, model: str, kinds: Sequence[str] = ("paradigms", "relations")) -> list[str]:
        """The configured tasks that a model is asked and can take, in the configuration's order."""
        return self.taken_by(model, [task for kind in kinds for task in getattr(self.study.tasks, kind)])

    def taken_by(self, model: str, tasks: Sequence[str]) -> list[str]:
        """Those of `tasks` that a model is asked and can take."""
        only, kind = self.study.models[model].tasks, self.objective(model)
        return [task for task in tasks if takes(self.table, task, kind) and (only is None or task in only)]

    def paradigms_of(self, model: str) -> list[str]:
        """The paradigms that a model is asked."""
        return self.tasks_of(model, ["paradigms"])

    def traced_tasks(self, model: str) -> list[str]:
        """The tasks of a model that are traced."""
        traced = self.study.tracing.tasks
        return [task for task in self.tasks_of(model) if traced is None or task in traced]

    def edited_tasks(self, model: str) -> list[str]:
        """The tasks of a model that are edited; none for a model without an editor."""
        tasks = self.tasks_of(model) if self.editors_of(model) else []
        return [task for task in self.study.editing.tasks if task in tasks]

    def editors_of(self, model: str) -> list[str]:
        """The editors that have settings for a model's family."""
        family = self.study.models[model].family
        return [name for name, editor in self.study.editing.editors.items() if family in editor.families]

    def swept_tasks(self, model: str) -> list[str]:
        """The edited relations of a model in which every layer is edited."""
        sweep, edited = self.study.editing.sweep, self.edited_tasks(model)
        return [task for task in sweep.tasks if task in edited] if sweep.editor in self.editors_of(model) else []

    def linked(self, model: str, task: str) -> dict[str, str]:
        """A relation's inverse and its synonym, as far as the model is asked them."""
        names = {"inverse": self.table[task].inverse, "synonym": self.table[task].synonym}
        asked = self.tasks_of(model)
        return {link: name for link, name in names.items() if name in asked}

    @cached_property
    def inverses(self) -> dict[str, str]:
        """Relations that state another edited relation's facts the other way round, with that relation."""
        edited = [task for task in self.study.editing.tasks if self.table[task].kind == "relation"]
        pairs = ((task, self.table[task].inverse) for task in edited)
        return {task: other for task, other in pairs if other in edited and edited.index(other) < edited.index(task)}

    @cached_property
    def examples(self) -> tuple[Example, ...]:
        """The example edits. Raises UserError for a file that cannot be read."""
        file = self.study.editing.examples
        return tuple(read_examples(self.root / file).examples) if file else ()

    def example_editors(self, model: str) -> list[str]:
        """The editors that make the example edits in a model that goes on with texts.

        None that needs facts: they come with further wordings, which an example does not have.
        """
        if not self.examples or self.objective(model) == "masked":
            return []
        return [name for name in self.editors_of(model) if not self.method_of(name).needs_facts]

    def method_of(self, editor: str) -> Editor:
        """What is known of the method of one of the study's editors."""
        return EDITORS[self.study.editing.editors[editor].method]

    def compared_worlds(self) -> dict[str, str]:
        """The models that the experiment on co-occurrence compares, and the bias of each one's world.

        Their worlds differ in nothing else. Of a family with several such sets of models it is the largest.
        """
        sets: dict[tuple[str, str], dict[str, str]] = {}
        for model in self.trained if self.study.corpora.source == "world" else ():
            if self.paradigms_of(model):
                settings = self.world_settings(self.study.models[model].world)
                bias = settings.pop("bias")
                sets.setdefault((self.study.models[model].family, json.dumps(settings)), {})[model] = bias
        largest: dict[str, dict[str, str]] = {}
        for (family, _), biases in sets.items():
            if len(set(biases.values())) > 1 and len(biases) > len(largest.get(family, ())):
                largest[family] = biases
        return {model: bias for biases in largest.values() for model, bias in biases.items()}

    def direction_pairs(self, edited: Sequence[str]) -> list[dict[str, str]]:
        """Pairs of edited models of one family whose worlds state capitals in both directions, and in one."""
        variants = self.study.corpora.world.variants
        if self.study.corpora.source != "world":
            return []
        ways: dict[str, list[str]] = {"both": [], "one_way": []}
        for model in edited:
            ways[variants[self.study.models[model].world].directions].append(model)
        pairs = []
        for one_way in ways["one_way"]:
            settings = self.study.models[one_way]
            for both in ways["both"]:
                twin = self.study.models[both]
                alike = variants[twin.world].bias == variants[settings.world].bias
                if twin.family == settings.family and twin.train == settings.train and alike:
                    pairs.append({"family": settings.family, "both": both, "one_way": one_way})
        return pairs

    # Batches and shards

    def batches(self, rule: str, model: str, editor: str | None = None) -> Collection[Batch]:
        """The batches of a rule's tasks of one model, and of one editor if the rule edits.

        A batch has at most `tasks.per_job` tasks, or one where tasks are split into shards. Where they do not fit into
        one batch, paradigms and relations are apart: a further paradigm leaves relations alone. A job for each task
        would spend most of a small study on imports.

        Args:
            rule: a key of `STEPS`.
            model: the model's name.
            editor: the editor's name.

        Raises:
            UserError: the user's own task has the name of a batch.
        """
        return self._batches(rule, model, editor).values()

    def batch(self, rule: str, model: str, name: str, editor: str | None = None) -> Batch:
        """The batch of a name; see `batches`. Raises UserError for a model that has no such batch."""
        batches = self._batches(rule, model, editor)
        if name not in batches:
            raise UserError(f"{rule}: {model} has no batch {name}, but {', '.join(batches) or 'none'}")
        return batches[name]

    @cached_property
    def _named_batches(self) -> dict[tuple[str, str, str | None], dict[str, Batch]]:
        """Batches by name, as far as anyone asked for them; the workflow asks thousands of times."""
        return {}

    def _batches(self, rule: str, model: str, editor: str | None) -> dict[str, Batch]:
        key = rule, model, editor
        if key not in self._named_batches:
            self._named_batches[key] = self._make_batches(*key)
        return self._named_batches[key]

    def _make_batches(self, rule: str, model: str, editor: str | None) -> dict[str, Batch]:
        step = STEPS[rule]
        tasks = getattr(self, step.tasks)(model)
        split = step.chapter is not None and self.is_sharded(step.chapter)
        size = 1 if split else self.study.tasks.per_job
        groups = [tasks]
        if step.apart and len(tasks) > size:
            groups = [[task for task in tasks if self.table[task].kind == kind] for kind in PARTS_OF]
        parts = [group[at : at + size] for group in groups for at in range(0, len(group), size)]
        batches, numbers = [], Counter[str]()
        for part in parts:
            kinds = {self.table[task].kind for task in part}
            label = f"{kinds.pop()}s" if len(kinds) == 1 else "tasks"
            numbers[label] += 1
            batches.append(Batch(part[0] if len(part) == 1 else f"{label}-{numbers[label]}", model, part))
        if split and step.shards and self.is_sharded(step.chapter, editor):
            of = self.shards[step.chapter]
            shards = [f"{number}-of-{of}" for number in range(1, of + 1)]
            batches = [
                batch._replace(name=f"{batch.name}-{shard}", shard=shard) for batch in batches for shard in shards
            ]
        names = [batch.name for batch in batches]
        if twice := [name for name in names if names.count(name) > 1]:
            raise UserError(f"{model}: {twice[0]} is the name of a task and of a batch of tasks; rename the task")
        return dict(zip(names, batches, strict=True))

    @cached_property
    def shards(self) -> dict[str, int]:
        """Over how many jobs a chapter's tasks are split."""
        study, sizes = self.study, self.study.tasks.shards
        most = {
            "attribution": study.tasks.attributed,
            "suppression": study.tasks.evaluated,
            "tracing": study.tracing.prompts,
            "editing": study.editing.requests,
        }
        return {
            chapter: 1 if (size := getattr(sizes, chapter)) is None else -(-min(prompts or LARGEST, LARGEST) // size)
            for chapter, prompts in most.items()
        }

    def is_sharded(self, chapter: str, editor: str | None = None) -> bool:
        """Whether tasks are split: by editors only whose requests have nothing to do with each other."""
        return self.shards[chapter] > 1 and (editor is None or not self.method_of(editor).joint)

    # Parameters of jobs

    def loading(self, model: str) -> dict[str, Any]:
        """How a model is loaded."""
        return entries(self.study.models[model], "dtype", "device", "gpus")

    def prompt_settings(self, model: str) -> dict[str, Any]:
        """How many prompts; and, for a model trained on fetched text, which pairs and paraphrases it never saw."""
        settings = entries(self.study.tasks, "evaluated", "attributed", "max_target_tokens") | {"seed": self.study.seed}
        if model in self.trained and self.study.corpora.source == "fetched":
            kept_out = ("held_out", "held_out_patterns", "validation", "validation_patterns")
            settings |= entries(self.study.corpora.fetched, *kept_out, "facts")
        return settings

    def suppression_settings(self) -> dict[str, Any]:
        """What is changed, in which words, against how many random sets: suppression.task.Settings."""
        study, random = self.study, self.study.suppression.random
        return (
            entries(study.suppression, "operations", "words")
            | entries(study.selection, "coarse", "share")
            | entries(study.tasks, "max_target_tokens")
            | entries(study.attribution, "batch_tokens", "neuron")
            | {"random_sets": random.sets, "random_prompts": random.prompts, "nearest": random.nearest}
            | {"seed": study.seed}
        )

    def tracing_settings(self) -> dict[str, Any]:
        """How prompts are corrupted and patched: tracing.trace.Settings."""
        window = self.study.tracing.window
        return (
            entries(self.study.tracing, "noise", "draws", "kinds", "batch_tokens")
            | {"window": window.layers / window.of}
            | {"seed": self.study.seed}
        )

    def editor_settings(self, model: str, editor: str) -> dict[str, Any]:
        """An editor's method, and its settings for the model, or else for its family."""
        chosen = self.study.editing.editors[editor].model_dump(mode="json")
        settings = chosen.pop("families")[self.study.models[model].family]
        settings = chosen.pop("models", {}).get(model, settings)
        covariance = chosen.pop("covariance", None)
        for name, (section, key) in self.method_of(editor).study_settings().items():
            settings[name] = entries(getattr(self.study, section), key)[key]
        return chosen | settings | {"covariance": covariance is not None}

    def edit_settings(self) -> dict[str, Any]:
        """Which requests, what is asked, and what is continued."""
        study = self.study
        return (
            entries(study.editing, "requests", "questions", "batch_tokens")
            | {"continued": entries(study.editing.continuations, "tokens", "samples", "top") | {"seed": study.seed}}
            | entries(study.tasks, "max_target_tokens")
            | {"seed": study.seed}
        )

    def uses_covariance(self, editor: str) -> bool:
        """Whether an editor needs the covariance of keys."""
        return bool(getattr(self.study.editing.editors[editor], "covariance", None))

    def covariance_settings(self, model: str, editor: str) -> dict[str, Any]:
        """Layers (all of them where they are swept), tokens, and the data set, if any."""
        used = self.study.editing.editors[editor].covariance.model_dump(mode="json")
        swept = editor == self.study.editing.sweep.editor and self.swept_tasks(model)
        return {
            "layers": None if swept else self.method_of(editor).edited_layers(self.editor_settings(model, editor)),
            "tokens": used["tokens"],
            "batch_tokens": self.study.editing.batch_tokens,
            "source": None if used["texts"] == "training" else used["texts"],
        }


def _short(path: str) -> str:
    """A file's name as the user would write it: relative to here where that is shorter."""
    return min(path, os.path.relpath(path), key=len)
