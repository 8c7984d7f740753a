"""Write the lock, envs/*.txt, from envs/*.in: exact versions, and the sha256 of every file of each release.

`python scripts/write_lock.py` keeps the versions that the lock has and adds what is missing; with `--upgrade` it takes
the newest ones, with `--upgrade-package NAME` the newest of one package. `uv` resolves for Linux and macOS and all
versions of Python at once: `pip install --no-deps --require-hashes -r envs/tools.txt` brings it.

requirements.txt is for everybody. cpu.txt holds builds of torch without CUDA, which go first where pip finds them;
cuda.txt holds what PyPI's torch for Linux needs beside it. slurm.txt and tools.txt go on top of requirements.txt.
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

from kn_thesis.errors import UserError

ENVS = Path(__file__).parents[1] / "envs"
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
    """One release of the lock: `name==version`, where it is needed (empty: everywhere), sha256 sums in hex."""

    release: str
    marker: str
    sums: tuple[str, ...]

    @property
    def name(self) -> str:
        """The package's name as registries spell it."""
        return canonicalize_name(self.release.partition("==")[0])

    @property
    def wanted(self) -> bool:
        """Whether any machine that a study runs on needs it."""
        return not self.marker or any(Marker(self.marker).evaluate(dict(machine)) for machine in MACHINES)

    def text(self) -> str:
        """The entry as pip reads it."""
        head = self.release + (f" ; {self.marker}" if self.marker else "")
        return " \\\n    ".join([head, *(f"--hash=sha256:{key}" for key in sorted(self.sums))])


# PyPI has no such build: it lies on download.pytorch.org. This one: CPython 3.11, Linux, x86-64.
TORCH_CPU = Entry("torch==2.13.0+cpu", "", ("6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",))


def read_lock(text: str) -> list[Entry]:
    """The entries of a lock; raises ValueError for a line that is none."""
    entries = []
    for line in re.sub(r"(?m)^\s*#.*\n?", "", text).replace("\\\n", " ").splitlines():
        found = re.fullmatch(r"([\w.-]+==[\w.+!]+)(?: ; ([^#]+?))?((?:\s+--hash=sha256:[0-9a-f]{64})+)\s*", line)
        if not found:
            raise ValueError(f"no entry of a lock: {line.strip()!r}")
        sums = tuple(re.findall(r"sha256:([0-9a-f]{64})", found[3]))
        entries.append(Entry(found[1], found[2] or "", sums))
    return entries


def resolve(name: str, arguments: list[str], known: list[Path]) -> list[Entry]:
    """What envs/NAME.in needs, of the versions in the files `known` unless `arguments` say otherwise."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "lock.txt"
        made.write_text("".join(path.read_text() for path in known if path.is_file()))
        command = [sys.executable, "-m", "uv", "--quiet", "pip", "compile", "--universal", "--python-version", "3.11"]
        options = ["--generate-hashes", "--no-header", "--no-annotate", "--output-file", str(made)]
        done = subprocess.run(  # noqa: S603 - uv, with what its caller typed
            [*command, *options, *arguments, f"envs/{name}.in"], cwd=ENVS.parent, text=True, stderr=subprocess.PIPE
        )
        if done.returncode:
            raise UserError(f"envs/{name}.in cannot be resolved: {done.stderr.strip()}")
        return [entry for entry in read_lock(made.read_text()) if entry.wanted]


def write(name: str, entries: list[Entry]) -> None:
    """Write envs/NAME.txt."""
    text = "\n".join(entry.text() for entry in sorted(entries, key=lambda entry: entry.name))
    (ENVS / f"{name}.txt").write_text(f"# {HEADS[name]}\n# Made by scripts/write_lock.py.\n{text}\n")


def main(arguments: list[str]) -> None:
    """Write all files of the lock; `arguments` go to uv."""
    lock = [ENVS / "requirements.txt", ENVS / "cuda.txt"]
    everything = resolve("requirements", arguments, lock)
    write("requirements", [entry for entry in everything if not CUDA.match(entry.name)])
    write("cpu", [TORCH_CPU])
    write("cuda", [entry for entry in everything if CUDA.match(entry.name)])
    names = {entry.name for entry in everything}
    for name in ("slurm", "tools"):
        held = [option for path in lock for option in ("--constraint", str(path))]
        more = resolve(name, [*arguments, *held], [ENVS / f"{name}.txt"])
        write(name, [entry for entry in more if entry.name not in names])


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
