"""A model is loaded only if its family's adapter computes what the model does; one attention serves every method."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

import kn_thesis
from kn_thesis.errors import UserError
from kn_thesis.models import load, restart, self_check
from kn_thesis.models.evaluate import target_log_probabilities
from kn_thesis.models.families import FAMILIES
from kn_thesis.models.load import load_model
from kn_thesis.models.self_check import check_agreement
from tests.helpers.edit_models import edit_by, prompt_of
from tests.helpers.tiny_models import loaded_model, model_of, positions_of
from tests.helpers.tiny_tokenizers import TEXT

DTYPES = ("float32", "bfloat16", "float16")
ROTARY = ("gptj", "llama", "mistral", "qwen2")
STEPS = {name: torch.finfo(getattr(torch, name)).eps for name in DTYPES}
Fault = Callable[[Any, Any], None]


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of a family, whose heads' size is no power of two: its square root is rounded."""
    made = tmp_path_factory.mktemp(request.param) / request.param
    few = {"n_head": 2, "n_embd": 24} if request.param in ("gpt2", "gptj") else {"num_attention_heads": 2}
    few |= {} if "n_head" in few else {"hidden_size": 24, "tie_word_embeddings": False}
    loaded_model(request.param, made, TEXT, **few)
    return made


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
@pytest.mark.parametrize("stated", ["eager", "flash_attention_2", "nonsense"])
def test_attention_that_config_json_states_is_left_aside(key: str, stated: str, folder: Path, tmp_path: Path) -> None:
    """Else evaluation would compute it another way than the methods, or the model could not be loaded at all."""
    made = Path(shutil.copytree(folder, tmp_path / folder.name))
    config = json.loads((made / "config.json").read_text())
    (made / "config.json").write_text(json.dumps(config | {key: stated}))
    usual = load_model(folder, device="cpu").module
    module = load_model(made, device="cpu").module
    assert module.config._attn_implementation == usual.config._attn_implementation
    ids = torch.arange(2, 10)[None]
    with torch.no_grad():
        torch.testing.assert_close(module(ids).logits, usual(ids).logits)


