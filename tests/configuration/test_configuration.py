"""The check of the configuration reports every mistake at once, one line each, with exit code 1 and no traceback."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.utils import update_config

from kn_thesis.configuration.check import ConfigurationError, check_configuration
from kn_thesis.configuration.tasks import objective, takes, task_table
from kn_thesis.configuration.tasks import with_own as tasks_with_own
from tests.helpers.study import copy_repository, planned_jobs, snakemake

ROOT = Path(__file__).parents[2]
TASKS = task_table(yaml.safe_load((ROOT / "resources/tasks.yaml").read_text()))
DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text())
OVERLAYS = {"reduced.yaml": "corpus.yaml", "more-models.yaml": "paper.yaml"}
STUDIES = sorted((ROOT / "resources/studies").glob("*.yaml")) + sorted((ROOT / "tests/studies").glob("*.yaml"))


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the default study with one entry changed.

    All tasks are asked of all models and traced; none is edited if the tasks change.
    """
    config = json.loads(json.dumps(DEFAULT))  # anchors become copies
    config["tracing"] |= {"tasks": None, "shown": []}
    if path.split(".")[0] == "tasks":
        config["editing"] = {}
    if path == "editing.tasks":
        config["editing"]["sweep"]["tasks"] = []
    config["models"] = {name: model for name, model in config["models"].items() if "tasks" not in model}
    *sections, last = path.split(".")
    node = config
    for section in sections:
        node = node.setdefault(section, {})
    node[last] = value
    return config


def mistakes(config: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigurationError) as error:
        check_configuration(config, [("config.yaml", config)], TASKS)
    return str(error.value).split("\n")


def test_the_default_study_is_right() -> None:
    study = check_configuration(DEFAULT, [("config.yaml", DEFAULT)], TASKS)
    assert {model.family for model in study.models.values()} == {"bert", "gpt2", "llama"}


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.name)
def test_the_studies_are_right(file: Path) -> None:
    content = yaml.safe_load(file.read_text())
    if file.name in OVERLAYS:  # laid over another study, as snakemake does with several --configfile
        overlay, content = content, yaml.safe_load((ROOT / "resources/studies" / OVERLAYS[file.name]).read_text())
        update_config(content, overlay)
    check_configuration(content, [(file.name, content)], TASKS)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("corpora.wrold", {}, ["corpora.wrold", "unknown key", "did you mean 'world'"]),
        ("seed", "one", ["seed", "'one' is not allowed", "integer"]),
        ("selection.coarse", 1.5, ["selection.coarse", "1.5", "less than 1"]),
        ("selection.share", 0, ["selection.share", "0", "greater than 0"]),
        ("attribution.quadrature", "simpson", ["attribution.quadrature", "'simpson'", "gauss-legendre", "riemann"]),
        ("models.bert", {"family": "bert"}, ["models.bert", "exactly one source: train, hub or path"]),
        ("models.bert.path", "somewhere", ["models.bert", "exactly one source"]),
        ("models.bert.family", "t5", ["models.bert.family", "'t5'", "bert", "gpt2", "llama"]),
        ("models.bert.family", "roberta", ["models.bert", "no roberta can be trained here (bert, gpt2, llama can)"]),
        ("models.bert.world", "upside-down", ["models.bert.world", "'upside-down'", "baseline"]),
        ("models.bert.train.heads", 5, ["models.bert.train", "5", "128"]),
        ("models", {}, ["models", "at least 1"]),
        ("models.bert.tasks", ["determiner_noun_agreement_22"], ["models.bert.tasks.0", "did you mean", "_2'"]),
        ("models.gpt2.tasks", ["determiner_noun_agreement_2"], ["models.gpt2.tasks", "none of them", "causal"]),
        ("models.bert.tasks", ["P20"], ["models.bert.tasks", "none of them is a task of this study"]),
        ("models.bert.tasks", [], ["models.bert.tasks", "at least 1"]),
        ("suppression.operations", ["erase", "remove"], ["suppression.operations.1", "'remove'", "'mean'"]),
        ("suppression.operations", ["erase", "erase"], ["suppression", "each is named once"]),
        ("suppression.words.neutral", ["the", "these"], ["suppression.words", "named twice: these"]),
        ("suppression.words.neutral", ["of the"], ["suppression.words.neutral.0", "'of the'"]),
        ("suppression.random.sets", 5, ["suppression.random.sets", "5", "20"]),
        ("tasks.paradigms", ["determiner_noun_agreement_3"], ["tasks.paradigms.0", "did you mean"]),
        ("tasks.paradigms", ["passive_1"], ["'passive_1' is not in the source 'world'", "anaphor"]),
        ("tasks.relations", ["P99999"], ["tasks.relations.0", "'P99999'", "resources/tasks.yaml"]),
        ("tasks.relations", ["P36", "P36"], ["tasks.relations.1", "named twice"]),
        ("tasks", {}, ["tasks", "no task at all"]),
        ("tracing.tasks", ["P20"], ["tracing.tasks.0", "'P20' is not a task of this study"]),
        ("tracing.tasks", ["P27", "p36"], ["tracing.tasks.1", "did you mean 'P36'"]),
        ("tracing.shown", ["P20"], ["tracing.shown.0", "'P20' is not a task of this study"]),
        ("tracing.kinds", ["hidden", "mlp"], ["tracing", "mlp and attention are needed"]),
        ("tracing.kinds", ["mlp", "attention", "mlp"], ["tracing", "each is named once"]),
        ("tracing.window", {"layers": 50}, ["tracing.window", "layers (50) is above of (48)"]),
        ("tracing.noise", 0, ["tracing.noise", "greater than 0"]),
        ("editing.tasks", ["P20"], ["editing.tasks.0", "'P20' is not a task of this study"]),
        ("editing.sweep.tasks", ["P19"], ["editing.sweep.tasks.0", "is not a relation under editing.tasks"]),
        ("editing.sweep.editor", "fine_tuning", ["editing", "none of the editors with method rome"]),
        ("editing.editors.rome.method", "memit", ["editing.editors.rome", "'memit'", "'rome'"]),
        (
            "editing.editors.mine",
            {"method": "rome", "families": {"gpt2": {}}},
            ["editing", "call it 'rome' or 'rome-…'"],
        ),
        ("editing.editors.rome.families.gpt2.layer", 4, ["rome.families.gpt2.layer", "has layers 0 to 3"]),
        ("editing.editors.rome.models", {"gpt2": {"layer": 4}}, ["rome.models.gpt2.layer", "has layers 0 to 3"]),
        ("editing.editors.rome.models", {"gpt3": {}}, ["rome.models.gpt3", "no such model", "did you mean 'gpt2'"]),
        ("editing.editors.rome.models", {"bert": {"layer": 0}}, ["rome.models.bert", "its family bert is missing"]),
        ("editing.editors.rome.families.gpt2.token", "first", ["families.gpt2.token", "'subject_last' or 'last'"]),
        ("editing.editors.fine_tuning.families", {}, ["fine_tuning", "families", "at least 1"]),
        ("editing.examples", "{a}.yaml", ["editing.examples", "'{a}.yaml' is not allowed"]),
        ("corpora.mirror", 7, ["corpora.mirror", "7", "string"]),
    ],
)
def test_a_mistake_is_one_line_with_file_key_and_remedy(path: str, value: Any, said: list[str]) -> None:
    lines = mistakes(changed(path, value))
    assert len(lines) == 1, lines
    assert lines[0].startswith("config.yaml: ")
    assert all(part in lines[0] for part in said), lines[0]


