"""Read the tables of a run to be compared, and check whether two runs gave the same files byte for byte.

`two_runs` reads both sides of a comparison. A side is a folder of results (`read_run`) or the published values
(`published_run`). `compare_runs` compares two folders of results by the checksums of their files.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from kn_thesis.errors import UserError
from kn_thesis.files import read_words
from kn_thesis.joblog import cut_off
from kn_thesis.report.comparison.registry import TABLES

PUBLISHED = "published"  # names the published values as one side of a comparison
LOCALIZED = ("KN", "tau", "R2_1")
# Files that depend on time or machine; the archive holds the provenance page.
OF_THE_RUN = ("logs", "benchmarks", "report/provenance.html", "provenance.json", "report.zip")


@dataclass(frozen=True)
class Run:
    """One side of a comparison.

    Attributes:
        name: the run as the user named it.
        folder: folder of its tables; None for the published values.
        tables: its tables by name.
        digests: sha256 of their files by name.
    """

    name: str
    folder: Path | None
    tables: dict[str, pd.DataFrame]
    digests: dict[str, str]

    @property
    def models(self) -> dict[str, str]:
        """Family by model ("" where no table says it), in alphabetical order.

        claims.csv also has rows over all models: its column `model` counts only if no other table has such a column.
        """
        named = {name: table for name, table in self.tables.items() if "model" in table.columns}
        tables = [table for name, table in named.items() if name != "claims"] or list(named.values())
        families = dict.fromkeys((str(model) for table in tables for model in table["model"].dropna()), "")
        for table in tables:
            if "family" in table.columns:
                rows = table[["model", "family"]].dropna().drop_duplicates()
                families |= dict(zip(rows["model"].astype(str), rows["family"].astype(str), strict=True))
        return dict(sorted(families.items()))


def two_runs(first: str, second: str, within: bool, published: Mapping[str, Any]) -> tuple[Run, Run]:
    """Read both sides of a comparison.

    Args:
        first: a folder as `table_folder` takes it, or `published`.
        second: the same of the other side.
        within: whether models of one run are compared, so that both sides may be the same folder.
        published: resources/published.yaml.

    Returns:
        Both runs.

    Raises:
        UserError: there is nothing to compare, or as `read_run` does.
    """
    usage = "usage: make compare A=results-of-one-run B=results-of-another (or B=published)"
    names = (first, second)
    for name in names:
        if not name.strip():
            raise UserError(usage)
    if first == second == PUBLISHED:
        raise UserError(f"both are the published values: nothing to compare; {usage}")
    folders = [None if name == PUBLISHED else table_folder(name).resolve() for name in names]
    if folders[0] == folders[1] and not within:
        raise UserError(
            f"{first} and {second} are the same folder; name another run, or two models of this one, "
            'such as ARGS="--models bert=bert-swapped"'
        )
    runs = [published_run(published) if name == PUBLISHED else read_run(name) for name in names]
    return runs[0], runs[1]


def read_run(name: str) -> Run:
    """Read all CSV tables of a run.

    Args:
        name: a folder as `table_folder` takes it.

    Returns:
        The run.

    Raises:
        UserError: there are no tables, one cannot be read, or one lacks a key column or holds text for numbers.
    """
    folder = table_folder(name)
    tables: dict[str, pd.DataFrame] = {}
    digests = {}
    for path in sorted(folder.glob("*.csv")):
        try:
            if reason := cut_off(path):  # pandas might still read it, as a table with fewer rows
                raise ValueError(reason)
            tables[path.stem] = read_words(path)
            digests[path.stem] = _checksum(path)
        except (OSError, ValueError) as error:  # pandas' parsing errors are ValueErrors
            reason = str(error).strip().split("\n")[0]
            raise UserError(
                f"{path}: not a readable CSV table ({reason}); run the study again, or copy the whole file"
            ) from error
        _check_columns(path, tables[path.stem])
    return Run(name, folder, tables, digests)


def table_folder(name: str) -> Path:
    """Find the folder of CSV tables of a run.

    Args:
        name: a folder that holds tables, or `tables/`, or `results/tables/`.

    Returns:
        The folder of the tables.

    Raises:
        UserError: none of these folders holds a CSV file.
    """
    root = Path(name)
    if not root.exists():
        raise UserError(f"{name}: there is no such folder; name a results folder of a finished run, or `published`")
    for folder in (root / "tables", root / "results" / "tables", root):
        if folder.is_dir() and any(folder.glob("*.csv")):
            return folder
    raise UserError(f"{name}: no tables (*.csv) there, nor in tables/ or results/tables/ below; has the run finished?")


def _check_columns(path: Path, table: pd.DataFrame) -> None:
    """Raise UserError unless a known table has its key columns, and numbers in its measures."""
    known = TABLES.get(path.stem)
    if known is None:
        return
    for column in known.key:
        if column not in table.columns:
            raise UserError(
                f"{path}: the column {column} is missing, which identifies its rows; is this table complete?"
            )
    for measure in known.measures:
        for column in sorted(measure.all_columns):
            if column in table.columns and len(table) and not pd.api.types.is_numeric_dtype(table[column]):
                raise UserError(f"{path}: the column {column} does not hold numbers; is this table complete?")


def published_run(published: Mapping[str, Any]) -> Run:
    """Arrange published values as the tables localization and accuracy (as shares; neurons of the number erased).

    Args:
        published: resources/published.yaml.

    Returns:
        The values that name a model, a task and a place, as a run.
    """
    localization, accuracy = published["localization"], published["accuracy"]
    tables = {
        "localization": [
            {"model": localization["model"], "family": localization["family"], "task": task}
            | {name: values[name] for name in LOCALIZED if name in values}
            for task, values in localization["tasks"].items()
        ],
        "accuracy": [
            {"model": accuracy["model"], "family": accuracy["family"], "task": task}
            | {"kind": "number", "operation": "erase"}
            | {f"accuracy_{when}": values[when] / 100 for when in ("before", "after")}
            for task, values in accuracy["tasks"].items()
        ],
    }
    return Run(PUBLISHED, None, {name: pd.DataFrame(rows) for name, rows in tables.items()}, {})


@dataclass(frozen=True)
class Identity:
    """Which files two runs have in common.

    Attributes:
        alike: number of identical files by their folder inside the results.
        different: paths of files that differ.
        missing: paths that only one run has.
    """

    alike: dict[str, int]
    different: list[str]
    missing: list[str]

    @property
    def whole(self) -> bool:
        """Whether nothing differs and nothing is missing; two empty folders do not count as the same run."""
        return bool(self.alike) and not self.different and not self.missing


def compare_runs(first: Path, second: Path) -> Identity:
    """Compare all files of two runs byte for byte.

    Args:
        first: the results folder of one run.
        second: the results folder of the other run.

    Returns:
        Which files are identical, which differ, and which only one run has.
    """
    one, other = run_checksums(first), run_checksums(second)
    both = sorted(one.keys() & other.keys())
    alike = Counter(name.split("/")[0] if "/" in name else "." for name in both if one[name] == other[name])
    return Identity(
        dict(sorted(alike.items())), [x for x in both if one[x] != other[x]], sorted(one.keys() ^ other.keys())
    )


def run_checksums(results: Path) -> dict[str, str]:
    """Compute the checksums of a run's files, without `OF_THE_RUN` and hidden files.

    Args:
        results: the run's results folder.

    Returns:
        sha256 by path inside `results`.
    """
    checksums = {}
    for path in sorted(results.rglob("*")):
        name = path.relative_to(results).as_posix()
        own = any(name == part or name.startswith(f"{part}/") for part in OF_THE_RUN)
        hidden = any(part.startswith(".") for part in Path(name).parts)
        if path.is_file() and not own and not hidden:
            checksums[name] = _checksum(path)
    return checksums


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
