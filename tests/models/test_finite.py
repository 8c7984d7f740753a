"""A model whose numbers are none stops everything that would use them, by the name of model and layer."""

from __future__ import annotations

import runpy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

import kn_thesis
from kn_thesis.editing.covariance import collect_covariance
from kn_thesis.editing.evaluation import predict
from kn_thesis.editing.generation import Sampler, continue_rows
from kn_thesis.editing.weight_update import Update
from kn_thesis.errors import UserError
from kn_thesis.files import write_task_tables
from kn_thesis.localization.attribution import attribute
from kn_thesis.models.cloze import Encoded
from kn_thesis.models.evaluate import target_log_probabilities
from kn_thesis.models.load import Model, load_model
from kn_thesis.suppression.intervention import Change, Reading, changed_answers, mean_activations
from kn_thesis.tracing.trace import Settings, trace_prompt
from tests.helpers.tiny_models import loaded_model
from tests.helpers.tiny_tokenizers import TEXT

SCRIPTS = Path(__file__).parents[2] / "scripts"
# The MLP's first matrix in layer 1, and a weight that lies in no layer.
INSIDE = {
    "bert": "bert.encoder.layer.1.intermediate.dense.weight",
    "gpt2": "transformer.h.1.mlp.c_fc.weight",
    "llama": "model.layers.1.mlp.up_proj.weight",
}
OUTSIDE = {"bert": "cls.predictions.bias", "gpt2": "transformer.ln_f.bias", "llama": "model.norm.weight"}
LARGE = 3e4  # float16 has it; twice a product with such weights it has not


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of sound models, in float32."""
    found = {}
    for family in INSIDE:
        found[family] = tmp_path_factory.mktemp(family)
        loaded_model(family, found[family], TEXT)
    return found


def changed(folder: Path, to: Path, name: str, change: Callable[[torch.Tensor], object]) -> Path:
    """A copy of a model with one weight changed."""
    shutil.copytree(folder, to)
    weights = load_file(to / "model.safetensors")
    change(weights[name])
    save_file(weights, to / "model.safetensors", metadata={"format": "pt"})
    return to


def put(value: float) -> Callable[[torch.Tensor], object]:
    """One number in place of one of a weight's."""
    return lambda weight: weight.view(-1)[3:4].fill_(value)


@pytest.mark.parametrize("family", INSIDE)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_weight_that_is_no_number_is_named(whole: dict[str, Path], tmp_path: Path, family: str, value: float) -> None:
    for number, (name, place) in enumerate(((INSIDE[family], "layer 1"), (OUTSIDE[family], "outside the layers"))):
        folder = changed(whole[family], tmp_path / f"{number}", name, put(value))
        with pytest.raises(UserError, match=f"{folder}: .*{place} has weights that are not finite") as error:
            kn_thesis.load_model(folder, device="cpu")
        assert f"({name}: 1 of " in str(error.value) and "get the model again" in str(error.value)
        assert "\n" not in str(error.value)


def test_what_float16_cannot_hold_is_named_with_a_way_out(whole: dict[str, Path], tmp_path: Path) -> None:
    folder = changed(whole["gpt2"], tmp_path / "large", INSIDE["gpt2"], put(1e5))
    with pytest.raises(UserError, match=r"layer 1 .*c_fc.*in float16\); load it with dtype float32 or bfloat16"):
        load_model(folder, device="cpu", dtype="float16")
    assert load_model(folder, device="cpu", dtype="bfloat16").name == str(folder)


