"""Check a study's configuration and report every mistake at once, one line each: file, key, value, what is allowed.

`check_configuration` validates the sections with the schema, then the names of tasks, then what sections say about each
other. `check_own_files` reads the files that users bring along.
"""

from __future__ import annotations

import difflib
import os
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from kn_thesis.configuration.overlays import schema_at
from kn_thesis.configuration.schema import Family, Study, Tasks
from kn_thesis.configuration.tasks import CORPORA, TASKS_FILE, TaskTable, objective, takes, with_own
from kn_thesis.configuration.types import IN_WORDS, OwnTasks
from kn_thesis.corpora.blimp import load_pairs
from kn_thesis.corpora.pararel import load_facts, load_patterns
from kn_thesis.errors import UserError
from kn_thesis.models.folder import check_folder

Key = tuple[str | int, ...]
OWN_FILES: dict[str, Callable[[Path], Any]] = {"pairs": load_pairs, "patterns": load_patterns, "facts": load_facts}
COMMAND_LINE = "--config"  # name of the layer with the values of --config
Layer = tuple[str, Mapping[str, Any]]  # name and content of a file


class ConfigurationError(UserError):
    """One or more mistakes in a configuration, one line each."""


def check_configuration(config: Mapping[str, Any], layers: Sequence[Layer], tasks: TaskTable) -> Study:
    """Check a configuration and return it in typed form.

    Args:
        config: Merged content of all layers.
        layers: Name and content of each configuration file and of the command line; later ones override earlier ones.
            They serve to name the file that contains a mistake.
        tasks: Tasks of resources/tasks.yaml.

    Raises:
        ConfigurationError: The configuration has mistakes; the message has a line for each.
    """
    mistakes: list[tuple[Key, str]] = []
    study = None
    try:
        study = Study.model_validate(config)
    except ValidationError as error:
        mistakes = [(_key(detail), _describe(detail)) for detail in error.errors()]
    # Names and sections are compared even if the schema has found mistakes elsewhere.
    try:
        tasks = with_own(tasks, OwnTasks.model_validate(_section(config, "tasks", "own")).model_dump())
    except ValidationError:
        pass  # reported by the schema
    except UserError as error:
        mistakes.append((("tasks", "own"), str(error).removeprefix("tasks.own: ")))
    mistakes += [*_task_mistakes(config, tasks), *_cross_mistakes(config, tasks)]
    mistakes += [*_traced_mistakes(config), *_edited_mistakes(config, tasks)]
    if mistakes or study is None:
        raise ConfigurationError("\n".join(dict.fromkeys(_line(layers, key, text) for key, text in mistakes)))
    return study


def _task_mistakes(config: Mapping[str, Any], tasks: TaskTable) -> list[tuple[Key, str]]:
    """Find unknown or repeated names of tasks, and tasks that the source does not have."""
    source = _get(config, "corpora", "source") or "world"
    places = [(("tasks",), source), (("corpora", "fetched"), "fetched")]
    mistakes: list[tuple[Key, str]] = []
    for section, corpus in places:
        for kind in ("paradigms", "relations"):
            names = _get(config, *section, kind)
            if not isinstance(names, list):
                continue
            known = getattr(tasks, kind)
            for index, name in enumerate(names):
                key: Key = (*section, kind, index)
                if not isinstance(name, str):
                    continue  # reported by the schema
                if name not in known:
                    guess = _guess(name, known)
                    text = f"{_show(name)} is not a known {kind[:-1]}: {guess}allowed are those in {TASKS_FILE}"
                    mistakes.append((key, text))
                elif corpus in CORPORA and not known[name].is_in(corpus):
                    there = ", ".join(n for n in known if known[n].is_in(corpus))
                    mistakes.append((key, f"{name!r} is not in the source {corpus!r}; allowed: {there}"))
                elif name in names[:index]:
                    mistakes.append((key, f"{name!r} is named twice: name it once"))
    return mistakes


