"""The table of tasks: which kind of model can take which, and which corpus has it.

It is resources/tasks.yaml and the user's own tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kn_thesis.configuration.types import MASKED_FAMILIES
from kn_thesis.errors import UserError

OBJECTIVES = ("masked", "causal")


@dataclass(frozen=True)
class Task:
    """A paradigm or a relation: its label, its corpora, the objectives that can take it.

    inverse, synonym: names of the relations that ask the same from the object's side, and in other terms; "" for none.
    files: of a task of the user's own, by what is in them (pairs, or patterns and facts); it is in no corpus.
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
        """Whether models can be asked it in a study of that corpus: the user's own tasks can be anywhere."""
        return bool(self.files) or corpus in self.corpora


@dataclass(frozen=True)
class TaskTable:
    """All tasks the study knows, by name."""

    paradigms: Mapping[str, Task]
    relations: Mapping[str, Task]

    def __getitem__(self, name: str) -> Task:
        """The task of that name; KeyError when there is none."""
        return self.paradigms[name] if name in self.paradigms else self.relations[name]


def task_table(content: Mapping[str, Any]) -> TaskTable:
    """The table from the content of resources/tasks.yaml.

    Raises UserError for an inverse or a synonym that is no relation, and for an inverse that does not name it back.
    """
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
    """The table and the user's own tasks, `own` as in the configuration's section `tasks.own`.

    Raises UserError for a name that is taken, and as `task_table` does.
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


def _check_links(relations: Mapping[str, Task]) -> None:
    for name, task in relations.items():
        for link, other in (("inverse", task.inverse), ("synonym", task.synonym)):
            file = "tasks.own" if task.files else "resources/tasks.yaml"
            where = f"{file}: relations.{name}.{link}"
            if other and other not in relations:
                raise UserError(f"{where}: {other!r} is no relation: name one that is, or take it away")
            if link == "synonym" and other == name:
                raise UserError(f"{where}: {name} is no synonym of itself: name another relation, or take it away")
            if link == "inverse" and other and relations[other].inverse != name:
                raise UserError(f"{where}: relations.{other} has no `inverse: {name}`: add it, or take this one away")


def objective(family: str) -> str:
    """`masked` or `causal`: how a family's models were trained."""
    return "masked" if family in MASKED_FAMILIES else "causal"


def takes(tasks: TaskTable, task: str, model_objective: str) -> bool:
    """Whether a model of that objective can be asked the task at all (DESIGN.md §3)."""
    return model_objective in tasks[task].takes