def one_norm_more(module: Any, adapter: Any) -> None:
    """The model norms what leaves its second layer, with weights of its own, as newer ones of some families do."""
    weights = torch.randn(24, generator=torch.Generator().manual_seed(5))

    def normed(_: Any, __: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        hidden = nn.functional.layer_norm(hidden, hidden.shape[-1:]) * weights[: hidden.shape[-1]].to(hidden)
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    adapter.block(1).register_forward_hook(normed)


def another_attention_scaling(module: Any, adapter: Any) -> None:
    """The adapter has another factor in the softmax."""
    adapter.scaling = lambda layer: 8.0


def neighbours_positions(module: Any, adapter: Any) -> None:
    """The adapter turns the last token, which comes by itself, as if it were the first."""
    project = adapter.project
    adapter.project = lambda layer, hidden, positions: project(layer, hidden, positions - positions[0])


def slower_turns(module: Any, adapter: Any) -> None:
    """The model's positions are of another kind than the adapter takes them for: it turns half as far for each."""
    project = adapter.project
    adapter.project = lambda layer, hidden, positions: project(layer, hidden, 2 * positions)


def no_position(module: Any, adapter: Any) -> None:
    """The adapter embeds words alone."""
    adapter.embed = lambda ids, noise=None: nn.functional.embedding(ids, adapter.word_embeddings())


def another_activation(module: Any, adapter: Any) -> None:
    """The adapter's neurons are another function's than the model's."""
    neurons = adapter.neurons
    adapter.neurons = lambda layer, state: neurons(layer, state).abs().sqrt()


def no_bias(module: Any, adapter: Any) -> None:
    """The adapter leaves out the bias of the down-projection."""
    adapter.mlp_output = lambda layer, neurons: neurons @ adapter.down_projection_weight(layer).T


FAULTS: list[tuple[str, Fault]] = [
    *(
        (family, fault)
        for family in FAMILIES
        for fault in (one_norm_more, another_attention_scaling, another_activation)
    ),
    *((family, fault) for family in ROTARY for fault in (neighbours_positions, slower_turns)),
    *((family, no_position) for family in FAMILIES if family not in ROTARY),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_s_adapter_agrees(family: str, dtype: str) -> None:
    model = model_of(family, getattr(torch, dtype))
    check_agreement(model.module, model.adapter, "x")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("family", "fault"), FAULTS, ids=lambda x: x if isinstance(x, str) else x.__name__)
def test_an_adapter_that_is_wrong_is_refused(family: str, fault: Fault, dtype: str) -> None:
    model = model_of(family, getattr(torch, dtype), **positions_of(family, 32))
    fault(model.module, model.adapter)
    with pytest.raises(
        UserError, match=rf"^a/b: the adapter of the family {family} does not .* % of .*{dtype}"
    ) as error:
        check_agreement(model.module, model.adapter, "a/b")
    module = {"mistral": "llama", "qwen2": "llama", "roberta": "bert"}.get(family, family)
    assert "\n" not in str(error.value) and f"kn_thesis/models/{module}.py" in str(error.value)


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2", "gptj"])
def test_small_faults_show_in_float32(family: str) -> None:
    """A bias of a hundredth of the others' size."""
    model = model_of(family, torch.float32)
    for layer in range(model.adapter.layers):
        model.adapter.down_projection(layer).bias.mul_(0.01)
    no_bias(model.module, model.adapter)
    with pytest.raises(UserError, match="the adapter of the family"):
        check_agreement(model.module, model.adapter, "x")


def test_the_message_says_by_how_much() -> None:
    model = model_of("gpt2", torch.float32)
    another_attention_scaling(model.module, model.adapter)
    ids = torch.linspace(0, model.adapter.vocabulary - 1, 14)[None, 1:-1].long()
    right, wrong = (logits.double() - logits.double().mean(-1, keepdim=True) for logits in both(model, ids))
    share = float(((right - wrong).square().mean() / right.square().mean()).sqrt())
    with pytest.raises(UserError) as error:
        check_agreement(model.module, model.adapter, "x")
    assert f"differ by {100 * share:.2g} % of the logits' spread (float32 explains 0.01 %)" in str(error.value)


@pytest.mark.parametrize("dtype", DTYPES)
def test_attention_of_one_token_keeps_its_scores_in_float32(dtype: str) -> None:
    """Scores of about a hundred that lie close together: bfloat16 would round them to halves."""
    torch.manual_seed(2)
    rows, keys, values = (torch.randn(1, 6, 4, 64, dtype=torch.float64) for _ in range(3))
    queries, keys, values = (x.to(getattr(torch, dtype)) for x in (12.5 + rows[:, :5], 1 + 0.1 * keys, values))
    run = SimpleNamespace(keys=keys, values=values)
    own = (x[:, 4:5].expand(-1, 5, -1, -1) for x in (keys, values))
    found = restart._last_token_attention(queries, *own, 0.125, run)
    for row in range(5):
        for head in range(4):
            q, k, v = (x.double()[0, :, head] for x in (queries, keys, values))
            k, v = torch.cat((k[:-1], k[4:5])), torch.cat((v[:-1], v[4:5]))
            right = (0.125 * k @ q[row]).softmax(-1) @ v
            assert (found[0, row, head].double() - right).abs().max() <= max(4 * STEPS[dtype], 1e-4) * v.abs().max()


def both(model: Any, ids: Tensor) -> tuple[Tensor, Tensor]:
    return model.module(ids).logits, self_check.adapter_logits(model.adapter, ids)


def test_loading_checks_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load._module

    def changed(*arguments: Any) -> Any:
        module = whole(*arguments)
        one_norm_more(module, FAMILIES[folder.name].adapter(module))
        return module

    monkeypatch.setattr(load, "_module", changed)
    with pytest.raises(UserError, match=f"{folder.name}: the adapter of the family {folder.name} does not compute"):
        load_model(folder, device="cpu")


def test_the_check_is_one_forward_of_a_short_prompt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, seen = load._module, []

    def watched(*arguments: Any) -> Any:
        module = whole(*arguments)
        module.register_forward_pre_hook(lambda _, __, named: seen.append(named["input_ids"].shape), with_kwargs=True)
        return module

    monkeypatch.setattr(load, "_module", watched)
    load_model(folder, device="cpu")
    assert seen == [(1, 12)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_method_s_probabilities_are_the_plain_model_s(folder: Path, dtype: str) -> None:
    """transformers' own class without an attention setting; evaluation and the steps of the methods on plain models."""
    model = load_model(folder, dtype=dtype, device="cpu")
    masked = model.adapter.objective == "masked"
    auto = AutoModelForMaskedLM if masked else AutoModelForCausalLM
    plain = auto.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    assert model.module.config._attn_implementation == plain.config._attn_implementation
    prompt, word = prompt_of(model), "this"
    one = model.tokenizer.encode_prompt(prompt, word)
    with torch.no_grad():
        logits = plain(torch.tensor([one.input_ids])).logits[0, one.gap].float()
    right = float(logits.log_softmax(-1)[one.target_ids[0]])
    near = 1e-5 if dtype == "float32" else 8 * STEPS[dtype] * float(logits.std())
    assert target_log_probabilities(model, [one]).log_probability[0] == pytest.approx(right, abs=1e-5)
    found = {"attribution": kn_thesis.attribute(model, [prompt], [word], nodes=1).probability[0]}
    found["suppressed"] = kn_thesis.suppress(model, [prompt], [(0, 3), (2, 5)], [word])["before"][0]
    traced = kn_thesis.trace(model, prompt, "old man", word, draws=1, window=1, require_first_choice=False)
    found["traced"] = traced.clean
    with edit_by(model, "knowledge_neuron", old=word) as edited:
        found["edited"] = edited.probabilities(prompt, [word])["before"][0]
    for name, probability in found.items():
        assert np.log(probability) == pytest.approx(right, abs=near), name
