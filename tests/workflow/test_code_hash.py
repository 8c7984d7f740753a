"""The hash that reruns a rule when code that it imports changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from kn_thesis.code_hash import code_hash, imported_packages, locked_versions, reached_modules

TYPED = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from package.inner.typed import value\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    package = tmp_path / "package"
    (package / "inner").mkdir(parents=True)
    (tmp_path / "script.py").write_text("def late():\n    from package.inner.near import thing\n")
    (package / "__init__.py").write_text('"""Package."""\n')
    (package / "inner" / "__init__.py").write_text("")
    (package / "inner" / "near.py").write_text(
        "from . import far\nimport json\nimport yaml\nthing = far.value\n" + TYPED
    )
    (package / "inner" / "typed.py").write_text("value = 1\n")
    (package / "inner" / "far.py").write_text('"""Far."""\nvalue = 1  # comment\n')
    (package / "other.py").write_text("import torch\nvalue = 2\n")
    (tmp_path / "lock.txt").write_text("PyYAML==6.0.3 \\\n    --hash=sha256:00\ntorch==2.13.0\n")
    return tmp_path


def fresh(tree: Path) -> str:
    from kn_thesis import code_hash as module

    for cached in vars(module).values():
        if hasattr(cached, "cache_clear"):
            cached.cache_clear()
    return code_hash(tree / "script.py", tree, tree / "lock.txt")


def test_imports_are_followed_however_late_and_relative(tree: Path) -> None:
    names = {path.name for path in reached_modules(tree / "script.py", tree)}
    assert names == {"script.py", "__init__.py", "near.py", "far.py"}


@pytest.mark.parametrize(
    ("file", "text", "moves"),
    [
        ("package/inner/far.py", "value = 3\n", True),
        ("package/inner/far.py", '"""Else."""\n\n\nvalue = 1\n', False),
        ("package/other.py", "value = 3\n", False),
        ("package/__init__.py", "side = 1\n", True),
        ("lock.txt", "PyYAML==6.0.4\ntorch==2.13.0\n", True),
        ("lock.txt", "# comment\nPyYAML==6.0.3\ntorch==2.14.0\n", False),
        ("script.py", "def late():\n    from package.other import value\n", True),
        ("package/inner/typed.py", "value = 3\n", False),
    ],
)
def test_the_hash_moves_with_meaning(tree: Path, file: str, text: str, moves: bool) -> None:
    before = fresh(tree)
    (tree / file).write_text(text)
    assert (fresh(tree) != before) == moves


def test_every_package_that_a_rule_s_code_imports_is_in_the_lock() -> None:
    scripts = Path(__file__).parents[2] / "scripts"
    locked = locked_versions(scripts.parent / "envs/requirements.txt")
    assert {"torch", "pyyaml", "huggingface-hub"} <= locked.keys()
    for script in (path for path in scripts.glob("*.py") if not path.name.startswith("bench_")):  # these import tests
        missing = imported_packages(script, scripts) - locked.keys()
        assert not missing, f"{script.name}: {missing}"
