"""A full disk: one line that names the file, no partial file, and the same bytes once there is space."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kn_thesis.errors import UserError
from kn_thesis.files import check_disk_space, scratch_folder, whole_file
from tests.helpers.faults import changing, fill, mounted, run, small_disk

TABLE = pd.DataFrame({"number": np.random.default_rng(1).random(40_000)})


def save_tensors(path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"numbers": TABLE["number"].to_numpy()}, path)


def save_picture(path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    figure.figimage(TABLE["number"].to_numpy().reshape(200, 200))
    figure.savefig(path)


WRITERS: dict[str, Callable[[Path], object]] = {
    "parquet": lambda path: TABLE.to_parquet(path, index=False),
    "csv": lambda path: TABLE.to_csv(path, index=False),
    "safetensors": save_tensors,
    "json": lambda path: path.write_text(json.dumps(TABLE["number"].tolist()), encoding="utf-8"),
    "png": save_picture,
}


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A disk with space for a few blocks."""
    with small_disk(tmp_path_factory.mktemp("disk"), "64k") as folder:
        yield folder


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_leaves_what_was_there(disk: Path, kind: str) -> None:
    path = disk / f"file.{kind}"
    path.write_text("what was there")
    with pytest.raises(UserError) as caught, whole_file(path) as temporary:
        WRITERS[kind](temporary)
    assert str(caught.value) == f"{path}: the disk is full; free some space and run again"
    assert path.read_text() == "what was there" and list(disk.iterdir()) == [path]
    path.unlink()


def test_a_model_on_a_full_disk_is_not_begun(disk: Path) -> None:
    with pytest.raises(UserError, match="the disk is full"), scratch_folder(disk / "gpt2") as folder:
        save_tensors(folder / "model.safetensors")
    assert not list(disk.iterdir())


def test_a_run_that_has_no_space_to_begin_is_one_line(disk: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\.snakemake: nothing can be written there \(No space left on device\)"):
        check_disk_space(disk / ".snakemake")
    (disk / ".snakemake").rmdir()  # nothing is left in it
    check_disk_space(tmp_path / ".snakemake")
    assert not list((tmp_path / ".snakemake").iterdir())


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """Files with similar names stay."""
    others = [tmp_path / name for name in (".table.csv", ".table.2.1.csv", "table.1.csv", ".other.1.csv")]
    for path in (tmp_path / ".table.4711.csv", *others):
        path.write_text("half a ta")
    (tmp_path / ".gpt2.4711").mkdir()
    (tmp_path / ".gpt2.4711/config.json").write_text("{")
    with whole_file(tmp_path / "table.csv") as path:
        path.write_text("a table\n")
    with scratch_folder(tmp_path / "gpt2") as folder:
        assert not list(folder.iterdir())
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "table.csv", *others])


def test_a_folder_that_may_not_be_written_to_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    with (
        mounted(tmp_path / "given", "-t", "tmpfs", "-o", "ro", "tmpfs"),
        pytest.raises(UserError, match=r"given/table\.csv: cannot be written \(Read-only file system\)"),
        whole_file(tmp_path / "given/table.csv") as path,
    ):
        path.write_text("a table\n")


def test_a_study_on_a_full_disk_goes_on_when_there_is_space(finished_study: Path, tmp_path: Path) -> None:
    study = changing(finished_study, tmp_path / "study")
    folder = study / "results/localization/gpt2"
    target = folder / "tasks-1.neurons.parquet"
    folder.rename(tmp_path / "kept")
    folder.mkdir()
    with small_disk(folder, "2m"):
        shutil.copytree(tmp_path / "kept", folder, dirs_exist_ok=True)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        target.unlink()
        filler = fill(folder)
        code, words = run(study, str(target.relative_to(study)))
        assert code == 1 and "Traceback" not in words
        # Either of the job's two files: Snakemake has removed the other one, which freed some space.
        line = r"^error: results/localization/gpt2/tasks-1\.\w+\.parquet: the disk is full; free some space"
        assert re.search(line, words, re.MULTILINE), words
        assert not target.exists() and not list(folder.glob(".*"))
        filler.unlink()
        code, words = run(study, str(target.relative_to(study)))
        assert code == 0, words
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
