"""Read and check what users supply: text, YAML, JSON-lines and CSV files, and the arguments of library functions.

Every mistake raises a `UserError` of one line: where, what is wrong, and what to do. YAML and JSON are read strictly:
duplicate keys, tags, aliases of themselves and NaN are refused. From top to bottom: files as text, JSON, YAML, rows of
JSON-lines files, CSV tables, values in YAML files, arguments, and addresses.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import os
import re
import reprlib
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Any

import yaml

from kn_thesis.errors import UserError
from kn_thesis.joblog import RESULTS

AGAIN = "correct it, or fetch the file again"
MAX_DEPTH = 100  # nesting of a YAML file; far below the limit of Python's own stack
MAX_ENTRIES = 1_000_000  # entries of a YAML file, where each alias counts as everything it stands for
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# The login ends at the last @ of an address's host, where urllib splits it: a password may contain an @.
LOGIN = re.compile(r"(?<=://)[^/?#\s'\"]*@")


def read_user_text(path: str | Path, missing: str = "correct the path") -> str:
    """Read a text file in UTF-8, with or without a byte-order mark.

    Args:
        path: File to read.
        missing: What to do if the file cannot be found or read, for the error message.

    Returns:
        The text without the byte-order mark.

    Raises:
        UserError: The file does not exist, cannot be read, is a folder, a pipe or a device, or is not UTF-8.
    """
    content = _read_bytes(path, missing)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: not UTF-8 (byte {error.start}); save the file as UTF-8") from None


def _read_bytes(path: str | Path, missing: str) -> bytes:
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to would block.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UserError(f"{path}: is a pipe or a device: give a regular file")
            return file.read()
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file: {missing}") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder: give a file") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{str(path)[:200]!r}: cannot be read ({reason}): {missing}") from None


def parse_json(text: str) -> Any:
    """Parse a JSON text strictly.

    Raises:
        ValueError: The text is not JSON, contains NaN or Infinity, a duplicate key or an unpaired surrogate, or is
            nested too deeply for Python. The reason is one line.
    """
    try:
        content = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if "\\u" in text:
        _check_surrogates(content)
    return content


def _unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} appears twice")
    return content


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number in JSON")


def _check_surrogates(content: Any) -> None:
    try:
        json.dumps(content, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("an unpaired surrogate, such as \\ud800") from None


def read_user_yaml(path: str | Path, missing: str = "correct the path") -> Any:
    """Read a YAML file strictly, see `parse_yaml`.

    Args:
        path: File to read.
        missing: What to do if the file cannot be found or read, for the error message.

    Returns:
        The content; None for an empty file.

    Raises:
        UserError: The file cannot be read or is not acceptable YAML.
    """
    return parse_yaml(read_user_text(path, missing), path)


def parse_yaml(text: str, path: str | Path) -> Any:
    """Parse a YAML text that contains plain values only.

    Args:
        text: The YAML text.
        path: Where the text comes from, for error messages.

    Returns:
        The content; None for an empty text.

    Raises:
        UserError: The text is not YAML, has a tag for a Python object, a duplicate key, an alias inside the node it
            stands for, too deep nesting, aliases that expand to too many entries, or a value that cannot be read.
    """
    try:
        _check_depth(text)  # first, because the steps below crash on extreme nesting
        loader = LOADER(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check_nodes(node)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        reason = " ".join(str(getattr(error, "problem", None) or error).split())[:200]
        message = reason if isinstance(error, _Refused) else f"not YAML: {reason}: correct it"
        raise UserError(f"{path}{line}: {message}") from None
    except (ValueError, TypeError) as error:  # from the constructor of an invalid number, date or key
        raise UserError(f"{path}: a value cannot be read ({' '.join(str(error).split())[:200]}): correct it") from None


class _Refused(yaml.MarkedYAMLError):
    """Valid YAML that is refused."""


def _refused(reason: str, node: yaml.Node | yaml.Event) -> _Refused:
    return _Refused(problem=reason, problem_mark=node.start_mark)


def _check_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _refused("nested too deep: write it flatter", event)


def _check_nodes(root: yaml.Node) -> None:
    """Raise a YAMLError for duplicate keys, nodes that contain themselves, and too many or too deep entries."""
    known: dict[int, tuple[int, int]] = {}  # number of entries and depth of every finished node
    path = [_OpenNode(root)]
    while path:
        child = next(path[-1].children, None)
        if child is None:
            done = path.pop()
            known[id(done.node)] = done.size, done.height
            if done.size > MAX_ENTRIES or done.height > MAX_DEPTH:
                raise _refused("aliases of aliases that stand for too much: write out what is meant", done.node)
            if path:
                path[-1].add(*known[id(done.node)])
        elif id(child) in known:
            path[-1].add(*known[id(child)])
        elif any(child is around.node for around in path):
            raise _refused("an alias inside what it stands for: write out what is meant", child)
        else:
            path.append(_OpenNode(child))


class _OpenNode:
    """A node whose children are being visited."""

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
                    raise _refused(f"the key {key.value[:60]!r} appears twice: keep one", key)
                seen.add((key.tag, key.value))
            yield key
            yield value


def read_rows(
    path: str | Path, required: Mapping[str, type], optional: Mapping[str, type | UnionType] | None = None
) -> list[dict[str, Any]]:
    """Read all rows of a JSON-lines file; empty lines are skipped.

    Args:
        path: File to read.
        required: Type of each key that every row must have. A required text must not be blank.
        optional: Types of keys that may be absent or null. Other keys are allowed unless they look like a misspelt
            optional key.

    Returns:
        The rows in the file's order.

    Raises:
        UserError: The file is missing or empty, or a line is not JSON or breaks these rules.
    """
    optional = optional or {}
    rows: list[dict[str, Any]] = []
    seen: set[tuple[str, ...]] = set()
    missing = "let the workflow make it" if _is_result(path) else "correct the path"
    for number, line in enumerate(read_user_text(path, missing).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = parse_json(line)
        except ValueError as error:
            raise UserError(f"{where}: not JSON ({error}): {AGAIN}") from None
        if not isinstance(row, dict):
            raise UserError(f"{where}: not a JSON object: {AGAIN}")
        wrong = _wrong_row(row, required, optional)
        if not wrong and tuple(row) not in seen:
            seen.add(tuple(row))
            wrong = _misspelt(row, optional)
        if wrong:
            raise UserError(f"{where}: {wrong}: {AGAIN}")
        rows.append(row)
    if not rows:
        remedy = "delete it, and the workflow makes it again" if _is_result(path) else "add a row, or remove the task"
        raise UserError(f"{path}: is empty: {remedy}")
    return rows


def _is_result(path: str | Path) -> bool:
    """Tell whether the workflow makes the file."""
    return Path(path).parts[:1] == (RESULTS,)


def _wrong_row(row: Mapping[str, Any], required: Mapping[str, type], optional: Mapping[str, type | UnionType]) -> str:
    """Say what is wrong with a row's values; "" if nothing is."""
    for key, kind in required.items():
        if not isinstance(row.get(key), kind):
            return f"needs the key {key!r} with a value of type {kind.__name__}{_hint(row, key)}"
        if kind is str and not row[key].strip():
            return f"{key!r} is blank"
    for key, kinds in optional.items():
        value = row.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
            return f"{key!r} is not text"
    for key in (*required, *optional):
        if isinstance(row.get(key), str) and any(map(_is_control, row[key])):
            return f"{key!r} contains a control character"
    return ""


