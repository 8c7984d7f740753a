"""What the README shows, run as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from kn_thesis.configuration.schema import Model

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_library_example_runs_on_a_miniature_model(finished_study: Path) -> None:
    (code,) = blocks("python")
    environment = os.environ | {"PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=finished_study / "scripts", env=environment, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(3, 2, 64) ")


def test_the_models_it_shows_are_valid_entries() -> None:
    (block,) = blocks("yaml")
    for model in yaml.safe_load(block)["models"].values():
        Model.model_validate(model)


def test_the_files_and_targets_it_names_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake (\w+)", README)) <= targets
    for path in re.findall(r"`((?:workflow|scripts|resources|envs|tests|config)[\w/.-]*)`", README):
        assert (ROOT / path).exists(), path
