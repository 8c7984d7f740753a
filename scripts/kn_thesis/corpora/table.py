"""The table of prompts as a Parquet file, and counts of what was kept as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from kn_thesis.corpora.prompts import KEPT, Prompt
from kn_thesis.errors import UserError
from kn_thesis.files import whole_file

COUNT_COLUMNS = ["task", "kind", "reason", "count"]


def write_prompts(prompts: Sequence[Prompt], path: str | Path) -> None:
    """One row per prompt; columns are the fields of `Prompt`, token ids as list<int32>, gap int32."""
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {"str": pa.string(), "bool": pa.bool_(), "int": pa.int32(), "tuple[int, ...]": pa.list_(pa.int32())}
    schema = pa.schema([(field.name, kinds[str(field.type)]) for field in fields(Prompt)])
    columns = {name: [getattr(prompt, name) for prompt in prompts] for name in schema.names}
    with whole_file(path) as temporary:
        parquet.write_table(pa.table(columns, schema=schema), temporary)


def write_counts(counts: Mapping[str, int], task: str, kind: str, path: str | Path) -> None:
    """One row per reason, `kept` first (also when nothing was kept), the others by name; their sum is the items."""
    reasons = [KEPT, *sorted(set(counts) - {KEPT})]
    _write_csv(path, COUNT_COLUMNS, ([task, kind, reason, counts.get(reason, 0)] for reason in reasons))


def merge_counts(paths: Iterable[str | Path], families: Mapping[str, str], path: str | Path) -> None:
    """Counts of all models and tasks (files {model}/{task}.counts.csv) with the columns model and family in front.

    Raises UserError for a file without the columns that `write_counts` gives it, and where nothing is kept at all.
    """
    rows: list[list[str]] = []
    for source in map(Path, paths):
        model = source.parent.name
        with source.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            if reader.fieldnames != COUNT_COLUMNS:
                raise UserError(f"{source}: its columns are not {', '.join(COUNT_COLUMNS)}: delete it and run again")
            rows += [[model, families[model], *(row[column] for column in COUNT_COLUMNS)] for row in reader]
    if not any(reason == KEPT and int(count) for *_, reason, count in rows):
        reason = next((reason for *_, reason, _ in rows if reason != KEPT), "the files have no item")
        raise UserError(f"no prompt is kept of any task for any model ({reason}): name other tasks, or other models")
    _write_csv(path, ["model", "family", *COUNT_COLUMNS], rows)


def _write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
