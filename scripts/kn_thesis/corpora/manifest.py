"""The pinned files of the public corpora (resources/corpora.yaml)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kn_thesis.errors import UserError
from kn_thesis.given_yaml import given_yaml


@dataclass(frozen=True)
class PinnedFile:
    """One file of a corpus: its path below the corpus's public root, that root, its size in bytes, its sha256."""

    corpus: str
    path: str
    root: str
    bytes: int
    sha256: str


def pinned_file(manifest: str | Path, corpus: str, path: str) -> PinnedFile:
    """The entry of one file; UserError when the manifest cannot be read or has no such file."""
    content = given_yaml(manifest, "restore it from the repository")
    try:
        section = content[corpus]
        entry = section["files"][path]
        return PinnedFile(corpus, path, section["root"], int(entry["bytes"]), str(entry["sha256"]))
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{manifest}: {corpus} has no file {path} with bytes and sha256: only pinned files are used; "
            "check the task's name, or add the file with its size and sha256"
        ) from None
