"""The rehearsal, on a model that is small enough for a test; and what it says of models that it cannot make."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

import pytest

from kn_thesis.configuration.check import check_configuration
from kn_thesis.configuration.tasks import task_table
from kn_thesis.errors import UserError
from kn_thesis.inputs import read_user_yaml
from tests.helpers.study import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import make_random_model
import rehearse

TINY = {"model_type": "gpt2", "n_layer": 2, "n_embd": 32, "n_head": 2, "vocab_size": 4000, "n_positions": 128}
MIRROR = ROOT / "../shared/corpora"


@pytest.mark.parametrize("name", rehearse.REHEARSALS)
def test_studies_are_right_and_have_the_paper_s_settings(name: str) -> None:
    study, paper = rehearse.study_of(name, rehearse.REHEARSALS[name]), read_user_yaml(rehearse.PAPER)
    checked = check_configuration(study, [(name, study)], task_table(read_user_yaml(ROOT / "resources/tasks.yaml")))
    assert checked.attribution.nodes == paper["attribution"]["nodes"]
    assert checked.suppression.random.sets == paper["suppression"]["random"]["sets"]
    assert set(checked.editing.editors) == {"rome", "knowledge_neuron", "fine_tuning"} - (
        {"rome", "fine_tuning"} if name.startswith("bert") else set()
    )
    known = read_user_yaml(ROOT / "resources/models.yaml")
    assert rehearse.REHEARSALS[name].identifier in known


def test_a_tiny_model_is_rehearsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not MIRROR.is_dir():
        pytest.skip(f"no mirror of the corpora at {MIRROR}: nothing to rehearse on")
    monkeypatch.setenv("KN_MIRROR", str(MIRROR.resolve()))
    monkeypatch.setattr(make_random_model, "read_user_yaml", lambda _: {"tiny": TINY})
    tiny = rehearse.Rehearsal("gpt2", "tiny", prompts=1, chapters=("localization",))
    monkeypatch.setattr(rehearse, "REHEARSALS", {"tiny": tiny})
    monkeypatch.setattr(sys, "argv", ["rehearse.py", "--models", "tiny", "--folder", str(tmp_path)])
    assert rehearse.main() == 0
    weights = json.loads((tmp_path / "tiny/model/config.json").read_text())
    assert {name: weights[name] for name in TINY} == TINY
    with (tmp_path / "rehearsal.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["chapter"] for row in rows] == ["localization", "localization (selection)"]
    assert all(float(rows[0][name]) > 0 for name in rehearse.COLUMNS[5:])
    # Of the shortest jobs Snakemake sees neither time nor memory.
    assert all(float(rows[1][name]) > 0 for name in rehearse.COLUMNS[7:])
    assert float(rows[0]["peak_gb"]) < 3 and rows[0]["device"] in ("cpu", "cuda")
    header, *lines = rehearse.table(rows).splitlines()
    assert header.split()[:2] == ["model", "dtype"] and len(lines) == 2 and lines[0].startswith("tiny")


def test_mistakes_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(UserError, match="does not list it; choose one of"):
        make_random_model.make_model(tmp_path / "new", "no/such", "float32")
    with pytest.raises(UserError, match="is there already"):
        make_random_model.make_model(tmp_path, "openai-community/gpt2", "float32")
    (tmp_path / "gpt2/model").mkdir(parents=True)  # and nothing in it: its study fails
    monkeypatch.setenv("KN_MIRROR", str(tmp_path))  # and no corpus: nothing is fetched
    monkeypatch.setattr(sys, "argv", ["rehearse.py", "--models", "gpt2", "--folder", str(tmp_path)])
    assert rehearse.main() == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and "the rehearsal failed" in said[0] and str(tmp_path / "gpt2/run.log") in said[0]
    shutil.rmtree(tmp_path / "gpt2")
