"""What the study ran with: packages, platform, the project's commit. No names of people, hosts or folders."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("snakemake", "torch", "transformers", "datasets", "tokenizers", "pandas", "numpy", "scipy", "statsmodels")
UNVERSIONED = "not under version control"


def versions() -> dict[str, str]:
    """Version of each package that is installed where the report is built."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def machine() -> dict[str, Any]:
    """Python's version, system, processor and number of CPUs."""
    system = platform.system()
    with contextlib.suppress(OSError):
        system = platform.freedesktop_os_release().get("PRETTY_NAME", system)
    return {
        "python": platform.python_version(),
        "system": system,
        "processor": platform.machine(),
        "cpus": os.cpu_count(),
    }


def project(folder: str | Path) -> dict[str, Any]:
    """The commit of the project in `folder`, and the number of files changed since and of files that are not in it.

    All are None when there is no git, or when the folder is in no repository, or in one that it is no part of.
    """
    unknown = {"commit": None, "changed": None, "added": None}
    if _git(folder, "ls-files", "--error-unmatch", "workflow/Snakefile") is None:
        return unknown
    commit, state = _git(folder, "rev-parse", "HEAD"), _git(folder, "status", "--porcelain", "--", ".")
    if commit is None or state is None:
        return unknown
    lines = state.splitlines()
    added = sum(line.startswith("??") for line in lines)
    return {"commit": commit.strip(), "changed": len(lines) - added, "added": added}


def say_project(found: dict[str, Any]) -> str:
    """The commit in words, and whether the files that ran are those of the commit."""
    if found["commit"] is None:
        return UNVERSIONED
    parts = [(found["changed"], "changed"), (found["added"], "not in it")]
    differing = ", ".join(f"{number} file{'s' * (number != 1)} {what}" for number, what in parts if number)
    return f"{found['commit']} ({differing or 'the files are those of the commit'})"


def _git(folder: str | Path, *arguments: str) -> str | None:
    """What git says, or None. It takes no lock and looks at no repository but the folder's."""
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    surroundings["GIT_OPTIONAL_LOCKS"] = "0"
    try:
        command = ["git", "-C", str(folder), *arguments]  # whichever git the user has
        done = subprocess.run(  # noqa: S603 - fixed questions
            command, capture_output=True, text=True, env=surroundings, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
