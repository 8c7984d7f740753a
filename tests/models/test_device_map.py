"""A model over several devices. No machine of ours has two: torch's fake tensors have, and refuse to mix them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from kn_thesis.models.devices import claim_devices, device_map, distribute_layers
from kn_thesis.models.families import FAMILIES
from kn_thesis.models.forward import clean_run, run_layers
from kn_thesis.models.restart import restart_rows
from kn_thesis.tracing.patching import KINDS, patch_sites, patched_log_probabilities
from tests.helpers.tiny_models import model_of

HERE, THERE = torch.device("cpu"), torch.device("meta")


def faked(mode: FakeTensorMode, module: torch.nn.Module, block: torch.nn.Module | None = None) -> None:
    """Weights as fake tensors: those of one layer on the second device, all others on the first."""
    inside = set() if block is None else {id(part) for part in block.modules()}
    for part in module.modules():
        place = THERE if id(part) in inside else HERE
        for kind in (part._parameters, part._buffers):
            for name, weight in kind.items():
                if weight is not None:
                    fake = FakeTensor(mode, torch.empty_like(weight, device="meta"), place)
                    kind[name] = torch.nn.Parameter(fake, requires_grad=False) if kind is part._parameters else fake


def work(model: SimpleNamespace) -> None:
    """What the methods do with a model, gradients left out: they go the same way back, and fakes have none."""
    adapter, ids = model.adapter, torch.ones(2, 5, dtype=torch.long)
    gaps = torch.full((2,), 4 if adapter.objective == "causal" else 1)
    run, last = clean_run(adapter, ids, gaps)
    replaced = [layer.neurons[:, None].repeat(1, 2, 1) for layer in run]
    assert adapter.logits(restart_rows(adapter, run, gaps, replaced)).device == HERE
    clean, corrupted = run_layers(adapter, ids[0]), run_layers(adapter, ids[0], torch.ones(3, 5, last.shape[-1]))
    cells = [cell for kind in KINDS for cell in patch_sites(kind, adapter.layers, 2)]
    assert patched_log_probabilities(adapter, clean, corrupted, 2, cells, 4, [1]).device == HERE


@pytest.mark.parametrize("family", FAMILIES)
def test_no_method_mixes_devices(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kn_thesis.models.devices.device_map", lambda *_: [HERE, THERE, HERE])
    plain, model = model_of(family, torch.float32), model_of(family, torch.float32)
    with monkeypatch.context() as patched:
        patched.setattr(torch.nn.Module, "to", lambda part, place: part)  # to a device that is not there
        model.adapter = distribute_layers(model.module, model.adapter, [HERE])
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        for one in (plain, model):
            faked(mode, one.module, one.adapter.block(1))
        with torch.no_grad():
            work(model)
        with torch.no_grad(), pytest.raises(RuntimeError, match="device"):  # without spreading they would
            work(plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_go_where_they_belong_and_nothing_changes(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[str] = []
    plain, model = model_of(family, torch.float32), model_of(family, torch.float32)
    devices = [HERE, torch.device("meta")]
    monkeypatch.setattr(torch.nn.Module, "to", lambda part, place: moved.append(f"{type(part).__name__} {place}"))
    model.adapter = distribute_layers(model.module, model.adapter, devices)
    assert moved == [
        f"{type(model.adapter.block(n)).__name__} {place}" for n, place in enumerate(("cpu", "meta", "meta"))
    ]
    monkeypatch.undo()
    model.adapter._places[:] = [HERE] * 3
    carried: list[str] = []

    def carry(value: object, place: torch.device) -> object:
        carried.append(place.type)
        return value

    monkeypatch.setattr("kn_thesis.models.devices._move", carry)
    model.module(input_ids=torch.ones(1, 5, dtype=torch.long))
    assert "cpu" not in carried[:2] and carried.count("cpu") == 2 and carried[-1] == "cpu"  # two layers lie elsewhere
    ids, gaps = torch.tensor([[3, 1, 4, 1, 5]]), torch.tensor([4])
    one, other = (clean_run(x.adapter, ids, gaps)[1] for x in (plain, model))
    assert torch.equal(one, other)


@pytest.mark.parametrize(("layers", "count", "first"), [(32, 1, 32), (32, 2, 8), (80, 4, 10), (3, 2, 1), (2, 4, 1)])
def test_the_first_device_has_fewer_layers(layers: int, count: int, first: int) -> None:
    devices = [torch.device("cuda", number) for number in range(count)]
    places = [place.index for place in device_map(layers, devices)]
    assert places == sorted(places) and places.count(0) == first and len(places) == layers
    rest = [places.count(number) for number in range(1, count) if number in places]
    assert not rest or max(rest) - min(rest) <= 1 + (layers < count)


def test_several_devices_are_claimed(tmp_path) -> None:
    first = claim_devices(["a", "b", "c"], 2, tmp_path)
    assert [claim.number for claim in first] == [0, 1] and all(claim.lock for claim in first)
    second = claim_devices(["a", "b", "c"], 2, tmp_path)  # one is free, one has to be shared
    assert {claim.number for claim in second} == {2, 0}
    assert len(claim_devices(["a"], 4, tmp_path)) == 1
    assert np.unique([claim.number for claim in claim_devices(["a", "b", "c"], 3, tmp_path)]).tolist() == [0, 1, 2]
