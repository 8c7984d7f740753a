"""Write files atomically, and read and write tables of results.

A file is written beside its target and renamed once it is complete, so a target is complete or absent.
"""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kn_thesis.errors import UserError, disk_full

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


PROBE_BYTES = 1 << 18  # more than Snakemake's own records of a run take
ROWS = 1 << 20  # of a row group of Parquet files
ABOUT = b"kn_thesis"  # key of what `write_task_tables` notes of its tables
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def whole_file(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `target` when the block ends without an exception.

    After an exception the temporary file is removed and `target` is unchanged. Temporary files that a killed process
    has left for the same target are removed too.

    Args:
        target: File to write. Its folder is created if necessary.

    Yields:
        A path in the same folder with the same suffix; writers such as matplotlib choose their format by it.

    Raises:
        UserError: The disk is full or read-only.
    """
    path = Path(target)
    with _beside(path, path.stem, path.suffix) as temporary:
        yield temporary
        os.replace(temporary, path)


def write_json(target: str | Path, content: Any, **options: Any) -> None:
    """Write a JSON file whole or not at all; `options` go to `json.dumps`."""
    with whole_file(target) as path:
        path.write_text(json.dumps(content, indent=2, **options) + "\n", encoding="utf-8")


@contextmanager
def scratch_folder(target: str | Path) -> Iterator[Path]:
    """Yield an empty folder beside `target` that is removed when the block ends.

    Args:
        target: File or folder that the scratch folder's content is meant for.

    Raises:
        UserError: The disk is full or read-only.
    """
    path = Path(target)
    with _beside(path, path.name, "") as temporary:
        temporary.mkdir()
        yield temporary


def check_disk_space(folder: str | Path) -> None:
    """Check that a few files can be written to `folder`, which is created if it does not exist.

    Raises:
        UserError: Nothing can be written there.
    """
    path = Path(folder) / f".probe.{os.getpid()}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(PROBE_BYTES))
    except OSError as error:
        where = path.parent.absolute()
        raise UserError(f"{where}: nothing can be written there ({error.strerror}); fix this and run again") from None
    finally:
        _remove(path)


@contextmanager
def _beside(target: Path, stem: str, suffix: str) -> Iterator[Path]:
    """Yield a hidden path in the target's folder that belongs to this process; it is removed afterwards."""
    temporary = target.with_name(f".{stem}.{os.getpid()}{suffix}")
    leftover = re.compile(rf"\.{re.escape(stem)}\.\d+{re.escape(suffix)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for path in target.parent.iterdir():
            if leftover.fullmatch(path.name):
                _remove(path)
        yield temporary
    except Exception as error:
        if disk_full(error):
            raise UserError(f"{target}: the disk is full; free some space and run again") from error
        if isinstance(error, OSError) and error.errno in READ_ONLY and target.parent in _places(error, temporary):
            raise UserError(f"{target}: cannot be written ({error.strerror}); allow it and run again") from error
        raise
    finally:
        _remove(temporary)


def _places(error: OSError, temporary: Path) -> list[Path]:
    """List the path that the system refused and its parents; `temporary` stands in if the error names no file."""
    path = Path(error.filename or temporary)
    return [path, *path.parents]


def _remove(path: Path) -> None:
    """Remove a file or folder and ignore failures, so that they do not hide an earlier error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def write_csv(target: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows to a CSV file atomically.

    Args:
        target: File to write.
        columns: Column names in order.
        rows: Values by column name; a missing value leaves its cell empty.

    Raises:
        ValueError: A row has a key that is not a column.
        UserError: The disk is full or read-only.
    """
    with whole_file(target) as path, path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def write_task_tables(tables: Mapping[str, pd.DataFrame | pa.Table], target: str | Path) -> None:
    """Write one table per task to one Parquet file, atomically; `read_task_tables` returns them as they were.

    Each task has row groups of its own, so that one is read without the others. Other readers find one table, which has
    the tasks' rows one after the other and a column `task`.

    Args:
        tables: Tables by task, with the same columns; at least one.
        target: File to write.

    Raises:
        UserError: The disk is full or read-only.
    """
    import pandas as pd
    import pyarrow as pa
    from pyarrow import parquet

    added, categories, parts = False, {}, {}
    for task, table in tables.items():
        if isinstance(table, pd.DataFrame):
            categorical = table.select_dtypes("category")
            categories[task] = {name: list(column.cat.categories) for name, column in categorical.items()}
            table = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata()
            for name in categorical:
                values = table[name].cast(pa.large_string()) if len(table) else pa.nulls(0)
                table = table.set_column(table.column_names.index(name), name, values)
        if "task" not in table.column_names:
            added, names = True, pa.array([task] * len(table), pa.string())
            table = table.add_column(0, "task", names)
        parts[task] = table
    # Columns without rows may have any type.
    filled = [table for table in parts.values() if len(table)] or list(parts.values())[:1]
    schema = pa.unify_schemas([table.schema for table in filled], promote_options="permissive")
    groups = {task: -(-len(table) // ROWS) for task, table in parts.items()}
    about = json.dumps({"groups": groups, "categories": categories, "added": added})
    schema = schema.with_metadata({ABOUT: about})
    with whole_file(target) as path, parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in parts.values():
            if len(table):
                writer.write_table(table.cast(schema), row_group_size=ROWS)


def write_batch(results: Mapping[str, object], paths: Mapping[str, str | Path]) -> None:
    """Write data frames that are attributes of each task's result to one file per attribute; see `write_task_tables`.

    Args:
        results: Results by task.
        paths: Target file by attribute name.
    """
    for name, path in paths.items():
        write_task_tables({task: getattr(result, name) for task, result in results.items()}, path)


def read_task_tables(
    path: str | Path, tasks: Sequence[str] | None = None, columns: Sequence[str] | None = None
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the tables of a file that `write_task_tables` wrote, one after the other.

    Args:
        path: The file.
        tasks: Tasks to read, in the file's order; tasks that are in another file are passed over. None: all.
        columns: Columns to read; None: all.

    Yields:
        Each task with its table.
    """
    import pandas as pd
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        about = json.loads(file.schema_arrow.metadata[ABOUT])
    categorical = sorted({name for of_task in about["categories"].values() for name in of_task})
    with parquet.ParquetFile(path, read_dictionary=categorical) as file:
        names = [name for name in file.schema_arrow.names if not (about["added"] and name == "task")]
        columns, first = names if columns is None else list(columns), 0
        for task, count in about["groups"].items():
            groups, first = list(range(first, first + count)), first + count
            if tasks is None or task in tasks:
                table = file.read_row_groups(groups, columns).replace_schema_metadata().to_pandas()
                for name, values in about["categories"].get(task, {}).items():
                    if name in table:
                        table[name] = pd.Categorical(table[name], categories=values)
                yield task, table


def read_tasks(
    paths: Iterable[str | Path], tasks: Sequence[str] | None = None, columns: Sequence[str] | None = None
) -> dict[str, pd.DataFrame]:
    """Read tables by task from several files; of tasks in more than one file, the last; see `read_task_tables`."""
    return {task: table for path in paths for task, table in read_task_tables(path, tasks, columns)}


def by_folder(paths: Mapping[str, Iterable[str | Path]], levels: int = 1) -> dict[str, dict[str, list[Path]]]:
    """Group files by the folders that they are in.

    Args:
        paths: Lists of files by name.
        levels: How many folders count, from the file upwards.

    Returns:
        The lists by name, for each folder; with two levels folders are written "gpt2/rome".
    """
    groups: dict[str, dict[str, list[Path]]] = {}
    for name, listed in paths.items():
        for path in map(Path, listed):
            folder = "/".join(path.parts[-1 - levels : -1])
            groups.setdefault(folder, {other: [] for other in paths})[name].append(path)
    return groups


def read_words(path: str | Path) -> pd.DataFrame:
    """Read a CSV table in which only an empty cell is a missing value: "null" and "NA" are words here."""
    import pandas as pd

    return pd.read_csv(path, keep_default_na=False, na_values=[""])


def keyed(table: pd.DataFrame, key: Mapping[str, str]) -> pd.DataFrame:
    """Return the table with a constant column in front for each entry of `key`."""
    import pandas as pd

    return pd.concat([pd.DataFrame(key, index=table.index), table], axis=1)


def joined(parts: Iterable[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    """Concatenate tables and drop empty ones.

    Args:
        parts: Tables with the same columns.
        columns: Columns of the result when every part is empty, so that it can still be written and read.

    Returns:
        One table with a new index.
    """
    import pandas as pd

    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(columns))
