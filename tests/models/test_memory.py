"""Whatever runs out of memory, and when: nothing is lost, nothing counts twice, and the log says what was halved."""

from __future__ import annotations

import errno
import gc
import weakref
from collections.abc import Callable, Collection
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kn_thesis.editing import fine_tuning
from kn_thesis.editing.covariance import collect_covariance
from kn_thesis.editing.evaluation import predict
from kn_thesis.editing.generation import Sampler, continue_rows
from kn_thesis.editing.requests import Request
from kn_thesis.editing.rome import Settings as RomeSettings
from kn_thesis.editing.value_optimization import Problem, TokenRow, compute_v
from kn_thesis.editing.weight_update import Update
from kn_thesis.errors import UserError
from kn_thesis.localization.attribution import attribute
from kn_thesis.models.cloze import Encoded
from kn_thesis.models.evaluate import target_log_probabilities
from kn_thesis.models.load import Model
from kn_thesis.models.memory import MemoryBudget, halves, out_of_memory, run_batches
from kn_thesis.suppression.intervention import Change, Reading, changed_answers, mean_activations
from kn_thesis.tracing.trace import Settings, memory_budget_of, trace_prompt
from tests.helpers.scarce_memory import CPU, CUDA, scarce
from tests.helpers.tiny_models import loaded_model
from tests.helpers.tiny_tokenizers import TEXT

PLACE = SimpleNamespace(name="models/x", adapter=None, device=torch.device("cpu"))


