"""Many changes of many prompts in one batch equal one change of one prompt through the whole model."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from kn_thesis.models.cloze import Encoded
from kn_thesis.suppression.intervention import OPERATIONS, Change, Reading, changed_answers, mean_activations
from tests.helpers.tiny_models import DETAILED, OTHERS, WORDS, model_of
from tests.reference.suppression import plain_answers, plain_means

ONE_LAYER = {"bert": {"num_hidden_layers": 1}, "gpt2": {"n_layer": 1}, "llama": {"num_hidden_layers": 1}}
VARIANTS = [
    *((family, {}) for family in DETAILED),
    *ONE_LAYER.items(),
    ("bert", {"num_hidden_layers": 2, "tie_word_embeddings": False}),
    ("bert", {"num_hidden_layers": 5}),
    ("gpt2", {"n_layer": 4, "scale_attn_by_inverse_layer_idx": True}),
    ("llama", {"num_key_value_heads": 2, "mlp_bias": True}),
]
IN_BATCHES = [(*variant, batch_tokens) for variant in VARIANTS for batch_tokens in (1, 37, 4096)]


def readings_of(model: SimpleNamespace) -> list[Reading]:
    """Lengths, gaps and numbers of tokens asked mixed."""
    random = np.random.default_rng(7)
    found = []
    for tokens, asked in [(5, 2), (8, 1), (5, 1), (9, 4), (2, 3), (8, 2), (5, 3), (1, 1)]:
        gap = tokens - 1 if model.adapter.objective == "causal" else int(random.integers(tokens))
        ids, wanted = (tuple(random.integers(1, WORDS, size).tolist()) for size in (tokens, asked))
        found.append(Reading(ids, gap, wanted))
    return found


def changes_of(model: SimpleNamespace) -> list[Change]:
    """Sets in one layer, in the last, across some or all of them, under each operation; first layers in disorder."""
    random = np.random.default_rng(8)
    last = model.adapter.layers - 1
    reach = [[last], [0], range(last + 1), [0, last], range(last // 2, last + 1), [last // 2], range((last + 1) // 2)]
    found = []
    for layers in reach:
        sizes = {layer: int(random.integers(1, 5)) for layer in sorted(set(layers))}
        layer = np.array([layer for layer, size in sizes.items() for _ in range(size)], dtype=int)
        neuron = [np.sort(random.choice(model.adapter.width, size, replace=False)) for size in sizes.values()]
        if len(layer):
            found += [Change(layer, np.concatenate(neuron), operation) for operation in OPERATIONS]
    return [found[number] for number in random.permutation(len(found))]


def means_of(model: SimpleNamespace) -> np.ndarray:
    return np.random.default_rng(9).normal(size=(model.adapter.layers, model.adapter.width))


def same_as_plain(model: Any, readings: list[Reading], changes: list[Change], tolerance: float, **options: Any) -> None:
    means = means_of(model)
    untouched, changed = changed_answers(model, readings, changes, means, **options)
    assert len(untouched) == len(changed) == len(readings)
    for reading, before, after in zip(readings, untouched, changed, strict=True):
        asked = model.module, reading.input_ids, reading.gap, reading.targets
        assert before.dtype == np.float64 and after.shape == (len(reading.targets), len(changes))
        np.testing.assert_allclose(before, plain_answers(*asked), rtol=tolerance, atol=tolerance)
        plain = [plain_answers(*asked, change.layer, change.neuron, change.operation, means) for change in changes]
        np.testing.assert_allclose(after, np.transpose(plain), rtol=tolerance, atol=tolerance)
        assert (np.abs(after - before[:, None]).max(axis=0) > 10 * tolerance).all()  # every change does something


@pytest.mark.parametrize(
    ("family", "options", "batch_tokens"), [*IN_BATCHES, *((family, {}, 37) for family in OTHERS)], ids=str
)
def test_equal_to_the_plain_algorithm(family: str, options: dict[str, Any], batch_tokens: int) -> None:
    model = model_of(family, **options)
    same_as_plain(model, readings_of(model), changes_of(model), 1e-7, batch_tokens=batch_tokens)


@pytest.mark.parametrize("family", [*DETAILED, "roberta", "gptj"])
def test_equal_to_the_plain_algorithm_in_float32(family: str) -> None:
    model = model_of(family, torch.float32)
    same_as_plain(model, readings_of(model), changes_of(model), 1e-5)


@pytest.mark.parametrize("family", DETAILED)
def test_answers_do_not_depend_on_what_else_is_asked(family: str) -> None:
    model, means = model_of(family), np.zeros((3, 24))
    readings, changes = readings_of(model), changes_of(model)
    before, after = changed_answers(model, readings, changes, means)
    for number in (0, 3):
        one = changed_answers(model, readings[number : number + 1], changes[4:5], means)
        np.testing.assert_allclose(one[0][0], before[number], rtol=1e-9)
        np.testing.assert_allclose(one[1][0], after[number][:, 4:5], rtol=2e-7)


@pytest.mark.parametrize("family", DETAILED)
@pytest.mark.parametrize("batch_tokens", [1, 50])
def test_batches_do_not_matter(family: str, batch_tokens: int) -> None:
    model = model_of(family)
    readings, changes, means = readings_of(model), changes_of(model), means_of(model)
    one, other = (changed_answers(model, readings, changes, means, size) for size in (batch_tokens, 100_000))
    for some, same in zip(one[0] + one[1], other[0] + other[1], strict=True):
        np.testing.assert_allclose(some, same, rtol=2e-7)


@pytest.mark.parametrize("family", DETAILED)
def test_enhancing_doubles_what_the_lower_change_has_left(family: str) -> None:
    """Neither the untouched activation doubled, nor the two layers' changes by themselves."""
    model, reading = model_of(family), readings_of(model_of(family))[1]
    both = Change(np.array([0, 0, 2, 2]), np.array([1, 5, 2, 3]), "enhance")
    upper = Change(both.layer[2:], both.neuron[2:], "enhance")
    _, (together,) = changed_answers(model, [reading], [both], np.zeros((3, 24)))
    _, (alone,) = changed_answers(model, [reading], [upper], np.zeros((3, 24)))
    asked = model.module, reading.input_ids, reading.gap, reading.targets
    assert together[:, 0] == pytest.approx(plain_answers(*asked, both.layer, both.neuron, "enhance"), rel=1e-7)
    assert np.abs(together - alone).max() > 1e-3


