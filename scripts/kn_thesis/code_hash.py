"""Hash the code that a result depends on: a script, every local module that it imports, and the packages' versions.

Snakemake's own code trigger sees a script's modification time and no module. This hash covers the syntax trees without
docstrings, so it changes with the code and not with comments, layout or the times of a fresh checkout. It also covers
the locked versions of the packages that the code imports directly.
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

DISTRIBUTIONS = {"yaml": "pyyaml", "google": "protobuf"}  # lock file's name by import name, where they differ


@functools.cache
def code_hash(script: Path, root: Path, lock: Path | None = None) -> str:
    """Hash a script and all local modules that it imports, directly or indirectly.

    Args:
        script: Python file or notebook. A notebook's cell sources count; its outputs and metadata do not.
        root: Folder that local modules are imported from.
        lock: Requirements file; the locked versions of the packages that the code imports are hashed too.

    Returns:
        16 hexadecimal digits.

    Raises:
        FileNotFoundError: The script does not exist.
    """
    digest = hashlib.sha256()
    for path in sorted(reached_modules(script, root)):
        digest.update(path.name.encode())
        digest.update(_parse(path).meaning)
    if lock:
        pins = locked_versions(lock)
        for package in sorted(imported_packages(script, root) & pins.keys()):
            digest.update(f"{package}=={pins[package]}".encode())
    return digest.hexdigest()[:16]


def reached_modules(script: Path, root: Path) -> set[Path]:
    """Find the files that running a script may load, the script included.

    Args:
        script: Python file or notebook.
        root: Folder that local modules are imported from.

    Returns:
        Paths of the script and the local modules. Imports under TYPE_CHECKING do not count.
    """
    reached: set[Path] = set()
    waiting = [script]
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            waiting.extend(_imports(path, root))
    return reached


def imported_packages(script: Path, root: Path) -> set[str]:
    """Find the third-party packages that a script and its local modules import.

    Args:
        script: Python file or notebook.
        root: Folder that local modules are imported from.

    Returns:
        Normalized distribution names, as in lock files.
    """
    names = {name for path in reached_modules(script, root) for name in _imported_names(path, root)}
    tops = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names)
    return {_normalize(DISTRIBUTIONS.get(name, name)) for name in tops if name and not _files(name, root)}


@functools.cache
def locked_versions(lock: Path) -> dict[str, str]:
    """Read the versions in a requirements file (lines that begin with `name==version`) by normalized name."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock.read_text(encoding="utf-8"), re.MULTILINE)
    return {_normalize(name): version for name, version in pins}


def _normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


class _Parsed(NamedTuple):
    """One parsed file.

    Attributes:
        meaning: Syntax tree without docstrings, or the cell sources of a notebook.
        imports: Import statements that run.
    """

    meaning: bytes
    imports: list[ast.Import | ast.ImportFrom]


@functools.cache
def _parse(path: Path) -> _Parsed:
    """Read and parse a file once; the tree is not kept, because parsing takes most of the time of a hash."""
    text, notebook = path.read_text(encoding="utf-8"), path.suffix == ".ipynb"
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]] if notebook else []
    tree = ast.parse("\n".join(source for kind, source in cells if kind == "code") if notebook else text)
    imports = []
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue  # imports for type checkers run nothing
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
        waiting.extend(ast.iter_child_nodes(node))
    return _Parsed((json.dumps(cells) if notebook else ast.dump(tree)).encode(), imports)


@functools.cache
def _imports(path: Path, root: Path) -> frozenset[Path]:
    """Find the local files that the import statements of one file name."""
    return frozenset(file for name in _imported_names(path, root) for file in _files(name, root))


@functools.cache
def _imported_names(path: Path, root: Path) -> frozenset[str]:
    """List the dotted names in the import statements of one file, with the names imported from each module."""
    names: set[str] = set()
    package = _dotted(path, root).rsplit(".", 1)[0] if path.is_relative_to(root) else ""
    if path.name == "__init__.py":
        package = _dotted(path, root)
    for node in _parse(path).imports:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        else:
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return frozenset(names)


def _dotted(path: Path, root: Path) -> str:
    """Give the dotted module name of a file below `root`."""
    parts = list(path.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def _files(module: str, root: Path) -> list[Path]:
    """List a module's local file and the `__init__.py` of every local package above it."""
    parts = module.split(".")
    files = []
    for length in range(1, len(parts) + 1):
        base = root.joinpath(*parts[:length])
        files += [file for file in (base / "__init__.py", base.with_suffix(".py")) if file.is_file()]
    return files
