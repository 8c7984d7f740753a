"""Nested values of --config get the types of the schema, and mistakes name their origin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kn_thesis.configuration.check import COMMAND_LINE, ConfigurationError, check_configuration
from kn_thesis.configuration.overlays import with_schema_types
from kn_thesis.configuration.tasks import task_table
from tests.helpers.study import snakemake

ROOT = Path(__file__).parents[2]
TASKS = task_table(yaml.safe_load((ROOT / "resources/tasks.yaml").read_text()))
STUDIES = [ROOT / "config.yaml", ROOT / "resources/studies/paper.yaml", ROOT / "tests/studies/smoke.yaml"]


def as_snakemake_reads(value: str) -> Any:
    """Parse as snakemake.cli.parse_config does, which leaves numbers and booleans inside a section as texts."""
    return yaml.load(value, Loader=yaml.BaseLoader)


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.name)
def test_a_whole_study_in_texts_means_the_same(file: Path) -> None:
    wanted = check_configuration(yaml.safe_load(file.read_text()), [], TASKS)
    written = {
        key: as_snakemake_reads(yaml.safe_dump(value)) if isinstance(value, dict) else value
        for key, value in wanted.model_dump(mode="json").items()
    }
    with pytest.raises(ConfigurationError, match="must be integer"):
        check_configuration(written, [], TASKS)
    assert check_configuration(with_schema_types(written), [], TASKS) == wanted


@pytest.mark.parametrize(
    ("section", "value", "meant"),
    [
        ("tasks", "{evaluated: 10}", {"evaluated": 10}),
        ("tasks", "{evaluated: ten}", {"evaluated": "ten"}),
        ("tasks", "{evaluated: 1.5}", {"evaluated": "1.5"}),  # no whole number: the check refuses what was written
        ("tasks", "{evaluated: true}", {"evaluated": "true"}),
        ("selection", "{coarse: 0.3}", {"coarse": 0.3}),
        ("selection", "{coarse: 1}", {"coarse": 1}),
        ("editing", "{examples: null}", {"examples": None}),
        ("editing", "{examples: 12}", {"examples": "12"}),  # a file of that name
        ("tracing", "{tasks: null}", {"tasks": None}),
        ("tracing", "{tasks: [null, 1]}", {"tasks": ["null", "1"]}),
        ("models", "{null: {path: 1, gpus: 2}}", {"null": {"path": "1", "gpus": 2}}),
        ("suppression", "{words: {plural: [two, no, 2]}}", {"words": {"plural": ["two", "no", "2"]}}),
        ("nonsense", "{a: 1}", {"a": "1"}),
        ("tasks", "{nonsense: 1}", {"nonsense": "1"}),
    ],
)
def test_texts_stay_texts_where_the_schema_has_them(section: str, value: str, meant: Any) -> None:
    value_read = with_schema_types({section: as_snakemake_reads(value)})[section]
    assert value_read == meant and repr(value_read) == repr(meant)  # 1 is not True


@pytest.mark.parametrize(
    ("file", "given", "said"),
    [
        ({"study": "x", "tasks": {"relations": ["P36"]}}, None, "study.yaml: models: is missing: give it"),
        ({"study": "x", "tasks": {"relations": ["P36"]}}, {"seed": 2}, "study.yaml: models: is missing: give it"),
        ({"study": "x", "tasks": {"relations": ["P36"]}}, {"models": {}}, "--config: models: "),
    ],
)
def test_a_mistake_is_where_it_was_made(file: dict[str, Any], given: dict[str, Any] | None, said: str) -> None:
    layers: list[tuple[str, dict[str, Any]]] = [("config.yaml", {}), ("study.yaml", file)]
    layers += [(COMMAND_LINE, given)] if given else []
    with pytest.raises(ConfigurationError) as error:
        check_configuration(file | (given or {}), layers, TASKS)
    assert any(line.startswith(said) for line in str(error.value).split("\n"))


def test_snakemake_takes_them(tmp_path: Path) -> None:
    quiet = ("--cores", "1", "--dry-run", "--quiet", "all", "--directory", str(tmp_path))
    given = ["tasks={evaluated: 10}", "attribution={nodes: 4}", "editing={examples: null}", "plan={gpu_speed: 1e13}"]
    done = snakemake(ROOT, *quiet, "--config", *given)
    assert done.returncode == 0, done.stdout
    done = snakemake(ROOT, *quiet, "--config", "tasks={evaluated: ten}")
    assert done.returncode == 1 and "\n--config: tasks.evaluated: 'ten' is not allowed: it must be " in done.stdout
    (tmp_path / "bad.yaml").write_text("study: bad\ntasks: {relations: [P36]}\n")
    done = snakemake(ROOT, *quiet, configfile=str(tmp_path / "bad.yaml"))
    assert done.returncode == 1 and "bad.yaml: models: is missing" in done.stdout and "--config:" not in done.stdout
