"""The table of tasks (resources/tasks.yaml): which kind of model can take which, and which corpus has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kn_thesis.configuration.types import MASKED_FAMILIES
from kn_thesis.errors import UserError

OBJECTIVES = ("masked", "causal")


@dataclass(frozen=True)
class Task:
    """A paradigm or a relation: its label, its corpora, the objectives that can take it.

    inverse, synonym: names of the relations that ask the same from the object's side, and in other terms; "" for none.
    """

    name: str
    kind: str
    label: str
    corpora: tuple[str, ...]
    takes: tuple[str, ...]
    inverse: str = ""
    synonym: str = ""


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


def _check_links(relations: Mapping[str, Task]) -> None:
    for name, task in relations.items():
        for link, other in (("inverse", task.inverse), ("synonym", task.synonym)):
            where = f"resources/tasks.yaml: relations.{name}.{link}"
            if other and other not in relations:
                raise UserError(f"{where}: {other!r} is no relation of this file: name one that is, or take it away")
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
