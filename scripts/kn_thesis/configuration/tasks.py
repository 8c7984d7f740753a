"""Read the table of tasks (resources/tasks.yaml) and add users' own tasks to it.

The table says which corpora have a task and which kind of model can take it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kn_thesis.configuration.types import MASKED_FAMILIES
from kn_thesis.errors import UserError
from kn_thesis.inputs import check_keys

OBJECTIVES = ("masked", "causal")
CORPORA = ("world", "fetched")
TASKS_FILE = "resources/tasks.yaml"


@dataclass(frozen=True)
class Task:
    """A paradigm or a relation.

    Attributes:
        name: Name of the task.
        kind: "paradigm" or "relation".
        label: Phenomenon of a paradigm, or label of a relation.
        corpora: Corpora that have the task.
        takes: Objectives of the models that can take it, "masked" or "causal".
        inverse: Relation that asks the same with subject and object exchanged; "" if there is none.
        synonym: Relation that asks the same in other terms; "" if there is none.
        files: Files of a user's own task by content ("pairs", or "patterns" and "facts"); it belongs to no corpus.
    """

    name: str
    kind: str
    label: str
    corpora: tuple[str, ...]
    takes: tuple[str, ...]
    inverse: str = ""
    synonym: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    def is_in(self, corpus: str) -> bool:
        """Tell whether a study of this corpus can ask the task; users' own tasks fit any corpus."""
        return bool(self.files) or corpus in self.corpora


@dataclass(frozen=True)
class TaskTable:
    """All known tasks by name."""

    paradigms: Mapping[str, Task]
    relations: Mapping[str, Task]

    def __getitem__(self, name: str) -> Task:
        """Return the task of that name; KeyError if there is none."""
        return self.paradigms[name] if name in self.paradigms else self.relations[name]


def task_table(content: Mapping[str, Any]) -> TaskTable:
    """Build the table from the content of resources/tasks.yaml.

    Args:
        content: Parsed content of the file.

    Raises:
        UserError: An entry is malformed, an inverse or synonym is not a relation, or an inverse does not name its
            relation back.
    """
    _check_entries(content)
    paradigms = {
        name: Task(name, "paradigm", entry["phenomenon"], tuple(entry["corpora"]), tuple(entry["takes"]))
        for name, entry in content["paradigms"].items()
    }
    relations = {
        name: Task(
            name,
            "relation",
            entry["label"],
            tuple(entry["corpora"]),
            OBJECTIVES,
            entry.get("inverse", ""),
            entry.get("synonym", ""),
        )
        for name, entry in content["relations"].items()
    }
    _check_links(relations)
    return TaskTable(paradigms, relations)


def with_own(tasks: TaskTable, own: Mapping[str, Any]) -> TaskTable:
    """Add users' own tasks to the table.

    Args:
        tasks: The table.
        own: The configuration's section `tasks.own` as plain values.

    Raises:
        UserError: A name is already in use, or an inverse or synonym is wrong as in `task_table`.
    """
    paradigms = {
        name: Task(name, "paradigm", name, (), tuple(entry["takes"]), files={"pairs": entry["pairs"]})
        for name, entry in own["paradigms"].items()
    }
    relations = {
        name: Task(
            name,
            "relation",
            name,
            (),
            OBJECTIVES,
            entry["inverse"],
            entry["synonym"],
            {part: entry[part] for part in ("patterns", "facts")},
        )
        for name, entry in own["relations"].items()
    }
    for name in (*paradigms, *relations):
        if name in tasks.paradigms or name in tasks.relations or (name in paradigms and name in relations):
            raise UserError(f"tasks.own: there is a task {name!r} already: choose another name")
    everything = {**tasks.relations, **relations}
    _check_links(everything)
    return TaskTable({**tasks.paradigms, **paradigms}, everything)


def objective(family: str) -> str:
    """Return the training objective of a family's models: `masked` or `causal`."""
    return "masked" if family in MASKED_FAMILIES else "causal"


def takes(tasks: TaskTable, task: str, model_objective: str) -> bool:
    """Tell whether a model with this objective can take the task, see docs/method.md §1."""
    return model_objective in tasks[task].takes


def _check_entries(content: Any) -> None:
    """Check the structure of resources/tasks.yaml."""
    check_keys(content, ("paradigms", "relations"), TASKS_FILE)
    for kind in ("paradigms", "relations"):
        if not isinstance(content[kind], Mapping) or not content[kind]:
            raise UserError(f"{TASKS_FILE}: {kind}: must be a mapping of names to entries")
        for name, entry in content[kind].items():
            where = f"{TASKS_FILE}: {kind}.{str(name)[:100]}"
            if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
                raise UserError(f"{where}: {str(name)[:100]!r} is not a task name: use letters, digits, '_' and '-'")
            words = ("field", "phenomenon") if kind == "paradigms" else ("label",)
            lists = {"corpora": CORPORA} | ({"takes": OBJECTIVES} if kind == "paradigms" else {})
            links = () if kind == "paradigms" else ("inverse", "synonym")
            check_keys(entry, (*words, *lists), where, links)
            for key in (*words, *(link for link in links if link in entry)):
                if not isinstance(entry[key], str) or not entry[key].strip():
                    raise UserError(f"{where}.{key}: must be text, not {str(entry[key])[:60]!r}")
            for key, allowed in lists.items():
                items = entry[key]
                if not isinstance(items, list) or any(item not in allowed or items.count(item) > 1 for item in items):
                    raise UserError(f"{where}.{key}: must be a list of some of {', '.join(allowed)}, each once")
            if not entry["corpora"]:
                raise UserError(f"{where}.corpora: no corpus has the task: name one of {', '.join(CORPORA)}")


def _check_links(relations: Mapping[str, Task]) -> None:
    """Check that inverses and synonyms are relations and that inverses name each other."""
    for name, task in relations.items():
        for link, other in (("inverse", task.inverse), ("synonym", task.synonym)):
            file = "tasks.own" if task.files else TASKS_FILE
            where = f"{file}: relations.{name}.{link}"
            if other and other not in relations:
                raise UserError(f"{where}: {other!r} is not a relation: name one, or remove it")
            if link == "synonym" and other == name:
                raise UserError(f"{where}: {name} is not a synonym of itself: name another relation, or remove it")
            if link == "inverse" and other and relations[other].inverse != name:
                raise UserError(f"{where}: relations.{other} has no `inverse: {name}`: add it, or remove this one")
