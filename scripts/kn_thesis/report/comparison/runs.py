"""A run to be compared: where its tables lie, and what stands in them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from kn_thesis.damage import cut_off
from kn_thesis.errors import UserError
from kn_thesis.frames import read_words
from kn_thesis.report.comparison.registry import TABLES

PUBLISHED = "published"
LOCALIZED = ("KN", "tau", "R2_1")


@dataclass(frozen=True)
class Run:
    """`name` as the user gave it, the tables' folder (None: the published values), tables and their sha256 by name."""

    name: str
    folder: Path | None
    tables: dict[str, pd.DataFrame]
    digests: dict[str, str]

    @property
    def models(self) -> dict[str, str]:
        """Family by model ("" where no table says it), in alphabetic order.

        claims.csv may state claims about all models at once: its column `model` names models only where no other does.
        """
        named = {name: table for name, table in self.tables.items() if "model" in table.columns}
        tables = [table for name, table in named.items() if name != "claims"] or list(named.values())
        found = dict.fromkeys((str(model) for table in tables for model in table["model"].dropna()), "")
        for table in tables:
            if "family" in table.columns:
                rows = table[["model", "family"]].dropna().drop_duplicates()
                found |= dict(zip(rows["model"].astype(str), rows["family"].astype(str), strict=True))
        return dict(sorted(found.items()))


def table_folder(given: str) -> Path:
    """The folder of CSV tables that is meant: `given` itself, its `tables/`, or its `results/tables/`.

    Raises UserError when none of them holds a CSV file.
    """
    root = Path(given)
    if not root.exists():
        raise UserError(f"{given}: there is no such folder; name a results folder of a finished run, or `published`")
    for folder in (root / "tables", root / "results" / "tables", root):
        if folder.is_dir() and any(folder.glob("*.csv")):
            return folder
    raise UserError(f"{given}: no tables (*.csv) there, nor in tables/ or results/tables/ below; has the run finished?")


def read_run(given: str) -> Run:
    """All CSV tables of a run.

    Raises UserError for a folder without tables, a table that cannot be read, and a known one without a key column.
    """
    folder = table_folder(given)
    tables: dict[str, pd.DataFrame] = {}
    digests = {}
    for path in sorted(folder.glob("*.csv")):
        try:
            if reason := cut_off(path):  # which may still be read, as a table with fewer rows
                raise ValueError(reason)
            tables[path.stem] = read_words(path)
            digests[path.stem] = hashlib.sha256(path.read_bytes()).hexdigest()
        except (OSError, ValueError) as error:  # pandas' errors of parsing are ValueErrors
            reason = str(error).strip().split("\n")[0]
            raise UserError(
                f"{path}: not a readable CSV table ({reason}); run the study again, or copy it whole"
            ) from error
        _check_columns(path, tables[path.stem])
    return Run(given, folder, tables, digests)


def _check_columns(path: Path, table: pd.DataFrame) -> None:
    """Keys are there and what is measured are numbers."""
    known = TABLES.get(path.stem)
    if known is None:
        return
    for column in known.key:
        if column not in table.columns:
            raise UserError(
                f"{path}: the column {column} is missing, by which its rows are matched; is this table whole?"
            )
    for measure in known.measures:
        for column in sorted(measure.all_columns):
            if column in table.columns and len(table) and not pd.api.types.is_numeric_dtype(table[column]):
                raise UserError(f"{path}: the column {column} holds something else than numbers; is this table whole?")


def published_run(published: Mapping[str, Any]) -> Run:
    """Published values that name model, task and place as tables: localization, and accuracy (0 to 1).

    `published` is resources/published.yaml. Its accuracies are of the numbers' neurons erased.
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


def two_runs(first: str, second: str, within: bool, published: Mapping[str, Any]) -> tuple[Run, Run]:
    """Both runs; `within`: models of one run may be compared, so that both may be the same folder.

    Raises UserError where there is nothing to compare, besides what `read_run` raises.
    """
    usage = "usage: make compare A=results-of-one-run B=results-of-another (or B=published)"
    for given in (first, second):
        if not given.strip():
            raise UserError(usage)
    if first == second == PUBLISHED:
        raise UserError(f"both are the published values: nothing to compare; {usage}")
    folders = [None if given == PUBLISHED else table_folder(given).resolve() for given in (first, second)]
    if folders[0] == folders[1] and not within:
        raise UserError(
            f"{first} and {second} are the same folder: name another run, or models of it to compare, "
            'such as ARGS="--models bert=bert-swapped"'
        )
    runs = [published_run(published) if given == PUBLISHED else read_run(given) for given in (first, second)]
    return runs[0], runs[1]
