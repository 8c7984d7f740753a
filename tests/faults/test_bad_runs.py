"""Wrong input on the command line, as a user meets it: one line, exit code 1, no traceback, nothing half-written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.helpers.bad_input import TRIED
from tests.helpers.bad_items import RIGHT, lines
from tests.helpers.study import copy_repository, edit, snakemake

KIND = "runs of the workflow"
PAIRS = {"paradigms": {"mine": {"pairs": "mine.jsonl", "takes": ["causal"]}}}
STUDY = {
    "study": "wrong",
    "tasks": {"own": PAIRS, "paradigms": ["mine"]},
    "models": {"found": {"family": "gpt2", "path": "model", "device": "cpu"}},
    "tracing": {"tasks": []},
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_repository(tmp_path_factory.mktemp("runs") / "study")


@pytest.fixture
def study(repository: Path) -> Iterator[Path]:
    """A copy of the repository with a study of an own model and own pairs, which do not exist yet."""
    (repository / "study.yaml").write_text(yaml.safe_dump(STUDY))
    yield repository
    for name in ("study.yaml", "mine.jsonl", "model"):
        if os.path.lexists(repository / name):
            (repository / name).unlink()


def ends(way: str, study: Path, said: list[str], *arguments: str, configfile: str = "study.yaml") -> None:
    """Check that a run ends with exit code 1 and one line with all parts; Snakemake repeats a failed job's log."""
    TRIED.setdefault(KIND, set()).add(way)
    done = snakemake(study, "--cores", "1", *arguments, configfile=configfile)
    assert done.returncode == 1, done.stdout[-3000:]
    assert "Traceback" not in done.stdout
    found = {line for line in done.stdout.splitlines() if all(part in line for part in said)}
    assert len(found) == 1, done.stdout[-3000:]


def test_a_duplicate_key(study: Path) -> None:
    with (study / "study.yaml").open("a") as file:
        file.write("seed: 1\nseed: 2\n")
    ends("key twice", study, ["study.yaml, line ", "the key 'seed' appears twice"], "--dry-run")
    assert not (study / "results").exists()


def test_own_files_that_do_not_exist(study: Path) -> None:
    ends("no file", study, ["study.yaml: tasks.own.paradigms.mine.pairs: there is no file 'mine.jsonl'"], "--dry-run")
    assert not (study / "results").exists()


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("tasks.yaml", "P36: {label", "P36: {labl", "relations.P36: 'label' is missing"),
        ("claims.yaml", "fewest: 3", "fewer: 3", "'fewest' is missing"),
    ],
)
def test_a_resource_that_is_wrong(
    study: Path, tiny_models: dict[str, Path], file: str, old: str, new: str, said: str
) -> None:
    (study / "mine.jsonl").write_text(lines(RIGHT["pairs"]))
    (study / "model").symlink_to(tiny_models["gpt2"])
    edit(study / "resources" / file, old, new)
    ends(file, study, [f"resources/{file}", said], "--dry-run")
    edit(study / "resources" / file, new, old)


def test_a_model_that_is_pickled(study: Path, tiny_models: dict[str, Path]) -> None:
    (study / "mine.jsonl").write_text(lines(RIGHT["pairs"]))
    (study / "model").symlink_to(tiny_models["pickle"])
    said = ["study.yaml: models.found.path: model has no weights in the safetensors format"]
    ends("pickled model", study, said, "results/models/found/model.json")
    assert not (study / "results").exists()


def test_pairs_that_are_wrong(study: Path, tiny_models: dict[str, Path]) -> None:
    (study / "mine.jsonl").write_text(lines(RIGHT["pairs"]) + '{"sentence_good": "Half a')
    (study / "model").symlink_to(tiny_models["gpt2"])
    said = ["study.yaml: tasks.own.paradigms.mine.pairs: ", "mine.jsonl, line 6: not JSON"]
    ends("wrong pairs", study, said, "results/prompts/found/mine.parquet")
    assert not (study / "results").exists()