def test_a_task_that_is_shown_but_not_traced() -> None:
    config = changed("tracing.tasks", ["P36"])
    config["tracing"]["shown"] = ["P36", "P27"]
    (line,) = mistakes(config)
    assert "tracing.shown.1" in line and "'P27' is not one of those under tracing.tasks" in line


def test_a_task_that_no_model_can_take() -> None:
    config = changed("tasks.paradigms", ["determiner_noun_agreement_2"])
    del config["models"]["bert"]
    (line,) = mistakes(config)
    assert "no model here can take 'determiner_noun_agreement_2'" in line and "masked" in line


def test_all_mistakes_at_once() -> None:
    config = changed("selection.coarse", 7)
    config["models"]["gpt2"].pop("train")
    config["tasks"]["relations"].append("P0")
    config["extra"] = 1
    lines = mistakes(config)
    assert len(lines) == 4
    assert all(any(key in line for line in lines) for key in ("selection.coarse", "models.gpt2", "P0", "extra"))


def test_the_file_that_sets_the_key_is_named() -> None:
    overlay = {"selection": {"coarse": 9}}
    with pytest.raises(ConfigurationError, match=r"^overlay.yaml: selection.coarse"):
        check_configuration(
            changed("selection.coarse", 9), [("config.yaml", DEFAULT), ("overlay.yaml", overlay)], TASKS
        )


def test_the_workflow_ends_with_the_lines_and_no_traceback(tmp_path: Path) -> None:
    study = copy_repository(tmp_path / "study")
    (study / "wrong.yaml").write_text(
        "study: wrong\ntasks: {paradigms: [nothing], evaluated: -1}\nmodels: {bert: {family: bert}}\n"
    )
    done = snakemake(study, "--cores", "1", configfile="wrong.yaml")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("wrong.yaml: ")]
    assert len(lines) == 3, done.stdout
    assert not (study / "results").exists()


