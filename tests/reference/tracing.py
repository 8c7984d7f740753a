"""Causal tracing as public code runs it: for each token, layer and kind one whole forward of the untouched model.

Slow and obviously right. Row 0 is the clean prompt, the others are its corrupted draws; hooks copy row 0's states into
the others at the restored places, or hold what a severed sublayer adds at its value in the corrupted run. It shares no
code with kn_thesis.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch

BLOCKS = {
    "bert": lambda module: module.bert.encoder.layer,
    "gpt2": lambda module: module.transformer.h,
    "llama": lambda module: module.model.layers,
    "roberta": lambda module: module.roberta.encoder.layer,
    "gptj": lambda module: module.transformer.h,
    "mistral": lambda module: module.model.layers,
    "qwen2": lambda module: module.model.layers,
}
# Modules whose output is what the sublayer adds to the hidden states.
ADDS = {
    "bert": {"mlp": lambda block: block.output.dense, "attention": lambda block: block.attention.output.dense},
    "gpt2": {"mlp": lambda block: block.mlp, "attention": lambda block: block.attn},
    "llama": {"mlp": lambda block: block.mlp, "attention": lambda block: block.self_attn},
}
ADDS |= {"roberta": ADDS["bert"], "gptj": ADDS["gpt2"], "mistral": ADDS["llama"], "qwen2": ADDS["llama"]}
WORDS = {
    "bert": lambda module: module.bert.embeddings.word_embeddings,
    "gpt2": lambda module: module.transformer.wte,
    "llama": lambda module: module.model.embed_tokens,
    "roberta": lambda module: module.roberta.embeddings.word_embeddings,
    "gptj": lambda module: module.transformer.wte,
    "mistral": lambda module: module.model.embed_tokens,
    "qwen2": lambda module: module.model.embed_tokens,
}


def plain_trace(
    module: Any,
    input_ids: Sequence[int],
    gap: int,
    target: int,
    noise: torch.Tensor,
    kind: str,
    window: int,
    cells: Collection[tuple[int, int]] | None = None,
) -> tuple[float, float, np.ndarray]:
    """P(target) clean, corrupted (mean over draws), and restored (tokens, layers); noise (draws, tokens, hidden).

    cells: the (token, layer) that are restored, all if None; the others are nan.
    """
    clean, corrupted, restored = plain_draws(module, input_ids, gap, target, noise, kind, window, cells)
    return clean, float(corrupted.mean()), restored.mean(axis=-1)


def plain_word(
    module: Any, steps: Sequence[tuple[Sequence[int], int, int]], noise: torch.Tensor, kind: str, window: int
) -> tuple[float, np.ndarray, np.ndarray]:
    """The same of a word of several tokens, each with the ids that the model sees and the gap: products over them.

    Ids may be longer than the noise: what follows is part of the answer. Returns clean, corrupted (draws,), restored
    (tokens, layers, draws).
    """
    tokens = noise.shape[1]
    clean, corrupted, restored = 1.0, np.ones(len(noise)), np.ones(1)
    for input_ids, gap, target in steps:
        longer = torch.cat((noise, noise.new_zeros(len(noise), len(input_ids) - tokens, noise.shape[2])), dim=1)
        found = plain_draws(module, input_ids, gap, target, longer, kind, window)
        clean, corrupted, restored = clean * found[0], corrupted * found[1], restored * found[2][:tokens]
    return clean, corrupted, restored


def plain_draws(
    module: Any,
    input_ids: Sequence[int],
    gap: int,
    target: int,
    noise: torch.Tensor,
    kind: str,
    window: int,
    cells: Collection[tuple[int, int]] | None = None,
) -> tuple[float, np.ndarray, np.ndarray]:
    """P(target) clean, corrupted (draws,) and restored (tokens, layers, draws); see `plain_trace`."""
    layers = module.config.num_hidden_layers
    kept: dict[tuple[str, int], torch.Tensor] = {}
    clean, corrupted = _run(module, input_ids, gap, target, noise, [], kept)
    restored = np.full((len(input_ids), layers, len(noise)), np.nan)
    for token in range(len(input_ids)):
        for layer in range(layers):
            if cells is None or (token, layer) in cells:
                places = _places(kind, layer, layers, window)
                restored[token, layer] = _run(module, input_ids, gap, target, noise, places, kept, token)[1]
    return clean, corrupted, restored


def _places(kind: str, layer: int, layers: int, window: int) -> list[tuple[str, str, int]]:
    """What is done where: ("restore" or "sever", sublayer, layer)."""
    if kind == "hidden":
        return [("restore", "hidden", layer)]
    if kind.startswith("severed_"):
        above = range(layer + 1, layers)
        return [("restore", "hidden", layer), *(("sever", kind.removeprefix("severed_"), other) for other in above)]
    first, last = max(0, layer - window // 2), min(layers, layer - (-window // 2))
    return [("restore", kind, other) for other in range(first, last)]


def _run(
    module: Any,
    input_ids: Sequence[int],
    gap: int,
    target: int,
    noise: torch.Tensor,
    places: Sequence[tuple[str, str, int]],
    kept: dict[tuple[str, int], torch.Tensor],
    token: int = -1,
) -> tuple[float, np.ndarray]:
    """P(target) of the clean row and of the corrupted ones; without places, what sublayers add is kept."""
    family = module.config.model_type
    with ExitStack() as hooks, torch.no_grad():

        def on(part: Any, hook: Callable[..., Any]) -> None:
            hooks.callback(part.register_forward_hook(hook).remove)

        on(WORDS[family](module), lambda _, __, output: torch.cat((output[:1], output[1:] + noise)))
        for layer, block in enumerate(BLOCKS[family](module)):
            for sublayer, find in (("hidden", lambda block: block), *ADDS[family].items()):
                on(find(block), _hook(sublayer, layer, places, kept, token))
        logits = module(torch.tensor([list(input_ids)] * (1 + len(noise)))).logits[:, gap]
    found = torch.softmax(logits, dim=-1)[:, target].double()
    return float(found[0]), found[1:].numpy()


def _hook(
    sublayer: str,
    layer: int,
    places: Sequence[tuple[str, str, int]],
    kept: dict[tuple[str, int], torch.Tensor],
    token: int,
) -> Callable[..., Any]:
    def change(_: Any, __: Any, output: Any) -> Any:
        states = output[0] if isinstance(output, tuple) else output
        if not places:
            kept[sublayer, layer] = states.clone()
            return output
        changed = states.clone()
        for action, what, where in places:
            if (what, where) == (sublayer, layer):
                changed[1:, token] = states[0, token] if action == "restore" else kept[what, where][1:, token]
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    return change