def _misspelt(row: Mapping[str, Any], optional: Iterable[str]) -> str:
    return next((f"unknown key{hint}" for key in optional if (hint := _hint(row, key))), "")


def _hint(row: Mapping[str, Any], key: str) -> str:
    """Name a key of the row that may be a misspelling of `key`; "" if there is none or `key` is present."""
    close = [] if key in row else difflib.get_close_matches(key, row, n=1, cutoff=0.8)
    return f" ({close[0][:60]!r} is there: did you mean {key!r}?)" if close else ""


def _is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc" and not character.isspace()


def read_table(path: Path, columns: Sequence[str], key: Sequence[str] = ()) -> list[dict[str, str]]:
    """Read a CSV table that a person maintains.

    Args:
        path: File to read.
        columns: Names of all columns, in order.
        key: Columns whose combined values must be unique.

    Returns:
        Rows as dictionaries of stripped strings, in the file's order.

    Raises:
        UserError: The file is missing, not CSV or empty, has other columns, an incomplete row or a duplicate key.
    """
    text = read_user_text(path, f"put it back (columns {', '.join(columns)})")
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise UserError(f"{path}: not CSV ({error}): correct it") from None
    if not lines or lines[0] != list(columns):
        heading = ", ".join(lines[0]) if lines else "nothing"
        raise UserError(f"{path}: columns must be {', '.join(columns)}; found {heading}")
    rows: list[dict[str, str]] = []
    seen: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(columns):
            raise UserError(f"{path}, line {number}: {len(line)} cells, {len(columns)} expected: {','.join(line)!r}")
        if line == lines[0]:
            raise UserError(f"{path}, line {number}: the heading again; remove it")
        row = dict(zip(columns, (cell.strip() for cell in line), strict=True))
        identity = tuple(row[name] for name in key)
        if key and identity in seen:
            raise UserError(
                f"{path}, line {number}: {' '.join(identity)!r} stands in line {seen[identity]} already; remove one"
            )
        seen[identity] = number
        rows.append(row)
    if not rows:
        raise UserError(f"{path}: no rows below the heading; add some")
    return rows


