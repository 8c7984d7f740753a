"""Hundreds of model folders that are wrong in one way: refused in one line, by get_model or when they are loaded."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from kn_thesis import load_model
from kn_thesis.localization.attribution import attribute
from kn_thesis.models.sources import record_path_model
from tests.helpers.bad_input import TRIED, harmless, many, refused
from tests.helpers.bad_models import (
    BERT_WAYS,
    CONFIG_WAYS,
    HARMLESS_WAYS,
    RECORD_WAYS,
    TOKENIZER_WAYS,
    WEIGHT_WAYS,
    Change,
    wrong_sizes,
)


@pytest.fixture
def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, where files are written to that name no other place."""
    folder = tmp_path / "watched"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield folder
    assert [path.name for path in tmp_path.iterdir()] == ["watched"], "a temporary file stays"


def copied(models: dict[str, Path], family: str, change: Change, folder: Path) -> Path:
    """A changed copy of a model, in a folder of its own beside the right one's."""
    shutil.copytree(models[family], folder / "model")
    change(folder / "model")
    return folder / "model"


def refuse(kind: str, way: str, models: dict[str, Path], family: str, change: Change, folder: Path) -> None:
    """The folder is refused when it is loaded, and by the rule that gets it or when that is loaded."""
    (folder / "gpt2").symlink_to(models["gpt2"])
    made = copied(models, family, change, folder)
    out = folder / "out"
    try:
        refused(kind, way, lambda: load_model(made, device="cpu"), folder=folder, says="model")

        def get() -> None:
            record_path_model(made, family, out)
            load_model(out, device="cpu")

        refused(kind, way, get, folder=folder, spare=out)
        assert not out.exists() or {path.name for path in out.iterdir()} in (
            set(),
            {"model.json", "tokenizer.json", "tokenizer_config.json"},
        )
    finally:
        for path in (made, out):
            shutil.rmtree(path, ignore_errors=True)
        (folder / "gpt2").unlink()


@pytest.mark.parametrize(
    ("kind", "family", "ways"),
    [
        ("weights", "gpt2", WEIGHT_WAYS),
        ("config.json", "gpt2", CONFIG_WAYS),
        ("tokenizers", "gpt2", TOKENIZER_WAYS),
        ("tokenizers", "bert", TOKENIZER_WAYS),
        ("model folders of a masked family", "bert", BERT_WAYS),
    ],
    ids=["weights", "config", "causal tokenizer", "masked tokenizer", "masked"],
)
def test_wrong_folders(
    kind: str, family: str, ways: dict[str, Change], tiny_models: dict[str, Path], tried: Path
) -> None:
    for way, change in ways.items():
        refuse(kind, f"{family}: {way}", tiny_models, family, change, tried)


def test_wrong_sizes(tiny_models: dict[str, Path], tried: Path) -> None:
    @many(80)
    @given(wrong_sizes())
    def each(wrong: tuple[str, Change]) -> None:
        refuse("config.json", wrong[0], tiny_models, "gpt2", wrong[1], tried)

    each()
    assert len(TRIED["config.json"]) >= 50


@pytest.mark.parametrize("way", RECORD_WAYS)
def test_wrong_records(way: str, tiny_models: dict[str, Path], tried: Path) -> None:
    made = copied(tiny_models, "gpt2", RECORD_WAYS[way], tried)
    refused("model.json", way, lambda: load_model(made, device="cpu"), folder=tried)


@pytest.mark.parametrize("way", HARMLESS_WAYS)
def test_odd_folders_that_mean_the_same(way: str, tiny_models: dict[str, Path], tried: Path) -> None:
    def answer(folder: Path) -> list[Any]:
        model = load_model(folder, device="cpu")
        return attribute(model, ["The old king admires ___"], ["this"]).scores.tolist()

    made = copied(tiny_models, "gpt2", HARMLESS_WAYS[way], tried)
    right = answer(tiny_models["gpt2"])
    harmless("model folders", way, lambda: answer(made), right, folder=tried)
    assert not list(tried.rglob("ran"))


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "\0",
        "a\0b",
        "x" * 5000,
        "~nobody-of-this-name/model",
        "a/b/c",
        "../..",
        "/nowhere",
        "/dev/zero",
        "-x",
        "a b",
    ],
)
def test_wrong_names(name: str, tried: Path) -> None:
    refused("names of models", repr(name)[:60], lambda: load_model(name, device="cpu"), folder=tried)
    refused("names of models", repr(name)[:60], lambda: record_path_model(name, "gpt2", tried / "out"), folder=tried)
