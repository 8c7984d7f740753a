"""The second moment of keys against sums of outer products over untouched modules, text by text."""

from __future__ import annotations

import math
import runpy
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kn_thesis.editing.covariance import WAITING, Covariance, SingularCovariance, _batches, collect_covariance, solve
from kn_thesis.errors import UserError
from kn_thesis.models.load import Model
from tests.helpers.tiny_models import DETAILED, loaded_model
from tests.helpers.tiny_tokenizers import TEXT

SCRIPT = Path(__file__).parents[2] / "scripts" / "collect_covariance.py"
SHORT = [
    "The old king admires this vase.",
    "These kings admire those vases.",
    "The capital of Italy is Rome.",
    "The king",
    "Paris",
    "The women admire this man.",
    "The old king admires this vase.",
]
LONG = " ".join(SHORT * 4)  # several times the model's positions
WHERE = {
    "bert": lambda module, layer: module.bert.encoder.layer[layer].output.dense,
    "gpt2": lambda module, layer: module.transformer.h[layer].mlp.c_proj,
    "llama": lambda module, layer: module.model.layers[layer].mlp.down_proj,
}


@pytest.fixture(scope="module", params=DETAILED)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return loaded_model(request.param, tmp_path_factory.mktemp(request.param), TEXT)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return loaded_model("gpt2", tmp_path_factory.mktemp("one"), TEXT)


def plain(model: Model, rows: Sequence[list[int]], layer: int) -> tuple[np.ndarray, int]:
    """Mean outer product of what goes into the down-projection, token by token; and how many tokens."""
    seen: list[Tensor] = []
    place = WHERE[model.adapter.family](model.module, layer)
    hook = place.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    total, count = np.zeros((24, 24)), 0
    for row in rows:
        seen.clear()
        model.module(input_ids=torch.tensor([row]))
        for key in seen[0].reshape(-1, 24).double().numpy():
            total += np.outer(key, key)
            count += 1
    hook.remove()
    return total / count, count


def encoded(model: Model, texts: Sequence[str]) -> list[list[int]]:
    return [model.tokenizer.tokenizer.encode(text).ids for text in texts]


def near(one: Tensor, other: np.ndarray, tolerance: float = 1e-6) -> bool:
    return bool(np.abs(one.numpy() - other).max() <= tolerance * np.abs(other).max())


@pytest.mark.parametrize("batch_tokens", [1, 30, 10_000])
def test_equal_to_the_sum_of_outer_products(model: Model, batch_tokens: int) -> None:
    found = collect_covariance(model, iter(SHORT), [2, 0, 2], tokens=10_000, batch_tokens=batch_tokens)
    assert list(found.matrices) == [0, 2]
    for layer, matrix in found.matrices.items():
        expected, count = plain(model, encoded(model, SHORT), layer)
        assert matrix.dtype == torch.float32 and near(matrix, expected) and found.count == count
        assert torch.equal(matrix, matrix.T)


def test_reading_ends_with_the_piece_that_reaches_the_number_of_tokens(model: Model) -> None:
    rows = encoded(model, SHORT)
    read: list[str] = []

    def texts() -> Iterator[str]:
        for text in SHORT:
            read.append(text)
            yield text

    wanted = len(rows[0]) + len(rows[1]) + 1
    found = collect_covariance(model, texts(), [1], tokens=wanted, batch_tokens=12)
    assert read == SHORT[:3]
    expected, count = plain(model, rows[:3], 1)
    assert found.count == count > wanted and near(found.matrices[1], expected)
    exact = collect_covariance(model, SHORT, [1], tokens=count, batch_tokens=12)
    assert exact.count == count and torch.equal(exact.matrices[1], found.matrices[1])


def test_long_texts_are_cut_and_each_piece_has_the_special_tokens(model: Model) -> None:
    tokenizer = model.tokenizer.tokenizer
    ids = tokenizer.encode(LONG, add_special_tokens=False).ids
    before = {"bert": ["[CLS]"], "gpt2": [], "llama": ["<s>"]}[model.adapter.family]
    after = {"bert": ["[SEP]"], "gpt2": [], "llama": []}[model.adapter.family]
    room, pieces = 24 - len(before) - len(after), []
    while ids:
        part, ids = ids[:room], ids[room:]
        pieces.append([*map(tokenizer.token_to_id, before), *part, *map(tokenizer.token_to_id, after)])
    assert len(pieces) > 3 and len(pieces[0]) == 24
    found = collect_covariance(model, [LONG], [0], tokens=10_000, batch_tokens=60)
    expected, count = plain(model, pieces, 0)
    assert found.count == count and near(found.matrices[0], expected)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
def test_less_precise_models_are_near(model: Model, dtype: torch.dtype, tolerance: float) -> None:
    exact = collect_covariance(model, SHORT, [2], tokens=10_000, batch_tokens=64)
    model.module.to(dtype)
    try:
        found = collect_covariance(model, SHORT, [2], tokens=10_000, batch_tokens=64)
    finally:
        model.module.to(torch.float64)
    assert found.matrices[2].dtype == torch.float32
    # The weights were rounded, too: what is left are the digits of bfloat16.
    assert near(found.matrices[2], exact.matrices[2].numpy(), tolerance)


