"""Sums of what went in and came out: resources, fetched corpora, texts, weights of models."""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def file_sum(file: str | Path) -> str:
    """The sha256 of a file's bytes."""
    with Path(file).open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def file_sums(files: Iterable[str | Path], folder: str | Path) -> list[dict[str, Any]]:
    """Name below `folder`, size in bytes and sha256 of files, in the order of their names."""
    found = [(_name(file, folder), Path(file)) for file in files]
    return [{"file": name, "bytes": file.stat().st_size, "sha256": file_sum(file)} for name, file in sorted(found)]


def _name(file: str | Path, folder: str | Path) -> str:
    """A file as named from a folder above it, whether or not there are links on the way; else its bare name."""
    for plain in (os.path.abspath, os.path.realpath):
        path, root = Path(plain(file)), Path(plain(folder))
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return Path(file).name


def fetched_sums(manifest: str | Path, files: Iterable[Sequence[str]]) -> list[dict[str, Any]]:
    """Corpus, file, licence, size, sha256 and public address of each fetched file, as the manifest pins them.

    `files` holds corpus and path of each. Raises KeyError for one that is not pinned.
    """
    import yaml

    content = yaml.safe_load(Path(manifest).read_text(encoding="utf-8"))
    rows = []
    for corpus, path in files:
        section = content[corpus]
        row = {"corpus": corpus, "file": path, "licence": section["licence"]}
        rows.append(row | dict(section["files"][path]) | {"url": section["root"] + path})
    return rows


def model_facts(record: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What is known of a model: family, source, hub id, revision, sum of its weights, number of parameters.

    `record` is its model.json. Weights are summed where they lie: in `folder` when the model was trained here, in its
    own folder when it was given by path. The sum is the sha256 of model.safetensors or, of several shards, of the lines
    `sum  name`. What is not known, such as the weights of a model of the hub, which its revision stands for, is None.
    """
    source = record["source"]
    places = {"train": folder, "path": Path(record["location"])}
    shards = sorted(places[source].glob("*.safetensors")) if source in places else []
    return {
        "family": record["family"],
        "source": source,
        "hub_id": record["location"] if source == "hub" else None,
        "revision": record["revision"],
        "weights_sha256": _weights_sum(shards),
        "parameters": _parameters(folder / "training.json", shards),
    }


def _weights_sum(shards: Sequence[Path]) -> str | None:
    if len(shards) < 2:
        return file_sum(shards[0]) if shards else None
    lines = "".join(f"{file_sum(shard)}  {shard.name}\n" for shard in shards)
    return hashlib.sha256(lines.encode()).hexdigest()


def _parameters(training: Path, shards: Sequence[Path]) -> int | None:
    """As training counted them, or else the numbers in the weight files."""
    if training.is_file():
        return json.loads(training.read_text(encoding="utf-8")).get("parameters")
    return sum(map(_numbers, shards)) if shards else None


def _numbers(weights: Path) -> int:
    """Numbers in a safetensors file: its first eight bytes say how long the header is, the header names all shapes."""
    with weights.open("rb") as content:
        (length,) = struct.unpack("<Q", content.read(8))
        header = json.loads(content.read(length))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
