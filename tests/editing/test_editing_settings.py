"""Editors' settings: declared once, read by the configuration and by `kn_thesis.edit`."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from kn_thesis.configuration.editing import Editing
from kn_thesis.configuration.schema import Study
from kn_thesis.editing.editors import EDITORS

SCRIPTS = Path(__file__).parents[2] / "scripts"


def section(name: str, **settings: Any) -> Any:
    """An editor's section of the configuration, with some settings for one family."""
    entry = {"method": name, "families": {"gpt2": settings}}
    return Editing.model_validate({"editors": {name: entry}}).editors[name]


@pytest.mark.parametrize("name", EDITORS)
def test_the_configuration_has_the_defaults_of_the_editor(name: str) -> None:
    editor, read = EDITORS[name], section(name).model_dump()
    defaults = {one.name: one.default for one in fields(editor.settings)}
    scopes = {field: details.scope for field, details in editor.details().items()}
    for scope, entries in {"family": read["families"]["gpt2"], "editor": read}.items():
        assert {key for key in entries if key in scopes} == {key for key, value in scopes.items() if value == scope}
        assert all(entries[key] == defaults[key] for key in entries if key in scopes)
    for key in ("contexts", "beginnings"):
        assert (key in read["families"]["gpt2"]) == editor.uses("contexts")
    assert ("covariance" in read) == editor.uses("covariance")


@pytest.mark.parametrize("name", EDITORS)
def test_a_value_out_of_its_bounds_is_refused(name: str) -> None:
    for field, details in EDITORS[name].details().items():
        if details.scope != "family":
            continue
        bounds = [bound for bound in (details.above, details.below) if bound is not None]
        for value in (-1, float("nan"), True, None, *bounds):
            with pytest.raises(ValidationError):
                section(name, **{field: value})


@pytest.mark.parametrize("name", EDITORS)
def test_settings_of_the_study_are_there(name: str) -> None:
    sections = Study.model_fields
    for section_name, key in EDITORS[name].study_settings().values():
        assert key in sections[section_name].annotation.model_fields


def test_properties() -> None:
    assert {name for name, editor in EDITORS.items() if editor.joint} == {"knowledge_neuron"}
    assert {name for name, editor in EDITORS.items() if editor.needs_facts} == {"knowledge_neuron"}
    assert {name for name, editor in EDITORS.items() if editor.whole_matrix} == {"fine_tuning"}
    assert {name for name, editor in EDITORS.items() if editor.swept} == {"rome"}
    assert {name for name, editor in EDITORS.items() if editor.uses("covariance")} == {"rome"}


def test_the_configuration_is_read_without_pytorch_and_pandas() -> None:
    code = "import json, sys, kn_thesis.configuration.check; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, text=True, capture_output=True, check=True)
    assert not {"torch", "transformers", "pandas", "numpy"} & set(json.loads(done.stdout))


def test_edited_layers() -> None:
    rome, neurons = EDITORS["rome"], EDITORS["knowledge_neuron"]
    assert rome.edited_layers({"layer": 0, "steps": 3}) == [0] and neurons.edited_layers({"old": 1.0}) is None
    assert rome.edited_layers({"layers": (3, 4)}) == [3, 4]
