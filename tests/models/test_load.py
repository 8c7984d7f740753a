"""Loading for use: from a folder, from a recorded model, from the hub; and what cannot be loaded, in one line."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kn_thesis import attribute, load_model
from kn_thesis.errors import UserError
from kn_thesis.models.load import load_job_model
from kn_thesis.models.sources import record_path_model
from tests.helpers.hub_server import COMMIT, Hub

ROOT = Path(__file__).parents[2]
PROMPTS = ["The old king admires ___ vase.", "The old king ___ this vase."]
TARGETS = ["this", "admires"]
PROGRAM = (
    "import sys, json; sys.path.insert(0, 'scripts')\n"
    "import kn_thesis\n"
    "try: model = kn_thesis.load_model(sys.argv[1], revision=sys.argv[2] or None, device='cpu')\n"
    "except kn_thesis.UserError as error: sys.exit('ERROR ' + str(error))\n"
    f"print(json.dumps(kn_thesis.attribute(model, {PROMPTS!r}, {TARGETS!r}).scores.tolist()))\n"
)


def scores(folder: Path) -> np.ndarray:
    return attribute(load_model(folder, device="cpu"), PROMPTS, TARGETS).scores


def through_the_hub(hub: Hub, cache: Path, name: str, revision: str = "") -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and not k.lower().endswith("_proxy")}
    clean |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}
    command = [sys.executable, "-c", PROGRAM, name, revision]
    return subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, timeout=600)


def test_the_hub_gives_the_same_model_as_its_folder(hub: Hub, tiny_models: dict[str, Path], tmp_path: Path) -> None:
    job = through_the_hub(hub, tmp_path, "owner/bert", "v1")
    assert job.returncode == 0, job.stderr
    assert np.array_equal(np.array(json.loads(job.stdout), dtype=np.float32), scores(tiny_models["bert"]))


def test_a_recorded_model_is_found_on_the_hub_at_its_commit(
    hub: Hub, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_models["bert"], tmp_path / "recorded"))
    (folder / "model.safetensors").unlink()
    entries = {"family": "bert", "source": "hub", "location": "owner/bert", "revision": COMMIT}
    (folder / "model.json").write_text(json.dumps(entries))
    job = through_the_hub(hub, tmp_path / "cache", str(folder))
    assert job.returncode == 0, job.stderr
    assert np.array_equal(np.array(json.loads(job.stdout), dtype=np.float32), scores(tiny_models["bert"]))


@pytest.mark.parametrize(
    ("name", "said"), [("gated401/bert", "gated"), ("owner/nothing", "no model"), ("owner/pickle", "safetensors")]
)
def test_the_hub_s_refusals_are_one_line(hub: Hub, tmp_path: Path, name: str, said: str) -> None:
    job = through_the_hub(hub, tmp_path, name)
    assert job.returncode == 1 and "Traceback" not in job.stderr
    # Bars of the download may stand before it.
    (line,) = [line for line in job.stderr.splitlines() if line.startswith("ERROR")]
    assert said in line and job.stderr.rstrip().endswith(line)


def test_a_recorded_path_leads_to_the_weights(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    record_path_model(tiny_models["bert"], "bert", tmp_path / "recorded")
    assert not (tmp_path / "recorded" / "model.safetensors").exists()
    assert np.array_equal(scores(tmp_path / "recorded"), scores(tiny_models["bert"]))


def rewrite(file: str, **entries: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / file
        content = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(json.dumps(content | entries))

    return change


def cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json"),
        (rewrite("config.json", model_type="t5"), "t5"),
        (rewrite("config.json", num_hidden_layers=2), "missing"),
        (rewrite("model.json", family="bert", source="path", location="/nowhere"), "/nowhere"),
        (cut_short, "cannot be loaded"),
        (lambda folder: (folder / "model.safetensors").unlink(), "safetensors"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer"),
        (lambda folder: shutil.rmtree(folder), "no such folder"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_folder_is_one_line(
    tiny_models: dict[str, Path], tmp_path: Path, change: Callable[[Path], None], said: str
) -> None:
    folder = Path(shutil.copytree(tiny_models["bert"], tmp_path / "model"))
    change(folder)
    with pytest.raises(UserError) as error:
        load_model(folder, device="cpu")
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("option", [{"dtype": "int8"}, {"device": "tpu"}])
def test_an_option_that_is_not_known(tiny_models: dict[str, Path], option: dict[str, str]) -> None:
    with pytest.raises(UserError, match="choose one of"):
        load_model(tiny_models["bert"], **option)


def test_the_garbage_collector_is_left_as_it_was_but_in_a_job(tiny_models: dict[str, Path]) -> None:
    bert = tiny_models["bert"]
    frozen = gc.get_freeze_count()
    for enabled in (False, True):
        (gc.enable if enabled else gc.disable)()
        load_model(bert, device="cpu")
        assert gc.isenabled() == enabled and gc.get_freeze_count() == frozen
    try:
        load_job_model([bert / "model.json"], device="cpu")
        assert gc.isenabled() and gc.get_freeze_count() > frozen
    finally:
        gc.unfreeze()