@pytest.fixture(scope="module")
def overflowing(whole: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models whose weights are finite in float16, while what layer 1's MLP makes of them is not."""
    root = tmp_path_factory.mktemp("overflowing")
    return {
        family: changed(whole[family], root / family, INSIDE[family], lambda w: w.sign_().mul_(LARGE))
        for family in whole
    }


def asked(model: Model) -> Encoded:
    masked = model.adapter.objective == "masked"
    return Encoded((6, 9, 12, 7, 20, 31), 2 if masked else 5, (8,))


USES: dict[str, Callable[[Model], Any]] = {
    "evaluation": lambda model: target_log_probabilities(model, [asked(model)]),
    "attribution": lambda model: attribute(model, [asked(model)], nodes=2),
    "mean activations": lambda model: mean_activations(model, [asked(model)]),
    "suppression": lambda model: changed_answers(
        model,
        [Reading(asked(model).input_ids, asked(model).gap, (8, 9))],
        [Change(*map(torch.Tensor.numpy, torch.tensor([[0], [2]])), "erase")],
        torch.zeros(3, 24).numpy(),
    ),
    "tracing 'p'": lambda model: trace_prompt(model, [asked(model)], (1, 3), "p", Settings(draws=2)),
    "answers before an edit": lambda model: predict(model, [()], [[asked(model)]]),
    "continuations": lambda model: continue_rows(model, [[6, 9]], None, 3),
    "sampled": lambda model: continue_rows(model, [[6, 9]], None, 3, choose=Sampler([("row", 0)], 1)),
    "the keys of layer 1": lambda model: collect_covariance(model, TEXT[:2], [0, 1], tokens=9, batch_tokens=64),
}


@pytest.mark.parametrize("use", USES)
def test_what_overflows_on_the_way_is_named(overflowing: dict[str, Path], use: str) -> None:
    for family in ("gpt2", "bert"):
        model = load_model(overflowing[family], device="cpu", dtype="float16")
        if use in ("continuations", "sampled") and family == "bert":
            continue
        with pytest.raises(UserError, match=r"not finite.* dtype float32 or bfloat16") as error:
            USES[use](model)
        message = str(error.value)
        assert message.startswith(f"{overflowing[family]}: ") and "\n" not in message
        if use.startswith("the keys"):
            assert use in message
        else:
            module = INSIDE[family].removesuffix(".weight")
            assert f"the output of layer 1 is not finite ({module}, in float16)" in message
            assert use.partition(" ")[0] in message or use == "sampled"
    sound = load_model(overflowing["gpt2"], device="cpu", dtype="float32")
    USES[use](sound)


def test_what_an_edit_or_a_change_breaks_is_not_blamed_on_a_layer(whole: dict[str, Path]) -> None:
    model = load_model(whole["gpt2"], device="cpu", dtype="float16")
    left, right = (torch.full((size, 1), 250.0, dtype=torch.float16) for size in (16, 24))
    with pytest.raises(UserError, match=r"after an edit: not finite in float16, though every layer's output is"):
        predict(model, [(Update(1, left, right),)], [[asked(model)]])


def test_a_weight_that_is_changed_later_is_found_by_what_comes_of_it(whole: dict[str, Path]) -> None:
    model = load_model(whole["llama"], device="cpu")
    model.adapter.down_projection_weight(2)[0, 0] = float("nan")
    with pytest.raises(UserError, match=r"layer 2 has weights that are not finite \(model.layers.2.mlp.down_proj"):
        attribute(model, [asked(model)])


class Inputs(SimpleNamespace):
    """Input files as a script has them: by name, and one after the other."""

    def __iter__(self) -> Iterator[str]:
        return (path for paths in vars(self).values() for path in paths)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_rule_stops_with_one_line_and_no_result(
    whole: dict[str, Path],
    overflowing: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    dtype: str,
) -> None:
    damaged = changed(whole["gpt2"], tmp_path / "damaged", INSIDE["gpt2"], put(float("nan")))
    folder = damaged if dtype == "float32" else overflowing["gpt2"]
    one = {"prompt": "p", "attributed": True, "input_ids": (6, 9, 12), "gap": 2, "target_ids": (8,)}
    write_task_tables({"P1": pd.DataFrame([one])}, tmp_path / "prompts.parquet")
    output = tmp_path / "scores.safetensors"
    job = SimpleNamespace(
        input=Inputs(model=[str(folder / "config.json")], prompts=[str(tmp_path / "prompts.parquet")]),
        output=SimpleNamespace(attributions=str(output)),
        wildcards={},
        params=SimpleNamespace(
            loading={"device": "cpu", "dtype": dtype}, tasks=None, shard=None, settings={"nodes": 2}
        ),
        log=[str(tmp_path / "job.log")],
    )
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(SCRIPTS / "attribute_neurons.py"), init_globals={"snakemake": job})
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert stopped.value.code == 1 and not output.exists()
    log = (tmp_path / "job.log").read_text()
    assert len(said) == 1 and str(folder) in said[0] and "layer 1" in said[0]
    assert said[0] in log and "Traceback" not in log