def test_rows_of_one_length_wait_for_each_other_and_not_for_ever() -> None:
    random = np.random.default_rng(1)
    rows = [[number] * int(random.integers(1, 500)) for number in range(5000)]
    taken = given = most = 0

    def stream() -> Iterator[list[int]]:
        nonlocal taken, most
        for row in rows:
            most = max(most, taken - given)
            taken += len(row)
            yield row

    found = []
    for batch in _batches(stream(), 1000):
        assert len({len(row) for row in batch}) == 1
        assert len(batch) == 1 or sum(map(len, batch)) <= 1000
        given += sum(map(len, batch))
        found += [row[0] for row in batch]
    assert sorted(found) == list(range(5000)) and WAITING * 500 < most <= WAITING * 1000 + 500
    alike = list(_batches([[n] * 10 for n in range(25)], 100))
    assert [len(batch) for batch in alike] == [10, 10, 5]


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ([], {}, "no text"),
        ([" ", ""], {}, "no text"),
        (SHORT, {"layers": [0, 3]}, "from 0 to 2"),
        (SHORT, {"layers": [-1]}, "from 0 to 2"),
        (SHORT, {"layers": []}, "from 0 to 2"),
        (SHORT, {"tokens": 0}, "tokens"),
        (SHORT, {"batch_tokens": 0}, "batch_tokens"),
    ],
)
def test_mistakes_are_named_in_one_line(gpt2: Model, texts: list[str], options: dict[str, Any], message: str) -> None:
    given = {"layers": [0], "tokens": 100, "batch_tokens": 100} | options
    with pytest.raises(UserError, match=message) as caught:
        collect_covariance(gpt2, [text for text in texts if text.strip()], **given)
    assert "\n" not in str(caught.value)


def test_keys_that_are_not_finite_are_refused(gpt2: Model) -> None:
    bias = gpt2.module.transformer.h[1].mlp.c_fc.bias
    before = bias[3].item()
    bias[3] = math.nan
    try:
        collect_covariance(gpt2, SHORT, [0], tokens=100, batch_tokens=100)
        with pytest.raises(UserError, match="layer 1 are not finite"):
            collect_covariance(gpt2, SHORT, [0, 1], tokens=100, batch_tokens=100)
    finally:
        bias[3] = before


def test_saved_and_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = Covariance({layer: torch.randn(5, 5) for layer in (11, 2, 0)}, 123)
    whole.save(tmp_path / "a.safetensors")
    again = Covariance.load(tmp_path / "a.safetensors")
    assert again.count == 123 and sorted(again.matrices) == [0, 2, 11]
    assert all(torch.equal(again.matrix(layer), whole.matrix(layer)) for layer in (0, 2, 11))
    again.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    part = Covariance.load(tmp_path / "a.safetensors", [11])
    assert list(part.matrices) == [11] and torch.equal(part.matrix(11), whole.matrix(11))
    with pytest.raises(UserError, match="no layer 3"):
        Covariance.load(tmp_path / "a.safetensors", [2, 3])
    with pytest.raises(UserError, match="layer 2 was not collected"):
        part.matrix(2)


def test_other_files_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    (tmp_path / "nothing.safetensors").write_bytes(b"nothing")
    save_file({"layer.0": torch.eye(2), "count": torch.tensor(3)}, tmp_path / "other.safetensors")
    broken = Covariance({0: torch.eye(2), 1: torch.tensor([[1.0, math.nan], [0.0, 1.0]])}, 3)
    broken.save(tmp_path / "nan.safetensors")
    for name, message in [
        ("absent", "no such file"),
        ("nothing", "not a file of covariances"),
        ("other", "not a file of covariances"),
        ("nan", "layer 1 is not finite"),
    ]:
        with pytest.raises(UserError, match=message) as caught:
            Covariance.load(tmp_path / f"{name}.safetensors")
        assert "\n" not in str(caught.value)


def test_what_is_missing_is_said(gpt2: Model) -> None:
    few = collect_covariance(gpt2, SHORT[:1], [1], tokens=100, batch_tokens=100)
    assert few.count < 24
    with pytest.raises(SingularCovariance, match=rf"{few.count} of 24 directions"):
        solve(few.matrix(1), torch.ones(24))
    enough = collect_covariance(gpt2, [*SHORT, LONG, *TEXT[:5]], [1], tokens=1000, batch_tokens=100)
    assert solve(enough.matrix(1), torch.ones(24)).isfinite().all()


def run_script(model: Path, output: Path, source: dict[str, Any] | None, **inputs: str) -> None:
    class Inputs(dict):
        model: list[str]

    given = Inputs(inputs)
    given.model = [str(model / "config.json"), str(model / "tokenizer.json")]
    settings = {"layers": [1], "tokens": 40, "batch_tokens": 64, "source": source}
    loading = {"dtype": "float64", "device": "cpu"}
    job = SimpleNamespace(
        input=given,
        params=SimpleNamespace(settings=settings, loading=loading),
        output=SimpleNamespace(covariance=str(output)),
        log=[str(output.with_suffix(".log"))],
    )
    runpy.run_path(str(SCRIPT), init_globals={"snakemake": job})


def test_the_rule_reads_a_text_or_a_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = loaded_model("llama", tmp_path / "model", TEXT)
    text, output = tmp_path / "text.txt", tmp_path / "c.safetensors"
    text.write_text("\n".join(SHORT) + "\n")
    run_script(tmp_path / "model", output, None, text=str(text))
    expected = collect_covariance(model, SHORT, [1], tokens=40, batch_tokens=64)
    found = Covariance.load(output)
    assert found.count == expected.count and near(found.matrix(1), expected.matrix(1).numpy())
    assert f"{found.count} tokens" in output.with_suffix(".log").read_text()
    run_script(tmp_path / "model", output, {"path": str(text), "split": "train"})
    assert torch.equal(Covariance.load(output).matrix(1), found.matrix(1))
    with pytest.raises(SystemExit):
        run_script(tmp_path / "model", output, {"path": str(tmp_path / "absent.txt")})
    assert "no such file" in capsys.readouterr().err
