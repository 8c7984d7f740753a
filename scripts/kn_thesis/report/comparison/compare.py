"""Compare all tables of two runs: pair their models, match rows, test measures, and count cells that differ.

`compare` does all of it. `pair_models` decides which model of the first run is compared with which of the second.
`report.comparison.tests` matches the rows of one table and tests its measures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from kn_thesis.errors import UserError
from kn_thesis.report.comparison.registry import TABLES, TableSpec
from kn_thesis.report.comparison.runs import PUBLISHED, Run
from kn_thesis.report.comparison.tests import (
    IDENTICAL,
    ONLY_FIRST,
    ONLY_SECOND,
    differing_cells,
    judge_measures,
    match_rows,
    text_key,
)


@dataclass(frozen=True)
class Pairing:
    """Which models are compared.

    Attributes:
        pairs: a model of the first run and one of the second.
        only_first: models of the first run without a counterpart.
        only_second: models of the second run without a counterpart.
        how: sentences on how the pairs were made.
    """

    pairs: tuple[tuple[str, str], ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    how: str


@dataclass(frozen=True)
class TableComparison:
    """One table of both runs, compared.

    Attributes:
        name: the table's name.
        same_bytes: whether both files are identical.
        both: number of rows in both.
        only_first: number of rows only in the first run.
        only_second: number of rows only in the second run.
        rows: from `judge_measures`; empty for a table without measures.
        cells: from `differing_cells`.
        flags: columns that hold yes or no, or a verdict.
        missing: measures that one side lacks.
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
        """Count the compared values with one of these verdicts."""
        return int(self.rows["verdict"].isin(verdicts).sum())

    @property
    def shown_rows(self) -> pd.DataFrame:
        """`rows` without the rows that only one run has."""
        return self.rows[~self.rows["verdict"].isin([ONLY_FIRST, ONLY_SECOND])]

    @property
    def values(self) -> int:
        """Number of measured values that both runs have."""
        return int((self.rows["A"].notna() & self.rows["B"].notna()).sum())

    @property
    def all_identical(self) -> bool:
        """Whether all shown rows are identical and have no note."""
        return bool((self.shown_rows["verdict"] == IDENTICAL).all() and (self.shown_rows["note"] == "").all())

    @property
    def cells_that_differ(self) -> int:
        """Number of differing cells outside the key."""
        return int(self.cells["differ"].sum())


