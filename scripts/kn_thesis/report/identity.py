"""Whether two runs of one study gave the same files, byte for byte."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

# What says how long things took, when, and on which machine; the archive holds the page on provenance.
OF_THE_RUN = ("logs", "benchmarks", "report/provenance.html", "provenance.json", "report.zip")


@dataclass(frozen=True)
class Identity:
    """alike: how many files are the same, by the folder of results that they lie in. different: paths of the others.

    missing: paths that only one of the two runs has.
    """

    alike: dict[str, int]
    different: list[str]
    missing: list[str]

    @property
    def whole(self) -> bool:
        """Whether nothing differs and nothing is missing; two empty folders are not the same run."""
        return bool(self.alike) and not self.different and not self.missing


def file_sums(results: Path) -> dict[str, str]:
    """sha256 of every file of a run's results but `OF_THE_RUN` and hidden ones, by its path inside `results`."""
    sums = {}
    for path in sorted(results.rglob("*")):
        name = path.relative_to(results).as_posix()
        own = any(name == part or name.startswith(f"{part}/") for part in OF_THE_RUN)
        hidden = any(part.startswith(".") for part in Path(name).parts)
        if path.is_file() and not own and not hidden:
            with path.open("rb") as file:
                sums[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums


def compare_runs(first: Path, second: Path) -> Identity:
    """Hold two folders of results against each other."""
    one, other = file_sums(first), file_sums(second)
    both = sorted(one.keys() & other.keys())
    alike = Counter(name.split("/")[0] if "/" in name else "." for name in both if one[name] == other[name])
    return Identity(
        dict(sorted(alike.items())), [x for x in both if one[x] != other[x]], sorted(one.keys() ^ other.keys())
    )
