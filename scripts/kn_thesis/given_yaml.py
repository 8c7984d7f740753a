"""YAML files that people hand in, read strictly: what YAML would guess or let pass is refused in one line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from kn_thesis.errors import UserError
from kn_thesis.given import given_text

DEEPEST = 100  # nesting; far below what Python's own stack bears
MOST = 1_000_000  # entries, each alias counted as all that it stands for
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def given_yaml(path: str | Path, missing: str = "correct the path") -> Any:
    """Content of a YAML file; `missing` says what to do when there is none. Raises UserError, see `yaml_content`."""
    return yaml_content(given_text(path, missing), path)


def yaml_content(text: str, path: str | Path) -> Any:
    """Content of a YAML text, of plain values only; None when it is empty.

    Raises UserError with file and line: for what is no YAML, a tag that asks for an object of Python's, a key that
    comes twice in one section, an alias inside what it stands for, sections nested too deep, aliases of aliases that
    stand for too much, and a number too long to be one.
    """
    try:
        _check_depth(text)  # what follows has a stack of its own kind, and dies of too deep a file
        loader = LOADER(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        reason = " ".join(str(getattr(error, "problem", None) or error).split())[:200]
        said = reason if isinstance(error, _Refused) else f"not YAML: {reason}: correct it"
        raise UserError(f"{path}{line}: {said}") from None
    except (ValueError, TypeError) as error:  # what a constructor says of a number, a date or a key that is none
        raise UserError(f"{path}: a value cannot be read ({' '.join(str(error).split())[:200]}): correct it") from None


def _check_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise _wrong("nested too deep: write it flatter", event)


def _check(root: yaml.Node) -> None:
    """Raise a YAMLError for a key that comes twice, and for nodes that hold themselves or are too many."""
    known: dict[int, tuple[int, int]] = {}  # entries in a node that is done, and how deep it goes
    path = [_Open(root)]
    while path:
        child = next(path[-1].children, None)
        if child is None:
            done = path.pop()
            known[id(done.node)] = done.size, done.height
            if done.size > MOST or done.height > DEEPEST:
                raise _wrong("aliases of aliases that stand for too much: write out what is meant", done.node)
            if path:
                path[-1].add(*known[id(done.node)])
        elif id(child) in known:
            path[-1].add(*known[id(child)])
        elif any(child is around.node for around in path):
            raise _wrong("an alias inside what it stands for: write out what is meant", child)
        else:
            path.append(_Open(child))


class _Open:
    """A node whose children are being looked at."""

    def __init__(self, node: yaml.Node) -> None:
        self.node, self.children = node, _children(node)
        self.size = self.height = 1

    def add(self, size: int, height: int) -> None:
        self.size += size
        self.height = max(self.height, height + 1)


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        seen: set[tuple[str, str]] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise _wrong(f"the key {key.value[:60]!r} comes twice: keep one", key)
                seen.add((key.tag, key.value))
            yield key
            yield value


class _Refused(yaml.MarkedYAMLError):
    """YAML that means something, but nothing that anyone would want to say."""


def _wrong(what: str, node: yaml.Node | yaml.Event) -> _Refused:
    return _Refused(problem=what, problem_mark=node.start_mark)