def _cross_mistakes(config: Mapping[str, Any], tasks: TaskTable) -> list[tuple[Key, str]]:
    """Find contradictions between sections, in every part of the configuration that has the right shape."""
    mistakes: list[tuple[Key, str]] = []
    models = _section(config, "models")
    source = _get(config, "corpora", "source") or "world"
    variants = list(_section(config, "corpora", "world", "variants") or ["baseline"])
    for name in models:
        world = _get(models, name, "world") or "baseline"
        if source == "world" and isinstance(world, str) and world not in variants:
            text = f"{_show(world)} is not a variant of the world; allowed: {', '.join(map(str, variants))}"
            mistakes.append((("models", name, "world"), text))
    mistakes += _model_task_mistakes(config, tasks)
    fetched = _section(config, "corpora", "fetched")
    if source == "fetched" and not (fetched.get("paradigms") or fetched.get("relations")):
        trained_models = [name for name in models if _get(models, name, "train")]
        if trained_models:
            text = f"model {trained_models[0]!r} is trained on fetched text, but no paradigm or relation is named"
            mistakes.append((("corpora", "fetched", "paradigms"), text))
    families = [_get(models, name, "family") for name in models]
    paradigms = _get(config, "tasks", "paradigms")
    if families and all(family in get_args(Family) for family in families) and isinstance(paradigms, list):
        objectives = {objective(family) for family in families}
        for index, task in enumerate(paradigms):
            if isinstance(task, str) and task in tasks.paradigms and not objectives & set(tasks.paradigms[task].takes):
                can = " or ".join(tasks.paradigms[task].takes)
                text = f"no model here can take {task!r}: " + (f"it needs a {can} model" if can else "leave it out")
                mistakes.append((("tasks", "paradigms", index), text))
    return mistakes


def _model_task_mistakes(config: Mapping[str, Any], tasks: TaskTable) -> list[tuple[Key, str]]:
    """Find unknown names in a model's own choice of tasks, and choices without a task that the model can take."""
    study_tasks = _study_tasks(config)
    known = [*tasks.paradigms, *tasks.relations]
    mistakes: list[tuple[Key, str]] = []
    for name, model in _section(config, "models").items():
        choice, family = _get(model, "tasks"), _get(model, "family")
        if not isinstance(choice, list) or not choice:
            continue
        unknown = [index for index, task in enumerate(choice) if task not in known]
        for index in unknown:
            hint = _guess(_show(choice[index]).strip("'"), known)
            text = f"{_show(choice[index])} is not a known task: {hint}allowed are those in {TASKS_FILE}"
            mistakes.append((("models", name, "tasks", index), text))
        if (
            unknown
            or family not in get_args(Family)
            or study_tasks is None
            or any(task not in known for task in study_tasks)
        ):
            continue
        mistakes += _unlisted(config, ("models", name, "tasks"), known, "a known task")
        if not any(task in study_tasks and takes(tasks, task, objective(family)) for task in choice):
            text = f"none of them is a task of this study that a {objective(family)} model can take: name others"
            mistakes.append((("models", name, "tasks"), text))
    return mistakes


def _study_tasks(config: Mapping[str, Any]) -> list[Any] | None:
    """List the tasks of the study; None if they are not lists or a key may be misspelt, which the schema reports."""
    section = _section(config, "tasks")
    lists = [section.get(kind, []) for kind in ("paradigms", "relations")]
    if not section or not all(isinstance(names, list) for names in lists) or set(section) - set(Tasks.model_fields):
        return None
    return [name for names in lists for name in names]


def _traced_mistakes(config: Mapping[str, Any]) -> list[tuple[Key, str]]:
    """Find traced tasks that are not tasks of the study, and shown tasks that are not traced."""
    tasks, traced_tasks = _study_tasks(config), _get(config, "tracing", "tasks")
    among = (
        (tasks, "a task of this study") if traced_tasks is None else (traced_tasks, "one of those under tracing.tasks")
    )
    return [
        *_unlisted(config, ("tracing", "tasks"), tasks, "a task of this study"),
        *_unlisted(config, ("tracing", "shown"), *among),
    ]


