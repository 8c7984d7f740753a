"""Continuations with cached keys and values against whole runs of a model whose weights were changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kn_thesis.corpora.sampling import hash_rank
from kn_thesis.editing import generation
from kn_thesis.editing.generation import Sampler, continue_rows, entropy, readable_text
from kn_thesis.editing.weight_update import Update, applied
from kn_thesis.errors import UserError
from kn_thesis.models.load import Model
from tests.helpers.tiny_models import WORDS, loaded_model, model_of
from tests.helpers.tiny_tokenizers import TEXT

POSITIONS, TOKENS = 16, 9
VARIANTS = [
    ("gpt2", {}),
    ("gpt2", {"tie_word_embeddings": False, "scale_attn_by_inverse_layer_idx": True}),
    ("llama", {}),
    ("llama", {"num_key_value_heads": 2, "mlp_bias": True}),
]
ALL = [(*variant, size, how) for variant in VARIANTS for size in (1, 40, 10_000) for how in ("greedy", "sampled")]


def a_model(family: str, **changes: Any) -> Any:
    model = model_of(family, **changes)
    model.positions = POSITIONS
    return model


def edits_of() -> list[tuple[Update, ...]]:
    """None; one of rank one; the same changes in another object; two layers; a whole matrix."""
    generator = torch.Generator().manual_seed(8)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    one = Update(1, drawn(16, 1), drawn(24, 1))
    return [
        (),
        (one,),
        (Update(1, one.left.clone(), one.right.clone()),),
        (Update(0, drawn(16, 2), drawn(24, 2)), Update(2, drawn(16, 1), drawn(24, 1))),
        (Update(2, drawn(16, 24)),),
    ]


def rows_of() -> tuple[list[list[int]], list[tuple[Update, ...]]]:
    """Prompts of several lengths, edits mixed; the last prompt has as many tokens as there are positions."""
    random, edits = np.random.default_rng(6), edits_of()
    lengths = [3, 5, 3, 1, 3, 5, 12, 3, 3, 5, 3, 14, POSITIONS]
    prompts = [random.integers(1, WORDS, length).tolist() for length in lengths]
    prompts[4] = prompts[0]
    return prompts, [edits[number % len(edits)] for number in range(len(prompts))]


def plain(
    model: Any,
    prompt: Sequence[int],
    edit: Sequence[Update],
    tokens: int,
    stop: int | None,
    draw: Sampler | None,
    row: int,
) -> list[int]:
    """The changed model reads the whole text again for each new token."""
    text: list[int] = list(prompt)
    numbers = None
    if draw is not None:
        name, number = draw.rows[row]
        numbers = np.random.default_rng(hash_rank("continue", draw.seed, name, number)).random(tokens)
    with applied(model.adapter, edit):
        while len(text) < len(prompt) + tokens and len(text) < POSITIONS:
            scores = model.module(input_ids=torch.tensor([text])).logits[0, -1].double().numpy()
            ordered = sorted(range(len(scores)), key=lambda token: -scores[token])
            token = ordered[0]
            if draw is not None and numbers is not None:
                best = ordered[: draw.top]
                weights = [math.exp(scores[t] - scores[best[0]]) for t in best]
                drawn = numbers[len(text) - len(prompt)] * sum(weights)
                token = next(t for place, t in enumerate(best) if drawn < sum(weights[: place + 1]))
            if token == stop:
                break
            text.append(token)
    return text[len(prompt) :]


def sampler_of(rows: int, top: int = 5, seed: int = 3) -> Sampler:
    return Sampler([(f"row {number // 2}", number % 2) for number in range(rows)], seed, top)


@pytest.mark.parametrize(("family", "changes", "batch_tokens", "how"), [*ALL, ("gptj", {}, 40, "sampled")], ids=str)
def test_equal_to_whole_runs_of_the_changed_model(
    family: str, changes: dict[str, Any], batch_tokens: int, how: str
) -> None:
    model, (prompts, edits) = a_model(family, **changes), rows_of()
    draw = sampler_of(len(prompts)) if how == "sampled" else None
    # A token that some rows write early, so that they end apart.
    free = [plain(model, p, e, TOKENS, None, draw, row) for row, (p, e) in enumerate(zip(prompts, edits, strict=True))]
    stop = free[0][3]
    expected = [
        plain(model, p, e, TOKENS, stop, draw, row) for row, (p, e) in enumerate(zip(prompts, edits, strict=True))
    ]
    lengths = {len(text) for text in expected}
    assert len(lengths) > 2 and 0 in lengths and TOKENS in lengths
    choose = draw or "greedy"
    found = continue_rows(model, prompts, edits, TOKENS, choose=choose, stop=stop, batch_tokens=batch_tokens)
    assert found == expected
    assert continue_rows(model, prompts, edits, TOKENS, choose=choose, stop=None, batch_tokens=batch_tokens) == free
    assert free[-1] == [] and len(free[-2]) == 2  # not beyond the last position
    assert any(one != other for one, other in zip(free[:-1], unedited(model, prompts, draw)[:-1], strict=True))


def unedited(model: Any, prompts: list[list[int]], draw: Sampler | None) -> list[list[int]]:
    return continue_rows(model, prompts, None, TOKENS, choose=draw or "greedy", stop=None, batch_tokens=64)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_without_edits_the_model_is_as_it_is(family: str) -> None:
    model, (prompts, _) = a_model(family), rows_of()
    expected = [plain(model, prompt, (), TOKENS, None, None, 0) for prompt in prompts]
    assert unedited(model, prompts, None) == expected
    assert continue_rows(model, prompts, [()] * len(prompts), TOKENS) == expected
    assert continue_rows(model, [], None, TOKENS) == [] and continue_rows(model, prompts[:1], None, 0) == [[]]
    model.positions = 0  # of a model that does not say
    assert continue_rows(model, prompts[:3], None, 4) == [text[:4] for text in expected[:3]]


def test_samples_depend_on_their_own_name_and_number_alone() -> None:
    model, (prompts, edits) = a_model("gpt2"), rows_of()
    prompts, edits = prompts[:10], edits[:10]
    draw = sampler_of(10)
    found = continue_rows(model, prompts, edits, TOKENS, choose=draw, batch_tokens=64)
    order = [7, 2, 9, 0]
    chosen = Sampler([draw.rows[row] for row in order], draw.seed, draw.top)
    some = [[part[row] for row in order] for part in (prompts, edits)]
    assert continue_rows(model, *some, TOKENS, choose=chosen) == [found[row] for row in order]
    # Fewer tokens are the first of more.
    assert continue_rows(model, *some, 4, choose=chosen) == [found[row][:4] for row in order]
    assert continue_rows(model, prompts, edits, TOKENS, choose=sampler_of(10, seed=4)) != found
    alike = continue_rows(model, prompts[:1] * 3, None, TOKENS, choose=Sampler([("a", 0), ("a", 1), ("a", 0)], 1))
    assert alike[0] == alike[2] != alike[1]
    assert continue_rows(model, prompts, edits, TOKENS, choose=sampler_of(10, top=1)) == continue_rows(
        model, prompts, edits, TOKENS
    )


def test_samples_have_the_probabilities_of_the_best_tokens() -> None:
    model, prompt = a_model("llama"), [4, 7, 2]
    logits = model.module(input_ids=torch.tensor([prompt])).logits[0, -1]
    best = logits.topk(5)
    shares = dict(zip(best.indices.tolist(), best.values.softmax(-1).tolist(), strict=True))
    samples = 4000
    draw = Sampler([("p", number) for number in range(samples)], 1)
    found = [text[0] for text in continue_rows(model, [prompt] * samples, None, 1, choose=draw)]
    assert set(found) <= set(shares)
    for token, share in shares.items():
        assert abs(found.count(token) / samples - share) < 4.5 * math.sqrt(share * (1 - share) / samples)
    wide = Sampler([("p", number) for number in range(50)], 1, top=10 * WORDS)  # more than the vocabulary has
    assert len({text[0] for text in continue_rows(model, [prompt] * 50, None, 1, choose=wide)}) > 1


def test_equals_are_taken_in_the_order_of_the_vocabulary() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0, 2.0, 2.0, 2.0, 1.0]]).repeat(4, 1).bfloat16()
    uniforms = torch.tensor([0.0, 0.4, 0.7, 0.9999999], dtype=torch.float64)
    assert generation._sampled(logits, uniforms, 3).tolist() == [1, 3, 4, 4]
    assert generation._sampled(logits, uniforms, 4).tolist() == [1, 3, 4, 5]
    assert logits[0, 1] == 2  # left as it was


def test_each_edit_is_computed_once_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    model, edits = a_model("gpt2"), edits_of()
    calls: list[tuple[int, ...]] = []
    added = Update.added
    monkeypatch.setattr(Update, "added", lambda self, neurons: calls.append(neurons.shape) or added(self, neurons))
    continue_rows(model, [[1, 2, 3]] * 6, [edits[1], (), edits[4], edits[1], edits[4], edits[1]], 3)
    assert [shape[0] for shape in calls] == [3, 2] * 3
    assert [shape[1] for shape in calls] == [3, 1, 1, 1, 1, 1]  # layer 1, and the last layer at the last token


@pytest.mark.parametrize("batch_tokens", [1, 13, 39, 1000])
def test_batches_are_no_larger_than_asked(monkeypatch: pytest.MonkeyPatch, batch_tokens: int) -> None:
    model, (prompts, edits) = a_model("gpt2"), rows_of()
    shapes: list[tuple[int, ...]] = []
    embed = model.adapter.embed
    monkeypatch.setattr(model.adapter, "embed", lambda ids: shapes.append(tuple(ids.shape)) or embed(ids))
    continue_rows(model, prompts, edits, TOKENS, batch_tokens=batch_tokens)
    assert max(rows for rows, _ in shapes) == {1: 1, 13: 1, 39: 3, 1000: 6}[batch_tokens]
    assert all(rows == 1 or rows * tokens <= batch_tokens for rows, tokens in shapes)


def test_the_model_is_left_as_it_was() -> None:
    model, (prompts, edits) = a_model("gpt2"), rows_of()
    before = {name: weight.clone() for name, weight in model.module.state_dict().items()}
    continue_rows(model, prompts, edits, TOKENS)
    assert all(torch.equal(before[name], weight) for name, weight in model.module.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_less_precise_models_write_too(dtype: torch.dtype) -> None:
    model, (prompts, edits) = a_model("llama"), rows_of()
    model.module.to(dtype)
    small = [
        tuple(Update(u.layer, u.left.float(), None if u.right is None else u.right.float()) for u in edit)
        for edit in edits
    ]
    found = continue_rows(model, prompts, small, TOKENS, choose=sampler_of(len(prompts)))
    assert [len(text) for text in found] == [min(TOKENS, POSITIONS - len(prompt)) for prompt in prompts]


@pytest.mark.parametrize(
    ("family", "prompts", "message"),
    [
        ("bert", [[1, 2]], "masked model"),
        ("gpt2", [[1], []], "prompt 1 has 0 tokens"),
        ("gpt2", [[1] * 17], "takes 1 to 16"),
    ],
)
def test_mistakes_are_named_in_one_line(family: str, prompts: list[list[int]], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        continue_rows(a_model(family), prompts, None, 3)
    assert "\n" not in str(caught.value)


def test_every_row_needs_its_edit_and_its_name() -> None:
    with pytest.raises(ValueError, match="2 prompts"):
        continue_rows(a_model("gpt2"), [[1], [2]], [()], 3)
    with pytest.raises(ValueError, match="2 prompts"):
        continue_rows(a_model("gpt2"), [[1], [2]], None, 3, choose=Sampler([("a", 0)], 1))


def test_entropy_by_hand() -> None:
    # Bigrams ab ba ab ba: two of equal share, 1 bit; trigrams aba bab aba: 2/3 and 1/3.
    third = -(2 / 3) * math.log2(2 / 3) - (1 / 3) * math.log2(1 / 3)
    assert entropy(["ababa"]) == pytest.approx((2 / 3 * 1 + 4 / 3 * third) / 2, rel=1e-12)
    # All apart: log2 of how many there are.
    assert entropy([[1, 2, 3, 4, 5, 6]]) == pytest.approx((2 / 3 * math.log2(5) + 4 / 3 * 2) / 2, rel=1e-12)
    assert entropy([[7] * 50]) == 0
    # Pooled over texts: 12 23 and 12 24, of which 12 has a half; none reaches from one text to the next.
    assert entropy([[1, 2, 3], [1, 2, 4]]) == pytest.approx((2 / 3 * 1.5 + 4 / 3 * 1) / 2, rel=1e-12)
    assert entropy([[1, 2], [3, 4], [5]]) == pytest.approx((2 / 3 * 1) / 2, rel=1e-12)
    assert math.isnan(entropy([])) and math.isnan(entropy([[], [1], [2]]))
    assert entropy([[1, 2]]) == 0
    generator = np.random.default_rng(2)
    texts = [generator.integers(0, 4, 30).tolist() for _ in range(5)]
    assert entropy(texts) == entropy(texts[::-1]) and entropy(texts) == entropy([np.array(text) for text in texts])


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return loaded_model(request.param, tmp_path_factory.mktemp(request.param), TEXT)


def test_readable(model: Model) -> None:
    tokenizer = model.tokenizer.tokenizer
    text = "The old king\n  admires this vase."
    ids, end = (
        tokenizer.encode(text).ids,
        tokenizer.token_to_id("</s>" if model.adapter.family == "llama" else "<|endoftext|>"),
    )
    assert readable_text(model.tokenizer, np.array([*ids, end])) == "The old king admires this vase."
    following = tokenizer.encode("The old king").ids
    rest = tokenizer.encode("The old king admires").ids[len(following) :]
    assert readable_text(model.tokenizer, rest) == "admires" and readable_text(model.tokenizer, []) == ""
    cut = tokenizer.encode("The café").ids[:-1]  # é has two bytes
    assert readable_text(model.tokenizer, cut) == "The caf"


def test_a_real_model_goes_on_as_hugging_face_lets_it(model: Model, tmp_path: Path) -> None:
    """Greedy, with the library's own loop and cache."""
    prompts = [model.tokenizer.tokenizer.encode(text).ids for text in ("The old king", "The capital of")]
    for prompt in prompts:
        found = continue_rows(model, [prompt], None, 6)
        whole = model.module.generate(
            torch.tensor([prompt]), max_new_tokens=6, do_sample=False, eos_token_id=None, pad_token_id=0
        )
        assert found == [whole[0, len(prompt) :].tolist()]
