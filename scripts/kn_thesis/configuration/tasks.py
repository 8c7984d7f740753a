"""The table of tasks: which kind of model can take which, and which corpus has it.

It is resources/tasks.yaml and the user's own tasks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kn_thesis.configuration.types import MASKED_FAMILIES
from kn_thesis.corpora.resources import check_keys
from kn_thesis.errors import UserError

OBJECTIVES = ("masked", "causal")
CORPORA = ("world", "fetched")
TASKS_FILE = "resources/tasks.yaml"


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

    Raises UserError for an entry that is not as the others are, for an inverse or a synonym that is no relation, and
    for an inverse that does not name it back.
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


def _check_entries(content: Any) -> None:
    check_keys(content, ("paradigms", "relations"), TASKS_FILE)
    for kind in ("paradigms", "relations"):
        if not isinstance(content[kind], Mapping) or not content[kind]:
            raise UserError(f"{TASKS_FILE}: {kind}: must be a mapping of names to entries")
        for name, entry in content[kind].items():
            where = f"{TASKS_FILE}: {kind}.{str(name)[:100]}"
            if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
                raise UserError(f"{where}: {str(name)[:100]!r} is no name of a task: letters, digits, '_' and '-' are")
            words = ("field", "phenomenon") if kind == "paradigms" else ("label",)
            lists = {"corpora": CORPORA} | ({"takes": OBJECTIVES} if kind == "paradigms" else {})
            links = () if kind == "paradigms" else ("inverse", "synonym")
            check_keys(entry, (*words, *lists), where, links)
            for key in (*words, *(link for link in links if link in entry)):
                if not isinstance(entry[key], str) or not entry[key].strip():
                    raise UserError(f"{where}.{key}: must be text, not {str(entry[key])[:60]!r}")
            for key, allowed in lists.items():
                given = entry[key]
                if not isinstance(given, list) or any(item not in allowed or given.count(item) > 1 for item in given):
                    raise UserError(f"{where}.{key}: must be a list of some of {', '.join(allowed)}, each once")
            if not entry["corpora"]:
                raise UserError(f"{where}.corpora: no corpus has it: name one of {', '.join(CORPORA)}")


def _check_links(relations: Mapping[str, Task]) -> None:
    for name, task in relations.items():
        for link, other in (("inverse", task.inverse), ("synonym", task.synonym)):
            file = "tasks.own" if task.files else TASKS_FILE
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
