"""Users' own files are read while the study is planned: a broken file or a wrong folder is reported in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from kn_thesis.configuration.check import ConfigurationError, check_configuration, check_own_files
from kn_thesis.configuration.tasks import task_table
from kn_thesis.errors import UserError
from kn_thesis.inputs import read_rows
from tests.helpers.study import ROOT, snakemake

TASKS = task_table(yaml.safe_load((ROOT / "resources/tasks.yaml").read_text()))
PAIR = {"sentence_good": "Two men smile.", "sentence_bad": "Two man smile.", "one_prefix_method": True}
PATTERN, FACT = {"pattern": "[X] is in [Y] ."}, {"sub_label": "Rome", "obj_label": "Italy", "uuid": "1"}


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


RIGHT = {"pairs.jsonl": lines(PAIR), "patterns.jsonl": lines(PATTERN), "facts.jsonl": lines(FACT)}


def model_folder(folder: Path, **config: Any) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2"} | config))
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def study_in(folder: Path) -> dict[str, Any]:
    for name, text in RIGHT.items():
        (folder / name).write_text(text)
    relation = {"patterns": str(folder / "patterns.jsonl"), "facts": str(folder / "facts.jsonl")}
    own = {"paradigms": {"numbers": {"pairs": str(folder / "pairs.jsonl")}}, "relations": {"places": relation}}
    return {
        "study": "own",
        "tasks": {"own": own, "paradigms": ["numbers"], "relations": ["places"]},
        "models": {"mine": {"family": "gpt2", "path": str(model_folder(folder / "model"))}},
    }


def said(config: dict[str, Any]) -> list[str]:
    layers = [("study.yaml", config)]
    with pytest.raises(ConfigurationError) as error:
        check_own_files(check_configuration(config, layers, TASKS), layers, ROOT)
    return str(error.value).split("\n")


def test_what_is_right_passes(tmp_path: Path) -> None:
    config = study_in(tmp_path)
    check_own_files(check_configuration(config, [], TASKS), [], ROOT)


BROKEN = {
    "empty": ("pairs.jsonl", "", "pairs.jsonl: is empty: add a row, or remove the task"),
    "blank lines": ("facts.jsonl", "\n\n", "facts.jsonl: is empty: add a row, or remove the task"),
    "no JSON": ("pairs.jsonl", lines(PAIR) + "{", "pairs.jsonl, line 2: not JSON"),
    "a key misspelt": ("facts.jsonl", lines({"sub_label": "Rome", "obj_lable": "Italy", "uuid": "1"}), "'obj_label'"),
    "no object": ("patterns.jsonl", lines({"pattern": "[X] is there ."}), "needs [X] and, once, [Y]: correct it"),
    "an id twice": ("facts.jsonl", lines(FACT, FACT | {"sub_label": "Pisa"}), "line 2: uuid 1 appears twice"),
    "no method": (
        "pairs.jsonl",
        lines({key: value for key, value in PAIR.items() if key != "one_prefix_method"}),
        "needs the key 'one_prefix_method' with a value of type bool",
    ),
}


@pytest.mark.parametrize(("file", "content", "why"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_of_a_task(file: str, content: str, why: str, tmp_path: Path) -> None:
    config = study_in(tmp_path)
    (tmp_path / file).write_text(content)
    [line] = said(config)
    task = "paradigms.numbers" if file == "pairs.jsonl" else "relations.places"
    assert line.startswith(f"study.yaml: tasks.own.{task}.{Path(file).stem}: ") and why in line
    assert "workflow" not in line  # which makes no file of a user's own


def test_a_folder_that_is_not_such_a_model(tmp_path: Path) -> None:
    config = study_in(tmp_path)
    config["models"]["mine"]["family"] = "llama"
    assert said(config) == [
        f"study.yaml: models.mine.path: {tmp_path / 'model'} is a model of the family 'gpt2', not 'llama'; "
        "set `family`, or choose another"
    ]
    config["models"]["mine"]["path"] = str(tmp_path / "nowhere")
    [line] = said(config)
    assert line.startswith("study.yaml: models.mine.path: there is no folder '")


def test_a_folder_with_an_adapter_alone(tmp_path: Path) -> None:
    config = study_in(tmp_path)
    (tmp_path / "model/config.json").unlink()
    (tmp_path / "model/adapter_config.json").write_text("{}")
    [line] = said(config)
    assert "only an adapter's weights (PEFT); merge it into its model with merge_and_unload()" in line


def test_every_mistake_is_reported_at_once(tmp_path: Path) -> None:
    config = study_in(tmp_path)
    for file in RIGHT:
        (tmp_path / file).write_text("")
    (tmp_path / "model/model.safetensors").unlink()
    assert len(said(config)) == 4


def test_only_what_the_workflow_makes_can_be_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = Path("results/corpora/fetched/paradigms/a.jsonl")
    result.parent.mkdir(parents=True)
    result.write_text("")
    with pytest.raises(UserError, match="is empty: delete it, and the workflow makes it again"):
        read_rows(result, {})
    with pytest.raises(UserError, match="no such file: let the workflow make it"):
        read_rows(result.with_name("b.jsonl"), {})
    with pytest.raises(UserError, match="no such file: correct the path"):
        read_rows("mine.jsonl", {})


def test_the_dry_run_says_so(tmp_path: Path) -> None:
    config = study_in(tmp_path)
    (tmp_path / "pairs.jsonl").write_text("")
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config))
    quiet = ("--cores", "1", "--dry-run", "--quiet", "all", "--directory", str(tmp_path))
    done = snakemake(ROOT, *quiet, configfile=str(tmp_path / "study.yaml"))
    assert done.returncode == 1 and "Traceback" not in done.stdout
    assert "tasks.own.paradigms.numbers.pairs: " in done.stdout and "is empty: add a row" in done.stdout


@pytest.mark.parametrize("profile", ["default", "slurm"])
def test_a_configuration_file_that_is_missing_is_one_line(profile: str) -> None:
    arguments = ("--cores", "1", "--dry-run", "--workflow-profile", f"workflow/profiles/{profile}")
    done = snakemake(ROOT, *arguments, configfile="nowhere.yaml")
    assert done.returncode == 1 and "Traceback" not in done.stdout
    assert done.stdout.splitlines()[-1] == "error: nowhere.yaml: there is no such file: correct the path"
