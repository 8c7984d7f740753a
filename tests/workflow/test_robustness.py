"""The table of trainings over seeds, instruction sets and worlds: which runs it has, and what it says of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kn_thesis.configuration.check import check_configuration
from kn_thesis.configuration.tasks import task_table
from kn_thesis.inputs import read_user_yaml
from tests.helpers.study import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import robustness


def test_every_model_of_the_default_study_is_trained_over_seeds() -> None:
    study = robustness.study_of(6, worlds=True)
    check_configuration(study, [("robustness", study)], task_table(read_user_yaml(ROOT / "resources/tasks.yaml")))
    default = read_user_yaml(ROOT / "config.yaml")
    seeds = {name: [key for key in study["models"] if key.rsplit("_", 1)[0] == name] for name in default["models"]}
    assert {name: len(keys) for name, keys in seeds.items()} == {
        name: 6 if name in robustness.FAMILIES else 3 for name in default["models"]
    }
    for name, keys in seeds.items():
        for number, key in enumerate(keys, 1):
            expected = default["models"][name] | {"train": default["models"][name]["train"] | {"seed": number}}
            assert study["models"][key] == expected
    elsewhere = robustness.study_of(2, worlds=False)["models"]
    assert {key.rsplit("_", 1)[0] for key in elsewhere} == set(robustness.FAMILIES) and len(elsewhere) == 6


def pretended(place: Path, study: Mapping[str, Any], cores: int, variables: Mapping[str, str]) -> None:
    """What a run leaves, with numbers that are known: the second seed of bert has not learned on the oldest set."""
    failed = "bert_2" if variables.get("ATEN_CPU_CAPABILITY") == "default" else ""
    for name in study["models"]:
        folder = place / f"results/models/{name}"
        folder.mkdir(parents=True)
        tasks = [("P36", "trained", 0.99), ("P101", "validation", 0.97)]
        validation = [{"task": task, "split": split, "accuracy": accuracy} for task, split, accuracy in tasks]
        (folder / "training.json").write_text(json.dumps({"steps": 1200, "validation": validation}))
        benchmark = place / f"results/benchmarks/train_model/{name}.tsv"
        benchmark.parent.mkdir(parents=True, exist_ok=True)
        benchmark.write_text("s\tcpu_time\n80\t71.6\n")
        asked = [("P36", "held_out", 70 if name == failed else 96), ("P36", "trained", 100)]
        if "exempt" in study["models"][name]["must_learn"]:
            asked.append(("P1376", "held_out", 0))  # nothing is demanded of it
        rows = [
            {"task": task, "kind": "relation", "split": split, "correct": number < right, "probability": 0.5}
            | {"foil_probability": float("nan"), "rank": 1}
            for task, split, right in asked
            for number in range(100)
        ]
        pd.DataFrame(rows).to_parquet(place / f"results/models/{name}.evaluation.parquet")


def test_the_table_is_made_and_put_into_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{robustness.MARKS[0]}\nold\n{robustness.MARKS[1]}\nafter\n")
    monkeypatch.setattr(robustness, "run", pretended)
    monkeypatch.setattr(sys, "argv", ["robustness", "--folder", str(tmp_path / "all"), "--page", str(page)])
    assert robustness.main() == 0
    table = pd.read_csv(tmp_path / "all/robustness.csv")
    worlds = len(read_user_yaml(ROOT / "config.yaml")["models"]) - 3
    assert len(table) == 3 * 6 + 3 * worlds + 2 * 3 * 2
    assert set(table["steps"]) == {1200} and set(table["seconds"]) == {72}
    assert set(table["validation"]) == {0.97} and set(table["validation_task"]) == {"P101 (validation)"}
    failed = table[table["learned"] == "no"]
    assert list(zip(failed["model"], failed["seed"], failed["instructions"], strict=True)) == [("bert", 2, "SSE")]
    assert list(failed["room"]) == [-0.1] and set(table["room"]) == {-0.1, 0.05}
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert text.count("| yes |") == len(table) - 1 and "| bert | baseline | 2 | SSE | 1200 | 72 | no |" in text
    assert f"{len(table)} runs, 1 of which have not learned" in capsys.readouterr().out


def test_what_has_ended_is_gathered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = robustness.study_of(6, worlds=True)
    pretended(tmp_path / "native", study | {"models": {"gpt2_3": study["models"]["gpt2_3"]}}, 1, {})
    monkeypatch.setattr(robustness, "run", lambda *_: pytest.fail("something ran"))
    monkeypatch.setattr(sys, "argv", ["robustness", "--folder", str(tmp_path), "--gather"])
    assert robustness.main() == 0
    assert "| gpt2 | baseline | 3 | native |" in (said := capsys.readouterr().out) and "1 runs, 0 of which" in said


def test_a_page_without_a_place_for_the_table_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page.md").write_text("nothing here\n")
    monkeypatch.setattr(robustness, "run", pretended)
    page = str(tmp_path / "page.md")
    monkeypatch.setattr(sys, "argv", ["robustness", "--folder", str(tmp_path / "all"), "--page", page])
    assert robustness.main() == 1
    assert "page.md: the lines" in capsys.readouterr().err and (tmp_path / "page.md").read_text() == "nothing here\n"