def read_yaml(path: Path, keys: Iterable[str]) -> dict[str, Any]:
    """Read a YAML file whose top level has exactly these keys.

    Raises:
        UserError: The file cannot be read, or has a missing or unknown key.
    """
    content = read_user_yaml(path, "put it back")
    check_keys(content, keys, f"{path}")
    return content


def check_keys(entry: Any, required: Iterable[str], where: str, optional: Iterable[str] = ()) -> None:
    """Check the keys of a mapping.

    Args:
        entry: Value to check.
        required: Keys that must be present.
        where: File and place, for error messages.
        optional: Keys that may be present; no others may.

    Raises:
        UserError: `entry` is not a mapping, or has a missing or unknown key.
    """
    required, optional = list(required), list(optional)
    if not isinstance(entry, Mapping):
        raise UserError(f"{where}: must be a mapping with the keys {', '.join(required)}")
    missing = [key for key in required if key not in entry]
    if missing:
        raise UserError(f"{where}: {missing[0]!r} is missing; needed: {', '.join(required)}")
    unknown = [key for key in entry if key not in required and key not in optional]
    if unknown:
        raise UserError(f"{where}: unknown key {_short(unknown[0])}; allowed: {', '.join([*required, *optional])}")


def text_of(value: Any, where: str) -> str:
    """Return `value` if it is text that is not blank; raise `UserError` otherwise."""
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where}: {_short(value)} is not allowed; it must be text")
    return value


def texts_of(value: Any, where: str) -> list[str]:
    """Return `value` if it is a list of texts that are not blank; raise `UserError` otherwise."""
    if not isinstance(value, list):
        raise UserError(f"{where}: {_short(value)} is not allowed; it must be a list")
    return [text_of(item, where) for item in value]


def entries_of(value: Any, where: str) -> Mapping[str, Any]:
    """Return `value` if it is a mapping of names that is not empty; raise `UserError` otherwise."""
    if not isinstance(value, Mapping) or not value:
        raise UserError(f"{where}: {_short(value)} is not allowed; it must have `name: …` entries")
    for name in value:
        text_of(name, f"{where}, a name")
    return value


def one_of(value: str, allowed: Iterable[str], where: str) -> str:
    """Return `value` if it is among `allowed`; raise `UserError` with the allowed values otherwise."""
    allowed = list(allowed)
    if value not in allowed:
        names = ", ".join(name or "(empty)" for name in allowed)
        listing = names if len(names) <= 300 else names[:297] + "..."
        raise UserError(f"{where}: {_short(value)} is not allowed; allowed: {listing}")
    return value


