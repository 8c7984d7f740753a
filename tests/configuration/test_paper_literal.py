"""The study with the public code's settings has every published value; docs/deviations.md names existing options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kn_thesis.configuration.check import check_configuration
from kn_thesis.configuration.tasks import task_table
from tests.helpers.study import snakemake

ROOT = Path(__file__).parents[2]
FILE = ROOT / "resources/studies/paper-literal.yaml"
PAGE = (ROOT / "docs/deviations.md").read_text(encoding="utf-8")

ROME = {"learning_rate": 0.5, "clamp": 4, "kl": 0.0625, "token": "subject_last", "contexts": [[5, 10], [10, 10]]}
WORDS = "these those two both multiple several various | this that one a an every unique single sole"
NEUTRAL = "the any all some my our unified scattered"
# Typed from the authors' poster and public code.
PUBLISHED: dict[str, Any] = {
    "attribution": {"neuron": "preactivation", "quadrature": "riemann", "nodes": 20},
    "selection": {
        "coarse": 0.2,
        "share": 0.7,
        "adaptive": {"low": 2, "high": 5, "start": 0.7, "step": 0.05, "steps": 20},
    },
    "suppression": {
        "operations": ["erase"],
        "words": dict(zip(("plural", "singular"), (part.split() for part in WORDS.split("|")), strict=True))
        | {"neutral": NEUTRAL.split(), "biased": []},
        "level": 0.05,
    },
    "editing": {
        "editors": {
            "rome": {
                "covariance": None,
                "families": {
                    "gpt2": ROME | {"layer": 17, "steps": 20, "weight_decay": 0.5},
                    "llama": ROME | {"layer": 5, "steps": 25, "weight_decay": 0.001},
                },
            }
        }
    },
}
TASKS = {
    *("determiner_noun_agreement_1", "determiner_noun_agreement_2", "determiner_noun_agreement_irregular_1"),
    *("determiner_noun_agreement_irregular_2", "determiner_noun_agreement_with_adjective_1"),
    *("determiner_noun_agreement_with_adj_2", "determiner_noun_agreement_with_adj_irregular_2"),
    *("P101", "P103", "P106", "P108", "P1303", "P140", "P36", "P1376"),
}


@pytest.fixture(scope="module")
def study() -> dict[str, Any]:
    """The study as the workflow reads it, with defaults."""
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    tasks = task_table(yaml.safe_load((ROOT / "resources/tasks.yaml").read_text()))
    return check_configuration(content, [(FILE.name, content)], tasks).model_dump(mode="json")


def leaves(node: dict[str, Any], key: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for part, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, (*key, part))
        else:
            yield (*key, part), value


def at(study: dict[str, Any], key: tuple[str, ...]) -> Any:
    for part in key:
        study = study[part]
    return study


def test_each_published_setting_has_its_value(study: dict[str, Any]) -> None:
    published = dict(leaves(PUBLISHED))
    assert {key: at(study, key) for key in published} == published and len(published) == 33


def test_what_was_published_is_asked(study: dict[str, Any]) -> None:
    assert {*study["tasks"]["paradigms"], *study["tasks"]["relations"]} >= TASKS
    assert set(study["editing"]["tasks"]) >= {"P36", "P1376", "P101"} and set(study["editing"]["editors"]) == {"rome"}
    paper = yaml.safe_load((ROOT / "resources/studies/paper.yaml").read_text(encoding="utf-8"))
    for name, model in study["models"].items():
        assert model["hub"] == paper["models"][name]["hub"]


def test_a_dry_run_accepts_it(tmp_path: Path) -> None:
    options = ("--cores", "1", "--dry-run", "--directory", str(tmp_path))
    done = snakemake(ROOT, *options, configfile=str(FILE.relative_to(ROOT)))
    assert done.returncode == 0, done.stdout[-3000:]
    assert "results/localization/llama-2-7b/P1376.safetensors" in done.stdout
    assert "knowledge_neuron" not in done.stdout and not re.search(r"^collect_covariance", done.stdout, re.MULTILINE)


def test_every_option_of_the_page_exists_and_has_the_value_it_names(study: dict[str, Any]) -> None:
    sections = "|".join(study)
    named = re.findall(rf"`((?:{sections})\.[\w.-]+)(?:: ([^`]+))?`", PAGE)
    assert len([value for _, value in named if value]) > 25
    wrong = []
    for name, value in named:
        try:
            found = at(study, tuple(name.split(".")))
        except (KeyError, TypeError):
            wrong.append(f"there is no {name}")
        else:
            if value and found != yaml.safe_load(value):
                wrong.append(f"{name} is {found} in {FILE.name}")
    assert not wrong


def test_every_published_setting_stands_on_the_page() -> None:
    for key, value in leaves(PUBLISHED):
        both = key[-1] in ROME and "llama" in key  # said once for both families
        if value not in (None, []) and not both:
            assert f"`{'.'.join(key)}: " in PAGE, key


def test_each_row_has_every_cell() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|")]
    assert len(rows) > 35
    for row in rows:
        assert len(re.split(r"(?<!\\)\|", row)) == 7, row
