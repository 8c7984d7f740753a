"""The comparison itself: every table that both runs have, and what only one of them has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from kn_thesis.errors import UserError
from kn_thesis.report.comparison.judging import IDENTICAL, ONLY_FIRST, ONLY_SECOND, judged
from kn_thesis.report.comparison.matching import differing_cells, matched, text_key
from kn_thesis.report.comparison.pairing import Pairing, one_side, paired_models
from kn_thesis.report.comparison.registry import TABLES, Known
from kn_thesis.report.comparison.runs import PUBLISHED, Run


@dataclass(frozen=True)
class TableComparison:
    """One table of both runs. Numbers of rows: in both, only in one; differing: in both, with a cell that differs.

    `rows`: judging.judged's table, empty for a table without measures; `cells`: matching.differing_cells's.
    `same_bytes`: both files are the same. `flags`: columns that say yes or no, or a verdict. `missing`: measures that
    one side lacks.
    """

    name: str
    same_bytes: bool
    both: int
    only_first: int
    only_second: int
    rows: pd.DataFrame
    cells: pd.DataFrame
    flags: tuple[str, ...]
    missing: tuple[str, ...]

    def count(self, *verdicts: str) -> int:
        """Number of compared values with one of these verdicts."""
        return int(self.rows["verdict"].isin(verdicts).sum())

    @property
    def shown_rows(self) -> pd.DataFrame:
        """`rows` without those that only one run has."""
        return self.rows[~self.rows["verdict"].isin([ONLY_FIRST, ONLY_SECOND])]

    @property
    def values(self) -> int:
        """Measured values that both runs have."""
        return int((self.rows["A"].notna() & self.rows["B"].notna()).sum())

    @property
    def all_identical(self) -> bool:
        """No shown row has anything to look at."""
        return bool((self.shown_rows["verdict"] == IDENTICAL).all() and (self.shown_rows["note"] == "").all())

    @property
    def cells_that_differ(self) -> int:
        """Over all columns but the key's."""
        return int(self.cells["differ"].sum())


@dataclass(frozen=True)
class Comparison:
    """Two runs, their models' pairs, the tables of both (those with measures first), and tables that only one has.

    `alike`: tables without the column model that were not compared, since both runs are one folder.
    """

    first: Run
    second: Run
    pairing: Pairing
    tables: tuple[TableComparison, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    alike: tuple[str, ...]

    @property
    def same_bytes(self) -> tuple[str, ...]:
        """Tables whose files are the same."""
        return tuple(table.name for table in self.tables if table.same_bytes)

    @property
    def with_published(self) -> bool:
        """One side is no run but what others published."""
        return PUBLISHED in (self.first.name, self.second.name)


def compare(first: Run, second: Run, named: Sequence[str] = ()) -> Comparison:
    """Compare all tables of two runs; `named`: pairs of models as "A=B".

    Raises UserError when no table is in both, and what `paired_models` raises.
    """
    shared = [name for name in first.tables if name in second.tables]
    if not shared:
        raise UserError(
            f"{first.name} and {second.name} have no table in common: "
            f"{', '.join(first.tables)} there, {', '.join(second.tables)} here"
        )
    pairing = paired_models(first, second, named)
    one_folder = first.folder == second.folder
    alike = [name for name in shared if one_folder and "model" not in first.tables[name].columns]
    order = {name: (not table.measures, place) for place, (name, table) in enumerate(TABLES.items())}
    wanted = sorted(set(shared) - set(alike), key=lambda name: (*order.get(name, (True, len(order))), name))
    return Comparison(
        first,
        second,
        pairing,
        tuple(_compared(name, first, second, pairing) for name in wanted),
        tuple(sorted(set(first.tables) - set(second.tables))),
        tuple(sorted(set(second.tables) - set(first.tables))),
        tuple(sorted(alike)),
    )


def _compared(name: str, first: Run, second: Run, pairing: Pairing) -> TableComparison:
    """One table of both runs."""
    known = TABLES.get(name, Known(()))
    sides = [one_side(run.tables[name], run, pairing, side) for side, run in enumerate((first, second))]
    pair = matched(*sides, known.key or text_key(*sides))
    held = {column for run in (first, second) if run.folder is None for column in run.tables[name].columns}
    measures = [measure for measure in known.measures if not held or held.issuperset(measure.columns)]
    return TableComparison(
        name,
        first.folder != second.folder and name in first.digests and first.digests[name] == second.digests.get(name),
        *(pair.count(where) for where in ("both", "first", "second")),
        judged(pair, measures, known.flags),
        differing_cells(pair),
        known.flags,
        tuple(
            measure.name
            for measure in measures
            if any(column not in side.columns for side in sides for column in measure.columns)
        ),
    )
