"""The code a result comes from: one hash over a script and every local module that it imports, directly or not.

Snakemake's own code trigger looks at a script's modification time and at no module. This hash is over the syntax
tree without docstrings, so it moves with meaning and not with comments, layout or a fresh checkout's times; and over
the locked versions of the packages that this code imports itself.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

DISTRIBUTIONS = {"yaml": "pyyaml", "google": "protobuf"}  # packages whose name in an import is not the one in the lock


@functools.cache
def code_hash(script: Path, root: Path, lock: Path | None = None) -> str:
    """Hash (16 hex digits) of `script` and of all modules below `root` that it reaches through imports.

    `script` is a Python file or a notebook (its sources count, its outputs and metadata do not). lock: a file of
    requirements; the versions in it of the packages that this code imports count, too.
    Raises FileNotFoundError when the script does not exist.
    """
    digest = hashlib.sha256()
    for path in sorted(reached_modules(script, root)):
        digest.update(path.name.encode())
        digest.update(_parsed(path).meaning)
    if lock:
        pins = locked_versions(lock)
        for package in sorted(imported_packages(script, root) & pins.keys()):
            digest.update(f"{package}=={pins[package]}".encode())
    return digest.hexdigest()[:16]


@functools.cache
def locked_versions(lock: Path) -> dict[str, str]:
    """Version by package of a file of requirements (`name==version` at the start of a line)."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock.read_text(encoding="utf-8"), re.MULTILINE)
    return {_normal(name): version for name, version in found}


def imported_packages(script: Path, root: Path) -> set[str]:
    """Packages from elsewhere that `script` or a local module that it reaches imports, as locks call them."""
    names = {name for path in reached_modules(script, root) for name in _named(path, root)}
    tops = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names)
    return {_normal(DISTRIBUTIONS.get(name, name)) for name in tops if name and not _files(name, root)}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def reached_modules(script: Path, root: Path) -> set[Path]:
    """`script` and the files below `root` that importing it would load, late imports included."""
    reached: set[Path] = set()
    waiting = [script]
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            waiting.extend(_imports(path, root))
    return reached


class _Parsed(NamedTuple):
    """One file: what it says, without comments, layout and docstrings (a notebook: its cells' sources), and imports."""

    meaning: bytes
    imports: list[ast.Import | ast.ImportFrom]


@functools.cache
def _parsed(path: Path) -> _Parsed:
    """Each file is read and parsed once, and its tree not kept: that is most of what a hash takes."""
    text, notebook = path.read_text(encoding="utf-8"), path.suffix == ".ipynb"
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]] if notebook else []
    tree = ast.parse("\n".join(source for kind, source in cells if kind == "code") if notebook else text)
    imports = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.append(node)
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    return _Parsed((json.dumps(cells) if notebook else ast.dump(tree)).encode(), imports)


@functools.cache
def _imports(path: Path, root: Path) -> frozenset[Path]:
    """Local files that the import statements of one file name."""
    return frozenset(file for name in _named(path, root) for file in _files(name, root))


@functools.cache
def _named(path: Path, root: Path) -> frozenset[str]:
    """Dotted names in the import statements of one file, with what is imported from each."""
    names: set[str] = set()
    package = _dotted(path, root).rsplit(".", 1)[0] if path.is_relative_to(root) else ""
    if path.name == "__init__.py":
        package = _dotted(path, root)
    for node in _parsed(path).imports:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        else:
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return frozenset(names)


def _dotted(path: Path, root: Path) -> str:
    parts = list(path.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def _files(module: str, root: Path) -> list[Path]:
    """The module's own file and the `__init__.py` of every package above it, as far as they are local."""
    parts = module.split(".")
    found = []
    for length in range(1, len(parts) + 1):
        base = root.joinpath(*parts[:length])
        found += [file for file in (base / "__init__.py", base.with_suffix(".py")) if file.is_file()]
    return found
