"""Integrated gradients over MLP neurons, all layers, nodes and prompts of a batch at once (DESIGN.md §4).

Attr(l, i) = w̄_i ∫₀¹ ∂P(target | α·w̄ at layer l)/∂w_i dα, at the gap's position, after Dai et al. (2022, eq. 2).
At layer l only the gap's activation differs from the untouched run. That run is made once; `restarted` takes up from
the replaced activations, so that nothing below them is computed again. How much of it all is in memory at once is
decided in `room`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from kn_thesis.corpora.gaps import GAP, CannotExpress, Encoded
from kn_thesis.corpora.gaps import steps as teacher_forced
from kn_thesis.errors import UserError
from kn_thesis.given_values import checked_list, checked_texts, checked_whole
from kn_thesis.localization.clean import clean_run
from kn_thesis.localization.quadrature import quadrature_rule
from kn_thesis.localization.restarted import Ascent, restarted
from kn_thesis.localization.results import Attribution
from kn_thesis.localization.room import Layout, head_rows, layout, tokens_held
from kn_thesis.models.adapter import Adapter, precise
from kn_thesis.models.finite import not_finite
from kn_thesis.models.memory import Room, worked
from kn_thesis.models.preactivation import adapter_for
from kn_thesis.progress import shown
from kn_thesis.shards import BLOCK

if TYPE_CHECKING:
    from kn_thesis.models.load import Model


@dataclass(frozen=True)
class Step:
    """One target token of one prompt: the ids the model sees, where it answers, and the answer."""

    prompt: int
    input_ids: tuple[int, ...]
    gap: int
    target: int
    weight: float  # 1 / tokens of the prompt's target


def attribute(
    model: Model,
    prompts: Sequence[str | Encoded],
    targets: Sequence[str] | None = None,
    *,
    neuron: str = "activation",
    quadrature: str = "gauss-legendre",
    nodes: int = 64,
    batch_tokens: int = 8192,
    progress: bool = False,
) -> Attribution:
    """Scores of all MLP neurons for each prompt's target.

    prompts: texts with the gap as "___" or the mask token (for a causal model also a text that ends at the gap; see
        `GapTokenizer.around_gap`), each with its word in `targets`; or prompts encoded already, and no `targets`.
    neuron: "activation" or "preactivation", see `adapter_for`.
    quadrature, nodes: see `quadrature_rule`. batch_tokens: most tokens × layers in memory at once (see `room`, which
        states the bytes; one prompt and one node at least). progress: show a bar on stderr.

    Targets of several tokens are teacher-forced; the result is the mean over their tokens. The order of `prompts` is
    kept; a prompt's result does not depend on the others, up to rounding. Raises UserError for what cannot be used,
    does not fit in memory, or gives numbers that are not finite.
    """
    encoded = _encoded(model, prompts, targets)
    nodes = checked_whole("nodes", nodes)
    batch_tokens = checked_whole("batch_tokens", batch_tokens, 1)
    try:
        points, weights = quadrature_rule(quadrature, nodes)
    except ValueError as error:
        raise UserError(str(error)) from None
    adapter = adapter_for(model.adapter, neuron)
    steps = [
        Step(number, *step, 1 / len(prompt.target_ids))
        for number, prompt in enumerate(encoded)
        for step in teacher_forced(prompt, adapter.objective)
    ]
    scores = np.zeros((len(encoded), adapter.layers, adapter.width), dtype=np.float32)
    residuals, baseline = np.zeros((2, len(encoded), adapter.layers))
    probability = np.zeros(len(encoded))
    batches = shown(list(_batches(adapter, steps, nodes, batch_tokens)), len(steps), "attribution", "target", progress)

    def together(batch: Sequence[Step], most: int) -> Layout:
        """How a batch is worked on when so much fits: the nodes, and the graphs."""
        return layout(adapter.objective, adapter.layers, len(batch[0].input_ids), nodes, max(1, most // len(batch)))

    def size(batch: Sequence[Step], most: int) -> int:
        chosen = together(batch, most)
        held = tokens_held(adapter.objective, adapter.layers, len(batch[0].input_ids), chosen.nodes, chosen.keep)
        return len(batch) * held

    def integrate(batch: Sequence[Step], most: int) -> list[np.ndarray]:
        ids = torch.tensor([step.input_ids for step in batch], device=model.device)
        gaps = torch.tensor([step.gap for step in batch], device=model.device)
        answers = torch.tensor([step.target for step in batch], device=model.device)
        chosen = together(batch, most)
        chunks = [(points[k : k + chosen.nodes], weights[k : k + chosen.nodes]) for k in range(0, nodes, chosen.nodes)]
        return [x.double().cpu().numpy() for x in _integrate(adapter, ids, gaps, answers, chunks, chosen.keep)]

    for batch, results in worked(batches, integrate, Room(model, "attribution", batch_tokens), size):
        for step, score, clean, silent in zip(batch, *results, strict=True):
            if not all(np.isfinite(x).all() for x in (score, clean, silent)):
                raise not_finite(model, step.input_ids, _wrong(score))
            scores[step.prompt] += step.weight * score
            residuals[step.prompt] += step.weight * (score.sum(-1) - (clean - silent))
            probability[step.prompt] += step.weight * clean
            baseline[step.prompt] += step.weight * silent
    return Attribution(scores, *(x.astype(np.float32) for x in (residuals, probability, baseline)))


def _integrate(
    adapter: Adapter,
    ids: Tensor,
    gaps: Tensor,
    answers: Tensor,
    chunks: Sequence[tuple[np.ndarray, np.ndarray]],
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores (prompts, layers, width), P(w̄) (prompts,) and P(0) (prompts, layers) of prompts of one length."""
    run, last = clean_run(adapter, ids, gaps)
    clean, _ = _answer(adapter, last, answers)
    rows = restarted(adapter, run, gaps, [torch.zeros_like(layer.neurons)[:, None] for layer in run])
    silent, _ = _answer(adapter, rows.flatten(0, 1), answers.repeat_interleave(rows.shape[1]))
    total = torch.zeros(len(ids), adapter.layers, adapter.width, device=ids.device, dtype=precise(last))
    for points, weights in chunks:
        points, weights = (torch.as_tensor(x, device=ids.device, dtype=total.dtype) for x in (points, weights))
        activations = [(points[:, None] * layer.neurons[:, None]).to(layer.neurons.dtype) for layer in run]
        ascent = Ascent(adapter, run, gaps, activations, keep)
        wanted = answers.repeat_interleave(ascent.rows.shape[1])
        probability, slope = _answer(adapter, ascent.rows.flatten(0, 1), wanted, slopes=True)
        # Rows do not mix above their start, so the factor P of dP = P · d log P can wait: no underflow in float16.
        factors = probability.view(len(ids), adapter.layers, len(points)) * weights
        for layer, gradient in enumerate(ascent.gradients(slope.view(ascent.rows.shape))):
            total[:, layer] += torch.einsum("pk,pkw->pw", factors[:, layer], gradient.to(total.dtype))
    neurons = torch.stack([layer.neurons for layer in run], dim=1).to(total.dtype)
    return total * neurons, clean, silent.view(len(ids), adapter.layers)