def _edited_mistakes(config: Mapping[str, Any], tasks: TaskTable) -> list[tuple[Key, str]]:
    """Find edited or swept tasks that the study does not ask, and layers and texts that a model does not have."""
    names = _get(config, "editing", "tasks")
    names = names if isinstance(names, list) else []
    relations = [name for name in names if isinstance(name, str) and name in tasks.relations]
    mistakes = _unlisted(config, ("editing", "tasks"), _study_tasks(config), "a task of this study")
    mistakes += _unlisted(config, ("editing", "sweep", "tasks"), relations, "a relation under editing.tasks")
    for name, editor in _section(config, "editing", "editors").items():
        families = list(_section(editor, "families"))
        key = ("editing", "editors", name, "covariance", "texts")
        if _get(editor, "covariance") and (_get(editor, "covariance", "texts") or "training") == "training":
            mistakes += [
                (key, f"model {model!r} is not trained here and has no text of its own: name a data set")
                for model, entry in _section(config, "models").items()
                if _get(entry, "family") in families and (_get(entry, "hub") or _get(entry, "path"))
            ]
        mistakes += _editors_models_mistakes(config, name, editor)
        own = _section(editor, "models")
        for model, entry in _section(config, "models").items():
            family, layers = _get(entry, "family"), _get(entry, "train", "layers")
            place: Key = ("models", model) if model in own else ("families", family if isinstance(family, str) else "")
            layer = _get(editor, *place, "layer")
            if isinstance(layer, int) and isinstance(layers, int) and layer >= layers:
                text = f"{_show(layer)} is not allowed: model {model!r} has layers 0 to {_show(layers - 1)}"
                mistakes.append((("editing", "editors", name, *place, "layer"), text))
    return mistakes


def _editors_models_mistakes(config: Mapping[str, Any], name: Any, editor: Any) -> list[tuple[Key, str]]:
    """Find models in an editor's settings that the study lacks or whose family the editor leaves out."""
    models = _section(config, "models")
    mistakes: list[tuple[Key, str]] = []
    for model in _section(editor, "models"):
        key, family = ("editing", "editors", name, "models", model), _get(models.get(model), "family")
        if isinstance(model, str) and model not in models:
            text = f"there is no such model here: {_guess(model, list(models))}name one under `models`, or leave it out"
            mistakes.append((key, text))
        elif family in get_args(Family) and family not in _section(editor, "families"):
            mistakes.append((key, f"its family {family} is missing in the editor's `families`: name it there as well"))
    return mistakes


def _unlisted(config: Mapping[str, Any], key: Key, among: Any, what: str) -> list[tuple[Key, str]]:
    """Find names in the list at `key` that are not in `among` or are repeated."""
    names = _get(config, *key)
    mistakes: list[tuple[Key, str]] = []
    for index, name in enumerate(names if isinstance(names, list) and isinstance(among, list) else []):
        if isinstance(name, str) and name not in among:
            text = f"{_show(name)} is not {what}: {_guess(name, among)}name it there or leave it out"
            mistakes.append(((*key, index), text))
        elif isinstance(name, str) and name in names[:index]:
            mistakes.append(((*key, index), f"{name!r} is named twice: name it once"))
    return mistakes


def _guess(name: str, known: Iterable[Any]) -> str:
    """Ask whether a similar name was meant; "" if there is none."""
    close = difflib.get_close_matches(name[:100], [other for other in known if isinstance(other, str)], n=1)
    return f"did you mean {close[0]!r}? " if close else ""


def check_own_files(study: Study, layers: Sequence[Layer], root: Path) -> None:
    """Check the files that users bring along before anything is computed: their own tasks and model folders.

    Weights and tokenizers are not read.

    Args:
        study: The typed study.
        layers: Name and content of each configuration layer, to name the file that contains a mistake.
        root: Folder that relative paths of tasks start from.

    Raises:
        ConfigurationError: A file is missing or broken; the message has a line for each.
    """
    wrong: list[tuple[Key, str]] = []
    for kind in ("paradigms", "relations"):
        for name, entry in getattr(study.tasks.own, kind).items():
            for part, read in OWN_FILES.items():
                file = getattr(entry, part, None)
                if file is not None and (text := _unreadable(root / file, file, read)):
                    wrong.append((("tasks", "own", kind, name, part), text))
    for name, model in study.models.items():
        if model.path is not None:
            try:
                check_folder(model.path, model.family)
            except UserError as error:
                wrong.append((("models", name, "path"), str(error)))
    if wrong:
        raise ConfigurationError("\n".join(_line(layers, key, text) for key, text in wrong))


