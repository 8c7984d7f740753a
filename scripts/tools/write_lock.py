"""Write the lock, envs/*.txt, from envs/*.in: exact versions, and the SHA-256 of every file of each release.

`python scripts/tools/write_lock.py` keeps the lock's versions and adds missing packages. `--upgrade` takes the newest
versions, `--upgrade-package NAME` the newest one of a package. `uv` resolves for Linux, macOS and all versions of
Python together; `pip install --no-deps --require-hashes -r envs/tools.txt` installs it.

All installations need requirements.txt. cpu.txt has builds of torch without CUDA, and is installed first where pip
finds them. cuda.txt has the libraries that PyPI's torch needs on Linux. slurm.txt and tools.txt extend
requirements.txt.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.utils import canonicalize_name

import _path  # noqa: F401
from kn_thesis.errors import UserError

ENVS = Path(__file__).resolve().parents[2] / "envs"
INSTALL = "pip install --no-deps --require-hashes -r envs/"
HEADS = {
    "requirements": f"The lock: {INSTALL}requirements.txt\n"
    "# PyPI's torch for Linux needs cuda.txt, too: `pip check` says so. `make` does all this.",
    "cpu": f"torch without CUDA, where pip is told of an index of CPU builds: {INSTALL}cpu.txt",
    "cuda": f"CUDA's libraries, for PyPI's torch on Linux: {INSTALL}cuda.txt",
    "slurm": f"What Snakemake needs to send jobs to SLURM, beside the lock: {INSTALL}slurm.txt",
    "tools": f"Tools beside the lock that no study needs: {INSTALL}tools.txt",
}
CUDA = re.compile(r"cuda-|nvidia-|triton$")
MACHINES = [
    {
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "os_name": "posix",
        "sys_platform": system.lower(),
        "platform_system": system,
        "platform_machine": machine,
        "python_version": version,
        "python_full_version": f"{version}.0",
    }
    for system, machine in (("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "arm64"))
    for version in ("3.11", "3.12", "3.13")
]


@dataclass(frozen=True)
class Entry:
    """One release of the lock.

    Attributes:
        release: `name==version`.
        marker: environment marker of the machines that need it; empty for all.
        checksums: SHA-256 checksums in hex.
    """

    release: str
    marker: str
    checksums: tuple[str, ...]

    @property
    def name(self) -> str:
        """The package's name as registries spell it."""
        return canonicalize_name(self.release.partition("==")[0])

    @property
    def is_needed(self) -> bool:
        """Whether any machine that studies run on needs it."""
        return not self.marker or any(Marker(self.marker).evaluate(dict(machine)) for machine in MACHINES)

    def text(self) -> str:
        """The entry as pip reads it."""
        head = self.release + (f" ; {self.marker}" if self.marker else "")
        return " \\\n    ".join([head, *(f"--hash=sha256:{key}" for key in sorted(self.checksums))])


# A build that is not on PyPI but on download.pytorch.org, for CPython 3.11, Linux and x86-64.
TORCH_CPU = Entry("torch==2.13.0+cpu", "", ("6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",))


def read_lock(text: str) -> list[Entry]:
    """Parse a lock.

    Raises:
        ValueError: a line is not an entry.
    """
    entries = []
    for line in re.sub(r"(?m)^\s*#.*\n?", "", text).replace("\\\n", " ").splitlines():
        match = re.fullmatch(r"([\w.-]+==[\w.+!]+)(?: ; ([^#]+?))?((?:\s+--hash=sha256:[0-9a-f]{64})+)\s*", line)
        if not match:
            raise ValueError(f"no entry of a lock: {line.strip()!r}")
        checksums = tuple(re.findall(r"sha256:([0-9a-f]{64})", match[3]))
        entries.append(Entry(match[1], match[2] or "", checksums))
    return entries


def resolve(name: str, arguments: list[str], known: list[Path]) -> list[Entry]:
    """Resolve envs/NAME.in with uv.

    Args:
        name: of the file.
        arguments: further options of uv.
        known: locks whose versions are kept where the options allow it.

    Raises:
        UserError: the file cannot be resolved.
    """
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder) / "lock.txt"
        lock.write_text("".join(path.read_text() for path in known if path.is_file()))
        command = [sys.executable, "-m", "uv", "--quiet", "pip", "compile", "--universal", "--python-version", "3.11"]
        options = ["--generate-hashes", "--no-header", "--no-annotate", "--output-file", str(lock)]
        result = subprocess.run(  # noqa: S603 - uv, with its caller's options
            [*command, *options, *arguments, f"envs/{name}.in"], cwd=ENVS.parent, text=True, stderr=subprocess.PIPE
        )
        if result.returncode:
            raise UserError(f"envs/{name}.in cannot be resolved: {result.stderr.strip()}")
        return [entry for entry in read_lock(lock.read_text()) if entry.is_needed]


def write(name: str, entries: list[Entry]) -> None:
    """Write envs/NAME.txt."""
    text = "\n".join(entry.text() for entry in sorted(entries, key=lambda entry: entry.name))
    (ENVS / f"{name}.txt").write_text(f"# {HEADS[name]}\n# Made by scripts/tools/write_lock.py.\n{text}\n")


def main(arguments: list[str]) -> None:
    """Write all files of the lock; `arguments` are options of uv."""
    lock = [ENVS / "requirements.txt", ENVS / "cuda.txt"]
    everything = resolve("requirements", arguments, lock)
    write("requirements", [entry for entry in everything if not CUDA.match(entry.name)])
    write("cpu", [TORCH_CPU])
    write("cuda", [entry for entry in everything if CUDA.match(entry.name)])
    names = {entry.name for entry in everything}
    for name in ("slurm", "tools"):
        constraints = [option for path in lock for option in ("--constraint", str(path))]
        more = resolve(name, [*arguments, *constraints], [ENVS / f"{name}.txt"])
        write(name, [entry for entry in more if entry.name not in names])


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
