"""Tables of results: put together, and read again as they were written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from kn_thesis.files import whole_file


def keyed(table: pd.DataFrame, key: Mapping[str, str]) -> pd.DataFrame:
    """The table with columns of one value in front."""
    return pd.concat([pd.DataFrame(key, index=table.index), table], axis=1)


def joined(parts: Iterable[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    """All parts; of none, a table with nothing but its columns, which can be written and read as well."""
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(columns))


def write_tables(tables: object, paths: Mapping[str, str | Path]) -> None:
    """Parquet files of tables that are attributes of something, by their names; each file whole or not at all."""
    for name, path in paths.items():
        with whole_file(path) as temporary:
            getattr(tables, name).to_parquet(temporary, index=False, compression="zstd")


def read_words(path: str | Path) -> pd.DataFrame:
    """A CSV table in which tokens such as "null" and "NA" are words; only an empty cell is a missing value."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""])