def _wrong(score: np.ndarray) -> str:
    """What is not finite, in words; slopes go from the last layer down, so the highest layer is where it begins."""
    layers = np.flatnonzero(~np.isfinite(score).all(axis=1))
    return f"attribution (scores of layer {layers[-1]})" if len(layers) else "attribution"


def _answer(adapter: Adapter, hidden: Tensor, answers: Tensor, slopes: bool = False) -> tuple[Tensor, Tensor | None]:
    """Probability (rows,) of each row's answer and, if asked for, d log P / d hidden, from hidden (rows, hidden)."""
    probabilities, gradients = [], []
    rows = head_rows(adapter.vocabulary)
    for part, wanted in zip(hidden.split(rows), answers.split(rows), strict=True):
        with torch.set_grad_enabled(slopes):
            part = part.detach().requires_grad_(slopes)
            logits = adapter.logits(part)
            logits = logits.to(precise(logits))
            log = logits.gather(1, wanted[:, None])[:, 0] - logits.logsumexp(1)
        probabilities.append(log.detach().exp())
        if slopes:
            gradients += torch.autograd.grad(log.sum(), part)
    return torch.cat(probabilities), torch.cat(gradients) if slopes else None


def _encoded(model: Model, prompts: Sequence[str | Encoded], targets: Sequence[str] | None) -> list[Encoded]:
    """All prompts encoded and checked."""
    prompts = checked_list("prompts", prompts)
    targets = None if targets is None else checked_texts("targets", targets)
    texts = [] if any(isinstance(prompt, Encoded) for prompt in prompts) else checked_texts("prompts", prompts)
    if not texts and not all(isinstance(prompt, Encoded) for prompt in prompts):
        raise UserError("prompts are either all texts or all encoded")
    if texts and (targets is None or len(targets) != len(texts)):
        raise UserError(f"{len(texts)} prompts need as many targets, got {0 if targets is None else len(targets)}")
    if prompts and not texts and targets is not None:
        raise UserError("encoded prompts hold their targets: leave `targets` out")
    encoded = []
    for number, prompt in enumerate(prompts):
        if isinstance(prompt, str):
            try:
                prompt = model.tokenizer.encode_prompt(prompt, targets[number])
            except CannotExpress as error:
                text = prompts[number]
                raise UserError(
                    f"prompt {number} ({text!r}, target {targets[number]!r}): {error.reason}; change the word, or the "
                    f"prompt, whose gap is written {GAP}"
                ) from None
        _check(model.adapter, number, prompt)
        encoded.append(prompt)
    return encoded


def _check(adapter: Adapter, number: int, prompt: Encoded) -> None:
    """Raise UserError for an encoded prompt that the model cannot take."""
    size, target = len(prompt.input_ids), len(prompt.target_ids)
    longest = size if adapter.objective == "masked" else size + target - 1
    if not size or not target:
        raise UserError(f"prompt {number} has no token, or its target has none")
    if longest > adapter.longest:
        raise UserError(f"prompt {number} has {longest} tokens; the model takes {adapter.longest}")
    if not all(0 <= token < adapter.vocabulary for token in (*prompt.input_ids, *prompt.target_ids)):
        raise UserError(f"prompt {number} has token ids outside the model's vocabulary of {adapter.vocabulary}")
    if adapter.objective == "causal" and prompt.gap != size - 1:
        raise UserError(f"prompt {number}: a causal model's gap is its last token, {size - 1}, not {prompt.gap}")
    if adapter.objective == "masked" and not 0 <= prompt.gap <= size - target:
        raise UserError(f"prompt {number}: a gap of {target} tokens at {prompt.gap} lies outside its {size} tokens")


def _batches(adapter: Adapter, steps: Sequence[Step], nodes: int, batch_tokens: int) -> Iterator[list[Step]]:
    """Steps of one length and block of prompts together (so there is no padding), in their order, as many as fit."""
    alike: dict[tuple[int, int], list[Step]] = {}
    for step in steps:
        alike.setdefault((step.prompt // BLOCK, len(step.input_ids)), []).append(step)
    for (_, length), together in sorted(alike.items()):
        size = layout(adapter.objective, adapter.layers, length, nodes, batch_tokens).prompts
        for start in range(0, len(together), size):
            yield together[start : start + size]
