"""Provenance: settings without personal folders, seeds, checksums, models, commit, and a machine without a name."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from kn_thesis.report.provenance import (
    HIDDEN,
    UNVERSIONED,
    checksums,
    fetched_checksums,
    flatten_settings,
    machine,
    model_facts,
    project,
    say_project,
    seeds,
    setting_text,
)

ROOT = Path(__file__).parents[2]


def test_settings_are_flat_and_in_their_order() -> None:
    study = {"b": {"x": 1, "inner": {"y": None}}, "a": [1, 2], "none": {}}
    assert flatten_settings(study) == [("b.x", 1), ("b.inner.y", None), ("a", [1, 2]), ("none", [])]
    assert [setting_text(value) for _, value in flatten_settings(study)] == ["1", "", "1, 2", ""]


@pytest.mark.parametrize("place", ["/srv/alice/mirror", "~/mirror", "C:\\Users\\alice", "file:///srv/alice"])
def test_a_folder_of_a_machine_is_left_out(place: str) -> None:
    settings = dict(flatten_settings({"corpora": {"mirror": place}, "folders": ["kept/below", place]}))
    assert settings == {"corpora.mirror": HIDDEN, "folders": ["kept/below", HIDDEN]}


def test_addresses_are_kept_without_who_logs_in() -> None:
    settings = dict(
        flatten_settings(
            {"one": "https://alice:secret@example.org/x", "two": "https://example.org/@x", "three": "../a"}
        )
    )
    assert settings == {"one": "https://example.org/x", "two": "https://example.org/@x", "three": "../a"}


def test_seeds_are_the_keys_that_end_so() -> None:
    settings = {"seed": 1, "models.bert.train.seed": 2, "bootstrap.noise_seed": 3, "seeds.number": 4, "seedling": 5}
    assert seeds(settings) == {"seed": 1, "models.bert.train.seed": 2, "bootstrap.noise_seed": 3}


def test_checksums_are_those_of_the_files(tmp_path: Path) -> None:
    for name, content in (("b/one.csv", b"one"), ("a.yaml", b"")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert checksums([tmp_path / "b/one.csv", tmp_path / "a.yaml"], tmp_path) == [
        {"file": "a.yaml", "bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()},
        {"file": "b/one.csv", "bytes": 3, "sha256": hashlib.sha256(b"one").hexdigest()},
    ]


def test_results_behind_a_link_keep_their_names(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch/text.txt").write_text("text")
    (tmp_path / "study").mkdir()
    (tmp_path / "study/results").symlink_to(tmp_path / "scratch")
    (tmp_path / "also").symlink_to(tmp_path / "study")
    for folder in ("study", "also"):
        (row,) = checksums([tmp_path / "study/results/text.txt"], tmp_path / folder)
        assert not row["file"].startswith("/") and row["file"].endswith("text.txt")
    (row,) = checksums([tmp_path / "study/results/text.txt"], tmp_path / "study")
    assert row["file"] == "results/text.txt"


def test_fetched_files_are_shown_as_they_are_pinned() -> None:
    manifest = ROOT / "resources/corpora.yaml"
    content = yaml.safe_load(manifest.read_text())
    files = [("blimp", "data/adjunct_island.jsonl"), ("pararel", "data/trex_lms_vocab/P36.jsonl")]
    for row, (corpus, path) in zip(fetched_checksums(manifest, files), files, strict=True):
        assert (
            row["sha256"] == content[corpus]["files"][path]["sha256"] and row["licence"] == content[corpus]["licence"]
        )
        assert row["url"] == content[corpus]["root"] + path and row["url"].startswith("https://")
    with pytest.raises(KeyError):
        fetched_checksums(manifest, [("blimp", "data/unheard_of.jsonl")])


def weights(file: Path, *shapes: list[int]) -> None:
    """A safetensors file of zeros."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    header |= {f"w{n}": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for n, shape in enumerate(shapes)}
    text = json.dumps(header).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(struct.pack("<Q", len(text)) + text)


def record(source: str, location: str, revision: str | None = None) -> dict[str, Any]:
    return {"family": "bert", "source": source, "location": location, "revision": revision}


def test_a_trained_model_is_known_by_its_weights(tmp_path: Path) -> None:
    weights(tmp_path / "model.safetensors", [2, 3])
    (tmp_path / "training.json").write_text('{"parameters": 5}')
    facts = model_facts(record("train", "."), tmp_path)
    assert facts["weights_sha256"] == hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    assert facts["parameters"] == 5 and facts["revision"] is None


def test_a_model_of_the_hub_is_known_by_its_revision(tmp_path: Path) -> None:
    facts = model_facts(record("hub", "some/model", "abc123"), tmp_path)
    assert (facts["hub_id"], facts["revision"]) == ("some/model", "abc123")
    assert facts["weights_sha256"] is None and facts["parameters"] is None


def test_a_model_in_a_folder_is_known_by_its_shards_and_not_by_the_folder(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    weights(elsewhere / "model-2.safetensors", [4], [])
    weights(elsewhere / "model-1.safetensors", [2, 3])
    facts = model_facts(record("path", str(elsewhere)), tmp_path / "results")
    lines = [
        f"{hashlib.sha256((elsewhere / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("model-1.safetensors", "model-2.safetensors")
    ]
    assert facts["weights_sha256"] == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert facts["parameters"] == 6 + 4 + 1
    assert "elsewhere" not in json.dumps(facts)
    shutil.rmtree(elsewhere)
    assert model_facts(record("path", str(elsewhere)), tmp_path)["weights_sha256"] is None


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    if shutil.which("git") is None:
        pytest.skip("no git on this machine")
    folder = tmp_path / "project"
    (folder / "workflow").mkdir(parents=True)
    for name in ("workflow/Snakefile", "README.md"):
        (folder / name).write_text("text\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder


def test_the_commit_and_what_differs_from_it(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD").strip()
    assert project(repository) == {"commit": commit, "changed": 0, "added": 0}
    assert say_project(project(repository)) == f"{commit} (the files are those of the commit)"
    (repository / "README.md").write_text("other\n")
    (repository / "new.txt").write_text("new\n")
    (repository / "newer.txt").write_text("new\n")
    assert say_project(project(repository)) == f"{commit} (1 file changed, 2 files not in it)"


def test_no_repository_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert say_project(project(tmp_path)) == UNVERSIONED
    assert set(project(tmp_path).values()) == {None}


def test_no_git_is_no_failure(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository))
    assert say_project(project(repository)) == UNVERSIONED


def test_a_repository_that_the_project_merely_lies_in_is_not_its_own(repository: Path) -> None:
    inner = repository / "unpacked"
    (inner / "workflow").mkdir(parents=True)
    (inner / "workflow/Snakefile").write_text("text\n")
    assert say_project(project(inner)) == UNVERSIONED


def test_a_repository_named_in_the_environment_is_not_looked_at(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    assert say_project(project(tmp_path)) == UNVERSIONED


def test_the_machine_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.node", lambda: "alices-laptop")
    assert set(machine()) == {"python", "system", "processor", "cpus"}
    assert "alices-laptop" not in json.dumps(machine())
