"""Code blocks of the README and of docs/, and a folder in which their shell commands run as a reader gives them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
README = PAGES["README.md"]


def blocks(language: str, heading: str = "") -> list[str]:
    """All blocks of a language on all pages, or those under the one heading with these words, at any level."""
    texts = list(PAGES.values())
    if heading:
        parts = [
            part for text in texts for part in re.split(rf"^#+ {re.escape(heading)}\n", text, flags=re.MULTILINE)[1:]
        ]
        assert len(parts) == 1, f"{len(parts)} headings {heading!r} on all pages"
        texts = [re.split(r"^#+ ", parts[0], flags=re.MULTILINE)[0]]
    return [block for text in texts for block in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)]


def commands(block: str) -> list[str]:
    """The commands of a shell block, a line each, without comments."""
    lines = (re.sub(r"(^|\s+)#.*", "", line).strip() for line in block.splitlines())
    return [line for line in lines if line]


def with_environment(folder: Path) -> Path:
    """The folder with a .venv as `make` leaves it: the programs that run the tests, said to be installed."""
    (folder / ".venv").mkdir()
    for part in Path(sys.executable).parents[1].iterdir():
        if part.name != "installed":
            (folder / ".venv" / part.name).symlink_to(part)
    (folder / ".venv/installed").touch()
    return folder


def shell(folder: Path, lines: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run lines of shell in a folder that has its .venv activated; the first that fails ends it."""
    path = os.pathsep.join([*environment.pop("PATH", "").split(), str(folder / ".venv/bin"), os.environ["PATH"]])
    # The copy is no repository, even where the folder of the tests lies in one.
    fixed = {"PATH": path, "GIT_CEILING_DIRECTORIES": str(folder.parent), "PYTHONPATH": ""}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines],
        cwd=folder,
        env=os.environ | fixed | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def succeeds(folder: Path, lines: str, **environment: str) -> str:
    """What the lines print; fails with their own words."""
    done = shell(folder, lines, **environment)
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def added(study: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """A study with the lines that a reader adds: sections are entered, lists grow, values are set."""
    result = dict(study)
    for key, value in more.items():
        if isinstance(value, Mapping):
            result[key] = added(result.get(key, {}), value)
        elif isinstance(value, list):
            result[key] = [*result.get(key, []), *value]
        else:
            result[key] = value
    return result
