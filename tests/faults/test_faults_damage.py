"""Damaged results are detected before they are used, in one line that names file and remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kn_thesis.errors import UserError
from kn_thesis.joblog import damaged_input, logged
from kn_thesis.report.comparison.runs import read_run
from tests.helpers.faults import changing, run


def flipped(body: bytes) -> bytes:
    """Overwrite the head and the middle of a file, as a broken cable would; its size and end stay the same."""
    return b"\0\0\0\0" + body[4 : len(body) // 3] + b"\xff" * (len(body) // 3) + body[len(body) // 3 * 2 :]


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """One intact file of each format below results/, by suffix."""
    from safetensors.numpy import save_file

    monkeypatch.chdir(tmp_path)
    folder = Path("results")
    folder.mkdir()
    names = ["parquet", "safetensors", "csv", "jsonl", "json", "txt"]
    files = {name: folder / f"file.{name}" for name in names}
    table = pd.DataFrame({"word": [f"word {i}" for i in range(99)], "count": range(99)})
    table.to_parquet(files["parquet"], compression="zstd")
    table.to_csv(files["csv"], index=False)
    save_file({"scores": np.arange(99.0)}, files["safetensors"])
    files["jsonl"].write_text("".join(json.dumps(row) + "\n" for row in table.to_dict("records")))
    files["json"].write_text(json.dumps(table.to_dict("records"), indent=1) + "\n")
    files["txt"].write_text("A sentence.\n" * 99)
    return files


@pytest.mark.parametrize("kind", ["parquet", "safetensors", "csv", "jsonl", "json", "txt"])
def test_a_damaged_file_is_detected_by_its_bytes(whole: dict[str, Path], kind: str) -> None:
    path = whole[kind]
    body = path.read_bytes()
    assert damaged_input(whole.values(), thorough=True) is None
    # Cut off in a line, or full of zeros after a power cut (which may be numbers): seen at once.
    zeros = [] if kind == "safetensors" else [body[: len(body) // 2].ljust(len(body), b"\0")]
    for harm in (body[: len(body) // 2 + 3], body[:-3], *zeros):
        path.write_bytes(harm)
        message = damaged_input(whole.values())
        assert message is not None and message.startswith(f"results/file.{kind} is damaged")
        assert "delete it and run again" in message and "\n" not in message
    # Damage in the middle is seen when all is read.
    path.write_bytes(flipped(body))
    message = damaged_input(whole.values(), thorough=True)
    assert message is not None and message.startswith(f"results/file.{kind} is damaged")


def test_empty_files_folders_and_what_is_not_a_result(whole: dict[str, Path]) -> None:
    for kind, path in whole.items():
        path.write_bytes(b"")
        assert (damaged_input([path]) is None) == (kind == "jsonl")  # which may hold no rows
    (mine := Path("mine.csv")).write_bytes(b"a,b\n1")
    assert damaged_input([mine, mine.resolve(), "results", "results/absent.csv"], thorough=True) is None


def test_every_whole_result_of_a_study_passes(finished_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished_study)
    files = [path for path in Path("results").rglob("*") if path.is_file()]
    assert len(files) > 300 and damaged_input(files, thorough=True) is None


def test_a_damaged_result_stops_what_reads_it_until_it_is_deleted(finished_study: Path, tmp_path: Path) -> None:
    study = changing(finished_study, tmp_path / "study")
    damaged, target = "results/models/gpt2.evaluation.parquet", "results/tables/models.csv"
    whole = (study / damaged).read_bytes()
    (study / damaged).write_bytes(whole[: len(whole) // 2])  # and newer than all that was made of it
    code, words = run(study, target)
    assert code == 1 and "Traceback" not in words
    line = f"error: {damaged} is damaged (its end is missing): delete it and run again; it will be made again"
    assert line in words.splitlines()
    (study / damaged).unlink()
    code, words = run(study, target)
    assert code == 0, words
    assert (study / damaged).read_bytes() == whole
    assert (study / target).read_bytes() == (finished_study / target).read_bytes()


def test_a_run_with_a_table_that_is_cut_off_is_not_compared(tmp_path: Path) -> None:
    body = "model,task,KN\ngpt2,P36,2.5\ngpt2,P47,2.75\n"
    (tmp_path / "localization.csv").write_text(body)
    assert len(read_run(str(tmp_path)).tables["localization"]) == 2
    (tmp_path / "localization.csv").write_text(body[:-3])  # 2. is a number as well
    with pytest.raises(UserError, match=r"localization\.csv: not a readable CSV table \(its end is missing\)"):
        read_run(str(tmp_path))


def read_parquet(path: Path) -> object:
    return pd.read_parquet(path)


def refuse(path: Path) -> None:
    raise UserError("the model cannot be loaded")


@pytest.mark.parametrize("read", [read_parquet, refuse])
@pytest.mark.parametrize("harm", [lambda body: body[:-9], flipped], ids=["cut off", "flipped"])
def test_a_script_ends_in_one_line_on_its_damaged_input(
    whole: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    harm: Callable[[bytes], bytes],
    read: Callable[[Path], object],
) -> None:
    path = whole["parquet"]
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(SystemExit) as stopped, logged("job.log", [path]):
        read(path)
    message = capsys.readouterr().err
    assert stopped.value.code == 1 and message.startswith("error: results/file.parquet is damaged")
    assert message.count("\n") == 1 and Path("job.log").read_text() == message
