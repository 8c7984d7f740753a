"""Tiny models for tests of `kn_thesis.edit`, and what the untouched Hugging Face model says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import kn_thesis
from kn_thesis.editing.editors import EDITORS
from kn_thesis.models.cloze import Encoded
from kn_thesis.models.load import Model, load_model
from tests.helpers.tiny_models import DETAILED, loaded_model
from tests.helpers.tiny_tokenizers import TEXT

OLD, TARGET, LONG = "this", "those", "mans"  # the last has two tokens
CAUSAL = ("gpt2", "llama")
EDITED_BY = [*((family, editor) for family in CAUSAL for editor in EDITORS), ("bert", "knowledge_neuron")]
# Enough for every editor to change a random model.
SETTINGS: dict[str, dict[str, Any]] = {
    "rome": {"token": "last", "weight_decay": 1e-3},
    "fine_tuning": {"learning_rate": 0.05, "norm": 0.5},
    "knowledge_neuron": {"coarse": 0.1},
}

Models = Callable[..., Model]


def edited_models(folder: Path) -> Models:
    """Models by family and dtype (float64), made when asked for; in those of float64 the first choice is OLD."""
    found: dict[tuple[str, str], Model] = {}

    def get(family: str, dtype: str = "float64") -> Model:
        if (family, "float64") not in found:
            text = [*TEXT, *["That man admires those vases."] * 20]
            model = loaded_model(family, folder / family, text, tie_word_embeddings=False)
            if family in CAUSAL:  # a whole word of its own is one that another follows
                answer_with(model, f"{prompt_of(model)} {OLD}", "vases")
            answer_with(model, prompt_of(model), OLD)
            found[family, "float64"] = model
        if (family, dtype) not in found:
            found[family, dtype] = load_model(folder / family, dtype=dtype, device="cpu")
        return found[family, dtype]

    return get


@contextmanager
def nothing_stays(models: Models) -> Iterator[None]:
    """Fails unless each model's tensors, hooks and gradients are afterwards what they were."""
    known = [models(family) for family in DETAILED]
    before = [state_of(model) for model in known]
    yield
    for model, state in zip(known, before, strict=True):
        assert changed(model, state) == []
        for module in model.module.modules():
            assert not module._forward_hooks and not module._forward_pre_hooks
        assert all(weight.grad is None and not weight.requires_grad for weight in model.module.parameters())


def prompt_of(model: Model) -> str:
    return "The old man admires ___ vases." if model.adapter.objective == "masked" else "The old man admires"


def asked(model: Model, editor: str = "rome", **changes: Any) -> dict[str, Any]:
    return {"prompt": prompt_of(model), "subject": "old man", "target": TARGET, "editor": editor} | changes


def edit_by(model: Model, editor: str = "rome", **changes: Any) -> Any:
    return kn_thesis.edit(model, **(asked(model, editor) | SETTINGS[editor] | changes))


def answer_with(model: Model, prompt: str, word: str) -> None:
    """Turn the word's row of the output matrix towards the prompt's last state: it becomes the first choice."""
    one = model.tokenizer.encode_prompt(prompt, word)
    output, seen = model.module.get_output_embeddings(), []
    hook = output.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0, one.gap]))
    logits = model.module(torch.tensor([one.input_ids])).logits[0, one.gap]
    hook.remove()
    with torch.no_grad():
        missing = logits.logsumexp(-1) + 1 - logits[one.target_ids[0]]
        output.weight[one.target_ids[0]] += missing * seen[0] / seen[0].square().sum()


def plain_probability(model: Model, one: Encoded) -> float:
    """Product over the word's tokens of what the untouched forward gives each, those before it filled in."""
    found, ids, words = 1.0, list(one.input_ids), list(one.target_ids)
    for number, token in enumerate(words):
        if model.adapter.objective == "causal":
            seen = ids + words[:number]
        else:
            seen = ids[: one.gap] + words[:number] + ids[one.gap + number :]
        with torch.no_grad():
            logits = model.module(torch.tensor([seen])).logits[0, one.gap + number]
        found *= float(logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(-1)[token])
    return found


def plain_probabilities(model: Model, words: list[str]) -> list[float]:
    return [plain_probability(model, model.tokenizer.encode_prompt(prompt_of(model), word)) for word in words]


def plain_text(model: Model, text: str, tokens: int) -> str:
    """The most probable token again and again, by whole forwards."""
    start = model.tokenizer.tokenizer.encode(text).ids
    ids = list(start)
    for _ in range(tokens):
        with torch.no_grad():
            best = int(model.module(torch.tensor([ids])).logits[0, -1].argmax())
        if best == model.module.config.eos_token_id:
            break
        ids.append(best)
    return model.tokenizer.tokenizer.decode(ids[len(start) :]).rstrip("\ufffd")


def state_of(model: Model) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.module.state_dict().items()}


def changed(model: Model, before: dict[str, Tensor]) -> list[str]:
    """Names of tensors that are not bit for bit what they were."""
    now = model.module.state_dict()
    assert list(now) == list(before)
    return [name for name, value in now.items() if not torch.equal(bits(value), bits(before[name]))]


def bits(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().flatten().view(torch.uint8)
