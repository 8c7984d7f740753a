"""Texts from files and from data sets: local ones, and what is said of those on the hub that cannot be had."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kn_thesis.editing.covariance import dataset_texts, text_lines
from kn_thesis.errors import UserError

SCRIPTS = Path(__file__).parents[2] / "scripts"
PROGRAM = """
import json, sys
from kn_thesis.editing.covariance import dataset_texts
from kn_thesis.errors import UserError
for source in json.loads(sys.argv[1]):
    try:
        print(list(dataset_texts(source)))
    except UserError as error:
        print(error)
"""
TEXTS = ["One text.", "", " Two\ntexts. ", None, "   ", "Three."]
WANTED = ["One text.", "Two\ntexts.", "Three."]


def test_lines_of_a_text(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("One.\n\n  Two, café.  \r\nThree", encoding="utf-8")
    assert list(text_lines(path)) == ["One.", "Two, café.", "Three"]
    path.write_bytes(b"caf\xe9\n")
    for broken in (path, tmp_path / "absent.txt"):
        with pytest.raises(UserError, match="cannot be read") as caught:
            list(text_lines(broken))
        assert str(broken) in str(caught.value) and "\n" not in str(caught.value)


def saved(folder: Path) -> Path:
    """A data set's folder with two splits, and single files."""
    folder.mkdir()
    table = pd.DataFrame({"text": TEXTS, "other": [*"abcdef"], "number": range(6)})
    table.to_parquet(folder / "train.parquet")
    table[:1].to_parquet(folder / "test.parquet")
    table.to_json(folder.parent / "rows.jsonl", orient="records", lines=True)
    (folder.parent / "plain.txt").write_text("One text.\n\nThree.\n")
    return folder


def test_local_folders_and_files(tmp_path: Path) -> None:
    folder = saved(tmp_path / "set")
    assert list(dataset_texts({"path": str(folder)})) == WANTED
    assert list(dataset_texts({"path": str(folder), "config": None, "split": "test"})) == WANTED[:1]
    assert list(dataset_texts({"path": folder, "split": "train", "column": "other"})) == [*"abcdef"]
    assert list(dataset_texts({"path": str(folder / "train.parquet"), "column": "text"})) == WANTED
    assert list(dataset_texts({"path": str(tmp_path / "rows.jsonl")})) == WANTED
    assert list(dataset_texts({"path": str(tmp_path / "plain.txt")})) == ["One text.", "Three."]


def test_texts_are_read_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "One."}\n' * 10 + "{broken\n")
    with pytest.raises(UserError):
        list(dataset_texts({"path": str(path)}))
    source = dataset_texts({"path": str(tmp_path / "absent.jsonl")})  # nothing is looked for before the first text
    with pytest.raises(UserError):
        next(source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, "names no data set"),
        ({"path": "absent"}, "no such file or folder"),
        ({"path": "set", "column": "words"}, "has no column 'words'; its columns are text, other, number"),
        ({"path": "set", "column": "number"}, "has no text in its column 'number'"),
        ({"path": "set", "split": "validation"}, "validation.*test.*train|validation.*train.*test"),
        ({"path": "set", "config": "other"}, "'other' not found"),
        ({"path": "broken.jsonl"}, "cannot be read"),
        ({"path": "broken.parquet"}, "cannot be read"),
        ({"path": "notes.doc"}, "ends in one of .parquet"),
    ],
)
def test_mistakes_are_named_in_one_line(tmp_path: Path, source: dict[str, Any], message: str) -> None:
    saved(tmp_path / "set")
    for name in ("broken.jsonl", "broken.parquet", "notes.doc"):
        (tmp_path / name).write_text("{nothing\n")
    if "path" in source:
        source = source | {"path": str(tmp_path / source["path"])}
    with pytest.raises(UserError, match=message) as caught:
        list(dataset_texts(source))
    assert "\n" not in str(caught.value)


class NothingHere(BaseHTTPRequestHandler):
    """A hub that has no data set, and says so as the real one does."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Not on the terminal."""


@pytest.fixture
def empty_hub() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), NothingHere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def said(sources: list[dict[str, Any]], cache: Path, **variables: str) -> list[str]:
    """A line for each source, from a process of its own: the library reads the variables when it is imported."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and not k.lower().endswith("_proxy")}
    clean |= {"HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*", "PYTHONPATH": str(SCRIPTS)}
    command = [sys.executable, "-c", PROGRAM, json.dumps(sources)]
    job = subprocess.run(command, cwd=cache, env=clean | variables, capture_output=True, text=True, timeout=600)
    assert job.returncode == 0, job.stderr
    assert not job.stderr, "the library's own remarks stay off the terminal"
    return job.stdout.splitlines()


def test_unknown_and_unreachable_sets_are_told_apart(tmp_path: Path, empty_hub: str) -> None:
    known = {"id": "owner/set", "config": "some", "split": "train", "column": "text", "revision": "abc"}
    unknown = said([known, {"id": "owner/set"}], tmp_path, HF_ENDPOINT=empty_hub)
    assert len(unknown) == 2 and all("the hub has no data set owner/set" in line for line in unknown)
    offline = said([known, {"id": "owner/set"}], tmp_path, HF_HUB_OFFLINE="1")
    assert len(offline) == 2
    assert all("owner/set cannot be reached" in line and "check the connection" in line for line in offline)
