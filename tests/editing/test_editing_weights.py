"""Editors by name; edits written into a model, which is as it was afterwards, bit for bit, whatever happens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from kn_thesis.editing import fine_tuning, knowledge_neuron, rome
from kn_thesis.editing.covariance import Covariance
from kn_thesis.editing.editors import EDITORS, edit, editor_named, find_edits, settings_of
from kn_thesis.editing.requests import Request
from kn_thesis.editing.tables import NO_NEURONS
from kn_thesis.editing.weight_update import Update, applied
from kn_thesis.errors import UserError
from kn_thesis.models.load import Model
from tests.helpers.edit_questions import requests_of
from tests.helpers.editing_prompts import CAPITAL, LANDS, facts_table, sentences
from tests.helpers.tiny_models import loaded_model, model_of
from tests.reference.editing import down_projection_weight

SETTINGS: dict[str, Any] = {
    "rome": rome.Settings(layer=1, steps=3),
    "fine_tuning": fine_tuning.Settings(layer=2, steps=3, learning_rate=0.1, norm=0.1),
    "knowledge_neuron": knowledge_neuron.Settings(nodes=2, shared=1.0, share=0.2),
}
CAN = [(family, name) for family in ("gpt2", "llama") for name in SETTINGS] + [("bert", "knowledge_neuron")]
BERT_CANNOT = ["rome", "fine_tuning"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    families = ("gpt2", "llama", "bert")
    return {name: loaded_model(name, tmp_path_factory.mktemp(name), sentences(), 40) for name in families}


def requests_for(model: Model) -> list[Request]:
    return list(requests_of(model.tokenizer, facts_table(model.tokenizer, CAPITAL, LANDS)).values())[:4]


def weights_of(module: Any) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in module.state_dict().items()}


def changed(module: Any, before: dict[str, Tensor]) -> set[str]:
    """Names of the weights that differ in any bit."""
    now = module.state_dict()
    assert set(now) == set(before) and all(now[name].dtype == weight.dtype for name, weight in before.items())
    return {
        name
        for name, weight in before.items()
        if not torch.equal(now[name].contiguous().view(torch.uint8), weight.contiguous().view(torch.uint8))
    }


def drawn(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def three_updates() -> list[Update]:
    return [Update(2, drawn(16, 1), drawn(24, 1, seed=2)), Update(0, drawn(16, 24, seed=3)), Update(1, drawn(16, 24))]


def test_editors_have_names() -> None:
    assert list(EDITORS) == ["rome", "knowledge_neuron", "fine_tuning"]
    for name, module in (("rome", rome), ("knowledge_neuron", knowledge_neuron), ("fine_tuning", fine_tuning)):
        assert editor_named(name).settings is module.Settings and editor_named(name).find is module.find_edits
    for call in (editor_named, lambda name: settings_of(name, 9), lambda name: find_edits(None, [], name)):
        with pytest.raises(UserError, match=r"unknown editor 'mend'.*rome, knowledge_neuron, fine_tuning"):
            call("mend")


def test_settings_have_the_batch_where_there_is_one() -> None:
    assert settings_of("rome", 77, layer=3, kl=1.0) == rome.Settings(layer=3, kl=1.0, batch_tokens=77)
    assert settings_of("knowledge_neuron", 78, new=2.0) == knowledge_neuron.Settings(new=2.0, batch_tokens=78)
    assert settings_of("fine_tuning", 79, norm=1.0) == fine_tuning.Settings(norm=1.0)
    with pytest.raises(TypeError):
        settings_of("fine_tuning", 1, kl=3.0)


@pytest.mark.parametrize(("family", "name"), CAN)
def test_searching_leaves_the_model_as_it_is(models: dict[str, Model], family: str, name: str) -> None:
    model = models[family]
    before = weights_of(model.module)
    found = find_edits(model, requests_for(model), name, SETTINGS[name], contexts=["The king helped."])
    assert not changed(model.module, before) and any(one.updates for one in found)
    assert not any(weight.requires_grad or weight.grad is not None for weight in model.module.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.module.modules())
    assert not model.module.training


def test_contexts_and_covariance_reach_those_that_use_them(models: dict[str, Model]) -> None:
    model = models["gpt2"]
    requests = requests_for(model)[:1]
    c = drawn(24, 99, dtype=torch.float32)
    further: dict[str, Any] = {"contexts": ["The king helped."], "covariance": Covariance({1: c @ c.T / 99}, 99)}
    for name, settings in SETTINGS.items():
        [bare] = find_edits(model, requests, name, settings)
        found = [find_edits(model, requests, name, settings, **{key: value})[0] for key, value in further.items()]
        for one in found:
            same = all(torch.equal(*pair) for pair in zip(matrices(one), matrices(bare), strict=True))
            assert bare.updates and same is (name != "rome")
    # Without settings there are the usual ones, whose layer this model does not have.
    with pytest.raises(UserError, match="layer 17"):
        find_edits(model, requests, "rome")


def matrices(found: Any) -> list[Tensor]:
    return [update.matrix() for update in found.updates]


@pytest.mark.parametrize("name", BERT_CANNOT)
def test_masked_models_are_refused(models: dict[str, Model], name: str) -> None:
    with pytest.raises(UserError, match=f"{name} edits causal models.*knowledge_neuron"):
        find_edits(models["bert"], requests_for(models["bert"]), name, SETTINGS[name])


@pytest.mark.parametrize(("family", "name"), CAN)
@pytest.mark.parametrize("end", [None, ZeroDivisionError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_edit_ends_with_its_block(
    models: dict[str, Model], family: str, name: str, end: type[BaseException] | None
) -> None:
    model, request = models[family], requests_for(models[family])[0]
    [expected] = find_edits(model, [request], name, SETTINGS[name])
    before = weights_of(model.module)
    matrices = {
        update.layer: down_projection_weight(model.module, family, update.layer).clone() for update in expected.updates
    }

    def use() -> None:
        with edit(model, request, name, SETTINGS[name]) as found:
            assert found.request == request.name and len(found.updates) == len(matrices) > 0
            for update in found.updates:
                wanted = matrices[update.layer] + update.matrix()
                assert torch.allclose(down_projection_weight(model.module, family, update.layer), wanted, rtol=1e-12)
            # One matrix a layer, and nothing else.
            assert len(changed(model.module, before)) == len(matrices)
            if end is not None:
                raise end

    if end is None:
        use()
    else:
        with pytest.raises(end):
            use()
    assert not changed(model.module, before)


def test_an_edit_that_fails_raises(models: dict[str, Model]) -> None:
    model, request = models["gpt2"], requests_for(models["gpt2"])[0]
    before = weights_of(model.module)
    nowhere = replace(SETTINGS["knowledge_neuron"], share=0.99)
    with (
        pytest.raises(UserError, match=f"{request.new}.*{NO_NEURONS}"),
        edit(model, request, "knowledge_neuron", nowhere),
    ):
        pass
    assert not changed(model.module, before)


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_weights_come_back_bit_for_bit(family: str, dtype: torch.dtype) -> None:
    model = model_of(family, dtype)
    down_projection_weight(model.module, family, 0)[0, :3] = torch.tensor([-0.0, 1e-38, torch.nan])
    before = weights_of(model.module)
    # So large that nothing would be left of the weights if the change were subtracted again.
    updates = [replace(one, left=1e6 * one.left) for one in three_updates()]
    with applied(model.adapter, updates):
        assert len(changed(model.module, before)) == 3
        expected = before_of(before, model.module, family, 1).double() + updates[2].matrix()
        now = down_projection_weight(model.module, family, 1).double()
        assert (now - expected).norm() < 1e-2 * expected.norm()
    assert not changed(model.module, before)
    with applied(model.adapter, []):
        assert not changed(model.module, before)
    with applied(model.adapter, [updates[1], updates[1]]):  # two changes of one matrix
        pass
    assert not changed(model.module, before)
    with applied(model.adapter, updates), applied(model.adapter, updates[:1]):
        pass
    assert not changed(model.module, before)


def before_of(before: dict[str, Tensor], module: Any, family: str, layer: int) -> Tensor:
    """The down-projection (hidden, width) among kept weights."""
    place = down_projection_weight(module, family, layer).data_ptr()
    [name] = [name for name, weight in module.state_dict().items() if weight.data_ptr() == place]
    return before[name].T if family == "gpt2" else before[name]


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("reached", [0, 1, 2])
def test_a_change_that_is_cut_off_midway_is_taken_back(family: str, error: type[BaseException], reached: int) -> None:
    model, updates = model_of(family), three_updates()
    before, seen = weights_of(model.module), []

    class Cut(Update):
        def matrix(self) -> Tensor:
            seen.append(len(changed(model.module, before)))
            raise error

    cut = updates[reached]
    updates[reached] = Cut(cut.layer, cut.left, cut.right)
    with pytest.raises(error), applied(model.adapter, updates):
        raise AssertionError("the block is not reached")
    assert seen == [reached]  # so many layers were changed already
    assert not changed(model.module, before)


def test_a_matrix_of_another_shape_changes_nothing() -> None:
    model = model_of("gpt2")
    before = weights_of(model.module)
    for wrong in (Update(1, drawn(16, 23)), Update(7, drawn(16, 24))):
        with pytest.raises((RuntimeError, IndexError)), applied(model.adapter, [three_updates()[0], wrong]):
            pass
        assert not changed(model.module, before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_an_update_beside_the_model_is_its_matrix(dtype: torch.dtype) -> None:
    neurons = drawn(3, 5, 24, seed=5).to(dtype)
    for update in (Update(0, drawn(16, 2), drawn(24, 2, seed=4)), Update(0, drawn(16, 24))):
        expected = torch.einsum("hw,abw->abh", update.matrix(), neurons.double())
        found = update.added(neurons)
        assert found.dtype == dtype
        assert torch.allclose(found.double(), expected, rtol=1e-12 if dtype == torch.float64 else 1e-2)
        assert update.norm() == pytest.approx(float((update.matrix() ** 2).sum() ** 0.5))
