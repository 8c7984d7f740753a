"""Running text for the covariance of keys: a study's own, or a data set from the hub or a disk, read as a stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kn_thesis.errors import UserError

READERS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv", ".arrow": "arrow", ".txt": "text"}


def text_lines(path: str | Path) -> Iterator[str]:
    """The lines of a text file, one at a time, without empty ones. Raises UserError when it cannot be read."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            yield from (stripped for line in file if (stripped := line.strip()))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the text cannot be read ({error}); make it again") from error


def dataset_texts(source: Mapping[str, Any]) -> Iterator[str]:
    """The texts of a data set in its order, without empty ones; nothing is downloaded that is not asked for.

    source: `id` on the hub (with `revision`: commit, tag or branch) or `path` of a local folder or file; `config`,
    `split` ("train") and `column` ("text"). No code of the data set is run. Variables of huggingface_hub are heeded.
    Raises UserError, one line, when there is no such data set or column, or when it cannot be reached.
    """
    import datasets

    name = str(source.get("path") or source.get("id") or "")
    if not name:
        raise UserError("the source of the covariance's texts names no data set: give `id` (on the hub) or `path`")
    column, arguments = source.get("column") or "text", _arguments(source)
    datasets.disable_progress_bars()
    datasets.utils.logging.set_verbosity(datasets.utils.logging.CRITICAL)
    try:
        rows = datasets.load_dataset(**arguments, streaming=True)  # nosec B615 # `arguments` has the revision
        for row in rows:
            text = row.get(column)
            if not isinstance(text, str | None) or column not in row:
                wrong = "has no column" if column not in row else "has no text in its column"
                raise UserError(f"the data set {name} {wrong} {column!r}; its columns are {', '.join(row)}")
            if text and text.strip():
                yield text.strip()
    except UserError:
        raise
    except Exception as error:  # the library and what it stands on have several dozen
        raise _mistake(name, error, on_hub=not source.get("path")) from error


def _arguments(source: Mapping[str, Any]) -> dict[str, Any]:
    """What `load_dataset` is to be asked for."""
    chosen = {"name": source.get("config"), "split": source.get("split") or "train"}
    if not source.get("path"):
        return {"path": str(source["id"]), "revision": source.get("revision")} | chosen
    path = Path(source["path"]).expanduser().resolve()
    if path.is_dir():
        return {"path": str(path)} | chosen
    if not path.is_file():
        raise UserError(f"{path}: no such file or folder; correct `path` in the source of the covariance's texts")
    reader = next((READERS[suffix] for suffix in path.suffixes if suffix in READERS), None)
    if reader is None:
        raise UserError(f"{path}: a file of texts ends in one of {', '.join(READERS)}")
    return {"path": reader, "data_files": str(path)} | chosen


def _mistake(name: str, error: Exception, on_hub: bool) -> UserError:
    """What to say of an exception of the library."""
    from datasets.exceptions import DatasetNotFoundError

    reason = " ".join(str(error).split())[:200] or type(error).__name__
    if isinstance(error, DatasetNotFoundError | FileNotFoundError) and on_hub:
        return UserError(
            f"the hub has no data set {name}, or does not give it to you ({reason}): check the id and its revision;"
            " for a gated or private one log in with `hf auth login` or set HF_TOKEN"
        )
    if isinstance(error, ConnectionError) or type(error).__module__.startswith(("httpx", "requests", "urllib3")):
        return UserError(
            f"the data set {name} cannot be reached ({reason}): check the connection, set HF_ENDPOINT to a mirror, or"
            " name a local copy with `path`"
        )
    return UserError(f"the data set {name} cannot be read ({reason}): correct the source of the covariance's texts")