@pytest.fixture(autouse=True)
def no_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of tests looking for garbage takes long, and there is none to be found."""
    monkeypatch.setattr(gc, "collect", lambda: 0)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if "do not fit in memory" in line]


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError(CUDA), True),
        (RuntimeError(CPU), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (UserError("a prompt is out of memory"), False),
    ],
)
def test_what_says_that_memory_is_out(error: Exception, is_one: bool) -> None:
    assert out_of_memory(error) is is_one


def test_a_batch_is_cut_in_the_middle() -> None:
    assert halves([1, 2, 3, 4, 5]) == [[1, 2, 3], [4, 5]] and halves([1]) == []


@settings(max_examples=200, deadline=None)
@given(
    batches=st.lists(st.integers(1, 9), max_size=6),
    failing=st.sets(st.integers(0, 40), max_size=12),
    fits=st.integers(1, 9),
    most=st.integers(1, 9),
)
def test_any_failures_leave_every_item_once_and_in_order(
    batches: list[int], failing: set[int], fits: int, most: int
) -> None:
    starts = np.cumsum([0, *batches])
    given = [list(range(start, start + size)) for start, size in zip(starts, batches, strict=False)]
    calls, sizes = 0, []

    def work(batch: list[int], _: int) -> list[int]:
        nonlocal calls
        calls += 1
        sizes.append(len(batch))
        if len(batch) > 1 and (calls - 1 in failing or len(batch) > fits):
            raise MemoryError
        return [10 * item for item in batch]

    budget = MemoryBudget(PLACE, "work", most, "rows")
    found = list(run_batches(given, work, budget, lambda batch, _: len(batch)))
    assert [item for batch, _ in found for item in batch] == list(range(sum(batches)))
    assert [item for _, result in found for item in result] == [10 * item for item in range(sum(batches))]
    assert budget.limit <= most
    # What failed once is not tried again in its size.
    assert all(len(batch) <= fits for batch, _ in found) and budget.halved == (len(found) > len(given))
    failed = [size for size in sizes if size > fits]
    assert all(later <= first // 2 for first, later in pairwise(failed))


def test_one_item_is_worked_on_piece_by_piece_until_nothing_is_smaller(capsys: pytest.CaptureFixture[str]) -> None:
    tried = []

    def work(batch: list[int], most: int) -> int:
        tried.append((batch, most))
        if most > fits:
            raise MemoryError
        return most

    def size(batch: list[int], most: int) -> int:
        return len(batch) * (100 + min(most, 1000))

    fits = 330
    [(batch, most)] = run_batches([[7]], work, MemoryBudget(PLACE, "work", 1000), size)
    assert batch == [7] and most == 325 and tried == [([7], 1000), ([7], 550), ([7], 325)]
    assert [line.partition(": ")[2] for line in lines(capsys)] == [
        "work: 1100 tokens at once do not fit in memory (cpu); going on with 550",
        "work: 650 tokens at once do not fit in memory (cpu); going on with 325",
    ]
    fits = 0
    with pytest.raises(UserError, match=r"models/x: work: 101 tokens at once do not .* smaller dtype") as no:
        list(run_batches([[7]], work, MemoryBudget(PLACE, "work", 1000), size))
    assert "\n" not in str(no.value)


def test_other_errors_go_through() -> None:
    def work(batch: list[int], most: int) -> None:
        raise ValueError("shape")

    with pytest.raises(ValueError, match="shape"):
        list(run_batches([[1, 2]], work, MemoryBudget(PLACE, "work", 9), lambda batch, _: len(batch)))


def test_a_failed_batch_s_tensors_are_gone_before_the_next_try() -> None:
    alive: list[weakref.ref[torch.Tensor]] = []

    def work(batch: list[int], most: int) -> None:
        assert not any(tensor() is not None for tensor in alive)
        held = torch.zeros(9)
        alive.append(weakref.ref(held))
        if len(batch) > 1:
            raise MemoryError

    gc.disable()
    try:
        assert (
            len(list(run_batches([[1, 2, 3, 4]], work, MemoryBudget(PLACE, "w", 9), lambda batch, _: len(batch)))) == 4
        )
    finally:
        gc.enable()


# Every method that runs batches through a model: its numbers, and whether a causal model is needed.
IDS = np.random.default_rng(2).integers(5, 60, (9, 12)).tolist()


def prompts_of(model: Any) -> list[Encoded]:
    """Of two lengths, with targets of one and two tokens."""
    masked = model.adapter.objective == "masked"
    return [
        Encoded(tuple(row[: 6 + 3 * (n % 2)]), 3 if masked else 5 + 3 * (n % 2), tuple(row[10 : 11 + n % 3 // 2]))
        for n, row in enumerate(IDS)
    ]


def evaluation(model: Any) -> list[Any]:
    return list(target_log_probabilities(model, prompts_of(model)))


def attribution(model: Any) -> list[Any]:
    found = attribute(model, prompts_of(model), nodes=4)
    return [found.scores, found.residuals, found.probability, found.baseline]


def means(model: Any) -> list[Any]:
    return [mean_activations(model, prompts_of(model))]


def suppression(model: Any) -> list[Any]:
    readings = [Reading(one.input_ids, one.gap, one.target_ids) for one in prompts_of(model)]
    changes = [
        Change(np.array([layer, 2]), np.array([neuron, 3]), operation)
        for layer, neuron, operation in [
            (0, 1, "erase"),
            (1, 2, "mean"),
            (2, 5, "enhance"),
            (0, 4, "mean"),
            (1, 7, "erase"),
        ]
    ]
    untouched, changed = changed_answers(model, readings, changes, np.full((3, 24), 0.3))
    return [np.concatenate(untouched), np.concatenate(changed)]


def tracing(model: Any) -> list[Any]:
    chosen = Settings(draws=3)
    budget = memory_budget_of(model, chosen)
    found = [trace_prompt(model, [one], (1, 3), f"{n}", chosen, budget) for n, one in enumerate(prompts_of(model)[:3])]
    return [part for one in found for part in (one.clean, one.corrupted, one.restored)]


def covariance(model: Any) -> list[Any]:
    found = collect_covariance(model, TEXT[:15], [0, 1, 2], tokens=10**4, batch_tokens=4096)
    return [np.array(found.count), *(found.matrix(layer).numpy() for layer in range(3))]


def values(model: Any) -> list[Any]:
    problems = [
        Problem(
            (TokenRow((*row[:6], 5), 3, (5, 9)), TokenRow((7, *row[:6], 5), 4, (5, 9))), TokenRow(tuple(row[:5]), 3)
        )
        for row in IDS
    ]
    found = compute_v(model, 1, problems, RomeSettings(steps=4, learning_rate=0.1), 4096)
    return [np.concatenate([one.before, one.after, one.key, one.mean_key, [one.loss]]) for one in found]


def questions(model: Any) -> list[Any]:
    random = torch.Generator().manual_seed(4)
    left, right = (torch.randn(size, 1, generator=random, dtype=torch.float64) for size in (16, 24))
    edits = [
        (),
        (Update(0, left, right),),
        (Update(1, left, right), Update(2, left, right)),
        (Update(0, left, -right),),
    ]
    said = predict(model, edits, [prompts_of(model)[n : n + 5] for n in range(4)])
    return [np.concatenate([getattr(one, name) for one in part]) for part in said for name in vars(said[0][0])]


def continuations(model: Any) -> list[Any]:
    prompts = [one.input_ids for one in prompts_of(model)]
    sampler = Sampler([("row", n) for n in range(len(prompts))], 3)
    free = continue_rows(model, prompts, None, 5)
    stop = free[3][1]  # some rows end before others
    rows = [row for how in ("greedy", sampler) for row in continue_rows(model, prompts, None, 5, choose=how, stop=stop)]
    assert len({len(row) for row in rows}) > 1
    return [np.array(row) for row in [*free, *rows]]


def tuned(model: Any) -> list[Any]:
    one = Request("e", "t", "relation", "c", "", "", "", 0, "", "", prompts_of(model)[0], prompts_of(model)[0], 1)
    requests = [replace(one, name=f"{n}", new_prompt=prompt) for n, prompt in enumerate(prompts_of(model))]
    edits = fine_tuning.find_edits(model, requests, fine_tuning.Settings(layer=1, steps=3))
    return [np.append(edit.updates[0].left.numpy().ravel(), edit.loss) for edit in edits]


BOTH: list[Callable[[Any], list[Any]]] = [evaluation, attribution, means, suppression, tracing, covariance, questions]
CAUSAL: list[Callable[[Any], list[Any]]] = [values, continuations, tuned]
CASES = [(family, method) for family in ("bert", "gpt2") for method in BOTH + CAUSAL * (family == "gpt2")]
# Rows × tokens that fit: about twice those of a method's smallest piece.
FITS = {"tracing": 26, "values": 40, "questions": 26}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    return {family: loaded_model(family, tmp_path_factory.mktemp(family), TEXT) for family in ("bert", "gpt2")}


def same(found: list[Any], expected: list[Any]) -> bool:
    """Up to rounding in float64, or what float32 results make of it; whole numbers exactly."""
    return len(found) == len(expected) and all(
        one.shape == other.shape
        and np.allclose(one, other, rtol=1e-6 if one.dtype == np.float32 else 1e-9, atol=1e-12, equal_nan=True)
        and (one.dtype.kind == "f" or np.array_equal(one, other))
        for one, other in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize(("family", "method"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_little_memory_changes_no_number(
    models: dict[str, Model], family: str, method: Callable[[Any], list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    expected = method(models[family])
    model = scarce(models[family], FITS.get(method.__name__, 18))
    found = method(model)
    said = lines(capsys)
    assert same(found, expected)
    assert model.adapter.failed == len(said) >= 1
    assert all(line.startswith("models/scarce: ") and "going on with" in line for line in said)


@pytest.mark.parametrize(("family", "method"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_a_failure_at_any_point_changes_no_number(
    models: dict[str, Model], family: str, method: Callable[[Any], list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    counting = scarce(models[family])
    expected, total, failed = method(counting), counting.adapter.asked, 0
    drawn: list[Collection[int]] = [{0}, {total // 2}, {total - 1}, {1, 2, total // 3}, set(range(3, total, 40))]
    for calls in drawn:
        model = scarce(models[family], calls=calls, least=FITS.get(method.__name__, 18))
        assert same(method(model), expected), calls
        assert model.adapter.failed == len(lines(capsys)) <= len(set(calls))
        failed += model.adapter.failed
    assert failed


@pytest.mark.parametrize(("family", "method"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_what_never_fits_is_one_line(models: dict[str, Model], family: str, method: Callable[[Any], list[Any]]) -> None:
    with pytest.raises(UserError, match=r"models/scarce: .* do not fit in memory .* smaller dtype") as error:
        method(scarce(models[family], most=0))
    assert "\n" not in str(error.value)