def test_the_default_study_plans_every_task_that_each_model_can_take(tmp_path: Path) -> None:
    study = copy_repository(tmp_path / "study")
    jobs = planned_jobs(study, configfile="")

    def batches(*kinds: str, among: list[str] | None = None) -> int:
        """Count the jobs for tasks of these kinds: one per model with such tasks, as none has more than `per_job`."""
        numbers = [
            sum(
                takes(TASKS, task, objective(model["family"]))
                for kind in kinds
                for task in DEFAULT["tasks"][kind]
                if task in model.get("tasks", [task]) and task in (among or [task])
            )
            for model in DEFAULT["models"].values()
        ]
        assert max(numbers) <= DEFAULT["tasks"]["per_job"]
        return sum(number > 0 for number in numbers)

    every = batches("paradigms", "relations")
    assert jobs["attribute_neurons"] == jobs["select_neurons"] == jobs["make_prompts"] == every == 6
    assert jobs["suppress_neurons"] == batches("paradigms") == 5
    assert jobs["trace_prompts"] == batches("paradigms", "relations", among=DEFAULT["tracing"]["tasks"]) == 4
    assert jobs["edit_tasks"] == 3 * 5 + 1 and jobs["sweep_layers"] == 3 and jobs["collect_covariance"] == 3
    assert jobs["edit_examples"] == 3  # a job of each causal model
    assert jobs["train_model"] == 6 and jobs["make_world"] == 4


def test_a_model_from_elsewhere_has_no_text_to_collect_a_covariance_over() -> None:
    config = changed("models.gpt2", {"family": "gpt2", "hub": {"id": "openai-community/gpt2"}})
    [line] = mistakes(config)
    assert "editing.editors.rome-covariance.covariance.texts" in line and "model 'gpt2' is not trained here" in line


def with_own(**own: Any) -> dict[str, Any]:
    return changed("tasks.own", own)


def test_tasks_of_one_s_own_are_tasks() -> None:
    config = with_own(paradigms={"mine": {"pairs": "mine.jsonl", "takes": ["masked"]}})
    config["tasks"]["paradigms"].append("mine")
    study = check_configuration(config, [("config.yaml", config)], TASKS)
    table = tasks_with_own(TASKS, study.tasks.own.model_dump())
    assert takes(table, "mine", "masked") and not takes(table, "mine", "causal")
    assert table["mine"].is_in("world") and table["mine"].files == {"pairs": "mine.jsonl"}


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"paradigms": {"P36": {"pairs": "a"}}}, "there is a task 'P36' already: choose another name"),
        ({"relations": {"mine": {"patterns": "a", "facts": "b", "inverse": "P36"}}}, "relations.P36 has no `inverse"),
        ({"relations": {"mine": {"patterns": "a", "facts": "b", "synonym": "P0"}}}, "'P0' is not a relation"),
        ({"relations": {"mine": {"patterns": "a"}}}, "is missing: give it"),
        ({"paradigms": {"mine": {"pairs": "a", "takes": ["both"]}}}, "it must be 'masked' or 'causal'"),
        ({"paradigms": {"a.b": {"pairs": "a"}}}, "it must match"),
    ],
)
def test_mistakes_in_tasks_of_one_s_own(own: dict[str, Any], message: str) -> None:
    assert any(message in line and "tasks.own" in line for line in mistakes(with_own(**own)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--configfile", "none.yaml"], "none.yaml"),
        (["--directory=x", "--configfiles", "config.yaml", "bad.yaml", "--forceall"], "bad.yaml: __use_yte__"),
        (["--configfile=bad.yaml"], "bad.yaml: __use_yte__"),
    ],
)
def test_files_are_read_before_snakemake_reads_them(arguments: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("__use_yte__: true\n")
    (tmp_path / "config.yaml").write_text("study: right\n")
    script = str(ROOT / "scripts/tools/check_configfiles.py")
    done = subprocess.run([sys.executable, script, *arguments], cwd=tmp_path, text=True, capture_output=True)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and said in done.stderr
    right = [sys.executable, script, "--configfile", "config.yaml", "--cores", "2", "--", "all"]
    assert subprocess.run(right, cwd=tmp_path).returncode == 0


def test_make_reads_them_first() -> None:
    assert re.search(
        r"^study: .*\n\t@\$\(BIN\)/python scripts/tools/check_configfiles.py", (ROOT / "Makefile").read_text(), re.M
    )