@dataclass(frozen=True)
class Comparison:
    """Two runs, compared.

    Attributes:
        first: one run.
        second: the other run.
        pairing: which models are compared.
        tables: the tables of both runs, those with measures first.
        only_first: tables that only the first run has.
        only_second: tables that only the second run has.
        alike: tables without a column `model`, not compared because both runs are one folder.
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
        """Names of the tables whose files are identical."""
        return tuple(table.name for table in self.tables if table.same_bytes)

    @property
    def with_published(self) -> bool:
        """Whether one side is the published values."""
        return PUBLISHED in (self.first.name, self.second.name)


def compare(first: Run, second: Run, named: Sequence[str] = ()) -> Comparison:
    """Compare all tables of two runs.

    Args:
        first: one run.
        second: the other run, or the same.
        named: pairs of models as "A=B".

    Returns:
        The comparison.

    Raises:
        UserError: the runs have no table in common, or as `pair_models` does.
    """
    shared = [name for name in first.tables if name in second.tables]
    if not shared:
        raise UserError(
            f"{first.name} and {second.name} have no table in common: "
            f"{', '.join(first.tables)} there, {', '.join(second.tables)} here"
        )
    pairing = pair_models(first, second, named)
    one_folder = first.folder == second.folder
    alike = [name for name in shared if one_folder and "model" not in first.tables[name].columns]
    order = {name: (not table.measures, place) for place, (name, table) in enumerate(TABLES.items())}
    names = sorted(set(shared) - set(alike), key=lambda name: (*order.get(name, (True, len(order))), name))
    return Comparison(
        first,
        second,
        pairing,
        tuple(_compare_table(name, first, second, pairing) for name in names),
        tuple(sorted(set(first.tables) - set(second.tables))),
        tuple(sorted(set(second.tables) - set(first.tables))),
        tuple(sorted(alike)),
    )


def _compare_table(name: str, first: Run, second: Run, pairing: Pairing) -> TableComparison:
    spec = TABLES.get(name, TableSpec(()))
    sides = [one_side(run.tables[name], run, pairing, side) for side, run in enumerate((first, second))]
    pair = match_rows(*sides, spec.key or text_key(*sides))
    published = {column for run in (first, second) if run.folder is None for column in run.tables[name].columns}
    measures = [measure for measure in spec.measures if not published or published.issuperset(measure.columns)]
    return TableComparison(
        name,
        first.folder != second.folder and name in first.digests and first.digests[name] == second.digests.get(name),
        *(pair.count(where) for where in ("both", "first", "second")),
        judge_measures(pair, measures, spec.flags),
        differing_cells(pair),
        spec.flags,
        tuple(
            measure.name
            for measure in measures
            if any(column not in side.columns for side in sides for column in measure.columns)
        ),
    )


def pair_models(first: Run, second: Run, named: Sequence[str]) -> Pairing:
    """Pair the models of two runs: as named, then by equal names, and by family if there is no pair yet.

    Within one run, only named pairs count. Published values are paired with every model of their family.

    Args:
        first: one run.
        second: the other run, or the same.
        named: pairs as "A=B", a model of the first run and one of the second.

    Returns:
        The pairs, and the models without a counterpart.

    Raises:
        UserError: a run has no model of that name, or there is no pair.
    """
    of_first, of_second = first.models, second.models
    pairs = [_split(text, first, second) for text in named]
    how = "Models were paired as requested." if pairs else ""
    taken_first, taken_second = ({pair[side] for pair in pairs} for side in (0, 1))
    if not (pairs and first.folder == second.folder):
        same = [
            model for model in of_first if model in of_second and model not in taken_first and model not in taken_second
        ]
        pairs += [(model, model) for model in same]
        how = " ".join(filter(None, [how, "Models with the same name are compared." if same else ""]))
    if not pairs and of_first and of_second:
        pairs = _by_family(first, second)
        how = "The runs share no model name: models were paired by family."
    if not pairs and (of_first or of_second):
        raise UserError(
            f"no model to compare: {first.name} has {_listed(of_first)}, {second.name} has {_listed(of_second)}; "
            'name pairs, such as ARGS="--models gpt2=gpt2-xl"'
        )
    pairs = list(dict.fromkeys(pairs))
    left = [
        tuple(model for model in models if model not in {pair[side] for pair in pairs})
        for side, models in enumerate((of_first, of_second))
    ]
    return Pairing(tuple(pairs), *left, how)


def _split(text: str, first: Run, second: Run) -> tuple[str, str]:
    names = text.split("=")
    if len(names) != 2 or not all(names):
        raise UserError(
            f"--models {text}: write the first run's model, =, and the second run's model, such as gpt2=gpt2-xl"
        )
    for name, run in zip(names, (first, second), strict=True):
        if name not in run.models:
            raise UserError(f"--models {text}: {run.name} has no model {name}, but {_listed(run.models)}")
    if first.folder == second.folder and names[0] == names[1]:
        raise UserError(f"--models {text}: these are one model of one run; name two models, such as bert=bert-swapped")
    return names[0], names[1]


def _by_family(first: Run, second: Run) -> list[tuple[str, str]]:
    """Pairs by family: only if each family has one model per run, or one side is the published values."""
    counts = [Counter(filter(None, run.models.values())) for run in (first, second)]
    if None not in (first.folder, second.folder) and any(count > 1 for side in counts for count in side.values()):
        return []
    return [
        (one, other)
        for one, family in first.models.items()
        for other, its in second.models.items()
        if family and family == its
    ]


def _listed(models: Sequence[str] | dict[str, str]) -> str:
    return ", ".join(models) or "none"


def label(pair: tuple[str, str]) -> str:
    """Name a pair of models in tables."""
    return pair[0] if pair[0] == pair[1] else f"{pair[0]} / {pair[1]}"


def one_side(table: pd.DataFrame, run: Run, pairing: Pairing, side: int) -> pd.DataFrame:
    """Select the rows of the paired models, with the pair's label as `model`.

    A table without a column `model`, and rows whose `model` names no model (empty, or "all"), stay as they are.

    Args:
        table: a table of the run.
        run: the run.
        pairing: the pairs.
        side: 0 if the run is the first, 1 if it is the second.

    Returns:
        The rows, pair by pair.
    """
    if "model" not in table.columns:
        return table
    names = table["model"]
    parts = [table[names == pair[side]].assign(model=label(pair)) for pair in pairing.pairs]
    parts.append(table[names.isna() | ~names.astype(str).isin(list(run.models))])
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else table.iloc[:0]