@pytest.mark.parametrize("family", DETAILED)
def test_nothing_changed_and_nothing_asked(family: str) -> None:
    model, means = model_of(family), np.zeros((3, 24))
    readings = readings_of(model)
    before, after = changed_answers(model, readings, [], means)
    assert [x.shape for x in after] == [(len(reading.targets), 0) for reading in readings]
    assert before[0] == pytest.approx(plain_answers(model.module, *vars(readings[0]).values()), rel=1e-9)
    assert changed_answers(model, [], changes_of(model), means) == ([], [])


@pytest.mark.parametrize(("family", "options"), [*((family, {}) for family in DETAILED), *ONE_LAYER.items()])
@pytest.mark.parametrize("batch_tokens", [1, 4096])
def test_means_equal_a_plain_loop(family: str, options: dict[str, Any], batch_tokens: int) -> None:
    model = model_of(family, **options)
    prompts = [Encoded(reading.input_ids, reading.gap, (1,)) for reading in readings_of(model)]
    means = mean_activations(model, prompts, batch_tokens)
    assert means.dtype == np.float64 and means.shape == (model.adapter.layers, 24)
    np.testing.assert_allclose(means, plain_means(model.module, prompts), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("family", DETAILED)
def test_the_model_is_left_as_it_was(family: str) -> None:
    model = model_of(family)
    before = {name: weight.clone() for name, weight in model.module.state_dict().items()}
    changed_answers(model, readings_of(model), changes_of(model), means_of(model))
    assert all(torch.equal(before[name], weight) for name, weight in model.module.state_dict().items())


def test_the_benchmark_agrees_on_small_models(tmp_path: Path) -> None:
    script, file = Path(__file__).parents[2] / "scripts/tools/bench_suppression.py", tmp_path / "bench.csv"
    command = [sys.executable, script, "--quick", "--threads", "1", "--models", "bert", "llama", "--output", file]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    rows = list(csv.DictReader(file.open(encoding="utf-8")))
    assert {(row["model"], row["sets"]) for row in rows if row["measure"] == "difference"} == {
        (model, sets) for model in ("bert", "llama") for sets in ("published", "all")
    }
    assert all(0 < float(row["value"]) < 1e-4 for row in rows if row["measure"] == "difference")
    assert all(float(row["answers_per_second"]) > 0 for row in rows if row["algorithm"])