def number_between(value: Any, low: float, high: float, where: str) -> float:
    """Return `value` as a float if it is a number within [low, high]; raise `UserError` otherwise."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{where}: {_short(value)} is not a number; allowed: {low:g} to {high:g}") from None
    if isinstance(value, bool) or not low <= number <= high:
        raise UserError(f"{where}: {_short(value)} is out of range; allowed: {low:g} to {high:g}")
    return number


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def checked_text(name: str, value: Any) -> str:
    """Check that an argument is a text that tokenizers accept.

    Args:
        name: Name of the argument, for error messages.
        value: Its value.

    Returns:
        The value as a plain `str`.

    Raises:
        UserError: The value is not a text or contains an unpaired surrogate.
    """
    if not isinstance(value, str):
        raise UserError(f"{name} is {in_one_line(value)}: give a text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        half = value[error.start]
        raise UserError(f"{name} has an unpaired surrogate, {half!r}, at {error.start}: remove it") from None
    return str(value)


def checked_list(name: str, values: Any, least: int = 0, of: str = "") -> list[Any]:
    """Check that an argument is a list, a tuple, an array, a column of a table or another ordered collection.

    Args:
        name: Name of the argument, for error messages.
        values: Its value.
        least: Minimum number of entries, 0 or 1.
        of: Description of the entries for error messages, such as " of texts".

    Returns:
        The entries in order.

    Raises:
        UserError: The value is a text, another single value, a dictionary, a set or a whole table, or has too few
            entries.
    """
    wanted = "a list with at least one entry" if least else f"a list{of}"
    if isinstance(values, str | bytes):
        raise UserError(f"{name} is {wanted}: put a single one in brackets")
    dimensions = getattr(values, "ndim", 1)
    if not isinstance(values, Iterable) or isinstance(values, Mapping | set | frozenset) or dimensions != 1:
        raise UserError(f"{name} is {in_one_line(values)}: give {wanted}")
    entries = list(values)
    if len(entries) < least:
        raise UserError(f"{name} is {wanted}: it is empty")
    return entries


def checked_texts(name: str, values: Any, least: int = 0) -> list[str]:
    """Check that an argument is a list of texts.

    Args:
        name: Name of the argument, for error messages.
        values: Its value.
        least: Minimum number of entries, 0 or 1.

    Returns:
        The texts in order.

    Raises:
        UserError: See `checked_list` and `checked_text`; the message gives the entry's index.
    """
    entries = checked_list(name, values, least, of=" of texts")
    return [checked_text(f"{name}: entry {number}", value) for number, value in enumerate(entries)]


def checked_whole(name: str, value: Any, least: int | None = None) -> int:
    """Check that an argument is an integer.

    Args:
        name: Name of the argument, for error messages.
        value: Its value, an integer of Python or numpy.
        least: Minimum value; None for no limit.

    Returns:
        The value as a plain `int`.

    Raises:
        UserError: The value is not an integer or is too small.
    """
    if not is_whole(value, least):
        raise UserError(
            f"{name} is {in_one_line(value)}: give a whole number{'' if least is None else f', {least} or more'}"
        )
    return int(value)


def is_whole(value: Any, least: int | None = None) -> bool:
    """Tell whether a value is an integer (of Python or numpy, not a boolean) of at least `least`."""
    return isinstance(value, Integral) and not isinstance(value, bool) and (least is None or value >= least)


def checked_share(name: str, value: Any) -> float:
    """Return a number in [0, 1) as a float; raise `UserError` for anything else."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise UserError(f"{name} is {in_one_line(value)}: give a number")
    if not 0 <= value < 1:
        raise UserError(f"{name} must be at least 0 and below 1, got {value}")
    return float(value)


def in_one_line(value: Any) -> str:
    """Abbreviate the representation of a value to one line of at most 80 characters."""
    text = " ".join(reprlib.repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def without_login(text: str) -> str:
    """Remove `name:password@` from every address in a text, for logs, results and pages."""
    return LOGIN.sub("", text)