def _unreadable(path: Path, file: str, read: Callable[[Path], Any]) -> str:
    """Say why a file of a user's own task cannot be read; "" if it can."""
    if not os.path.isfile(path):
        return f"there is no file {file!r}: give a path from the repository's root, or an absolute one"
    try:
        read(path)
    except UserError as error:
        return str(error)
    return ""


def _key(detail: ErrorDetails) -> Key:
    """Return the key of a mistake. Pydantic reports a mistake in a dictionary key below "[key]", which is left out."""
    return tuple(part for part in detail["loc"] if part != "[key]")


def _describe(detail: ErrorDetails) -> str:
    """Describe a mistake that pydantic has found."""
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind == "extra_forbidden":
        return _unknown_key(_key(detail))
    if kind == "missing":
        return "is missing: give it"
    if kind == "value_error":
        return str(context["error"])
    if kind in ("model_type", "dict_type"):
        return f"{_show(value)} is not allowed: a section of `key: value` entries is"
    if kind == "union_tag_invalid":
        return f"method: {_show(context['tag'])} is not allowed: it must be one of {context['expected_tags']}"
    if kind == "string_pattern_mismatch":
        words = IN_WORDS.get(context["pattern"])
        return f"{_show(value)} is not allowed: it must match {context['pattern']}" + (f" ({words})" if words else "")
    text = detail["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    return f"{_show(value)} is not allowed: it must be {text}"


def _unknown_key(key: Key) -> str:
    known = _fields(key[:-1])
    close = difflib.get_close_matches(str(key[-1])[:100], known, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"unknown key{hint}; allowed: {', '.join(known)}"


def _fields(section: Key) -> list[str]:
    """List the keys that a section of the configuration may have."""
    return sorted({name for node in schema_at(section) for name in node.get("properties", {})})


class _Short(reprlib.Repr):
    """Abbreviates values, however large, deep or recursive they are."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, 60, 60

    def repr_int(self, value: int, level: int) -> str:
        """Describe very long integers, which Python refuses to print."""
        return repr(value) if abs(value) < 10**30 else f"a number of {value.bit_length()} bits"


def _show(value: Any) -> str:
    text = " ".join(_Short().repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."


def _line(layers: Sequence[Layer], key: Key, text: str) -> str:
    """Build the line of a mistake: file, key and text."""
    parts = (part if isinstance(part, str) and part.isprintable() else _show(part) for part in key)
    place = ".".join(part if len(part) <= 100 else part[:97] + "..." for part in parts)
    return f"{_origin(layers, key)}: {place or 'top level'}: {text}"


def _origin(layers: Sequence[Layer], key: Key) -> str:
    """Name the last layer that sets `key` or the nearest section around it; the last file if none does."""
    for length in range(len(key), 0, -1):
        for name, content in reversed(layers):
            if _has(content, key[:length]):
                return name
    files = [name for name, _ in layers if name != COMMAND_LINE] or [name for name, _ in layers]
    return files[-1] if files else "configuration"


def _has(content: Any, key: Iterable[str | int]) -> bool:
    """Tell whether a layer sets a key."""
    for part in key:
        inside = isinstance(content, Mapping) and part in content
        if not inside and not (isinstance(content, list) and isinstance(part, int) and part < len(content)):
            return False
        content = content[part]
    return True


def _get(content: Any, *key: str | int) -> Any:
    """Return the value at a key; None if there is none."""
    for part in key:
        content = content.get(part) if isinstance(content, Mapping) else None
    return content


def _section(content: Any, *key: str) -> Mapping[str, Any]:
    """Return the section at a key; an empty one if there is none."""
    section = _get(content, *key)
    return section if isinstance(section, Mapping) else {}
