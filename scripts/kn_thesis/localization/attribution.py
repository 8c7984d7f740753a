"""Integrated gradients over MLP neurons: attribute the probability of a target to every neuron (Dai et al. 2022).

    Attr(l, i) = w̄_i ∫₀¹ ∂P(target | α·w̄ at layer l)/∂w_i dα        (eq. 2 there)

w̄ are the neurons of layer l at the mask position in an unpatched run; all other activations follow from the model. A
quadrature rule approximates the integral by a sum over nodes α.

All layers, nodes and prompts of a batch are computed together. The unpatched run is made once (`models.forward`), and
every node restarts from it at the layer whose neurons it scales (`models.restart`), so that nothing below is computed
again. `memory_budget` decides how much is in memory at once.

Definitions: docs/method.md §3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from kn_thesis.corpora.blanks import GAP, CannotExpress
from kn_thesis.errors import UserError
from kn_thesis.inputs import checked_list, checked_texts, checked_whole
from kn_thesis.localization.memory_budget import Layout, head_rows, plan_layout, tokens_held
from kn_thesis.localization.tables import Attribution
from kn_thesis.models.adapter import Adapter, adapter_for, precise
from kn_thesis.models.cloze import Encoded
from kn_thesis.models.cloze import steps as teacher_forced
from kn_thesis.models.forward import clean_run
from kn_thesis.models.memory import BLOCK, MemoryBudget, run_batches, with_progress
from kn_thesis.models.restart import RestartWithGradients, restart_rows
from kn_thesis.models.self_check import not_finite

if TYPE_CHECKING:
    from kn_thesis.models.load import Model


QUADRATURES = ("gauss-legendre", "riemann")


def quadrature_rule(name: str, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights that approximate ∫₀¹ f(α) dα by Σ_k weights[k]·f(nodes[k]).

    `gauss-legendre` is exact for polynomials of degree 2·nodes − 1. `riemann` repeats the rule of the published numbers
    (Dai et al. 2022, eq. 3, as coded by Niu et al. 2024): equally spaced points that include both ends, each of weight
    1/nodes. With a finite number of nodes that rule is biased; it is kept for comparison.

    Args:
        name: One of `QUADRATURES`.
        nodes: Number of nodes, at least 1; at least 2 for `riemann`.

    Returns:
        Nodes, ascending, and weights: float64 (nodes,) each.

    Raises:
        ValueError: The name is unknown, or there are too few nodes.
    """
    if name == "gauss-legendre":
        if nodes < 1:
            raise ValueError(f"gauss-legendre needs at least 1 node, got {nodes}")
        points, weights = np.polynomial.legendre.leggauss(nodes)
        return (points + 1) / 2, weights / 2
    if name == "riemann":
        if nodes < 2:
            raise ValueError(f"riemann needs at least 2 nodes, got {nodes}")
        return np.linspace(0.0, 1.0, nodes), np.full(nodes, 1.0 / nodes)
    raise ValueError(f"unknown quadrature {name!r}: choose one of {', '.join(QUADRATURES)}")


@dataclass(frozen=True)
class Step:
    """One target token of one prompt.

    Attributes:
        prompt: The prompt's number.
        input_ids: What the model sees.
        gap: The mask position, which predicts the token.
        target: The token.
        weight: 1 / number of tokens of the prompt's target.
    """

    prompt: int
    input_ids: tuple[int, ...]
    gap: int
    target: int
    weight: float


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
    """Score every MLP neuron for each prompt's target.

    Targets of several tokens are teacher-forced; the result is the mean over their tokens. Up to rounding, a prompt's
    result does not depend on the other prompts.

    Args:
        model: The model, from `load_model`.
        prompts: Texts whose blank is "___" or the mask token; for a causal model also texts to be continued. Or prompts
            that are encoded already.
        targets: The word that fills each blank. None if the prompts are encoded.
        neuron: "activation" or "preactivation", see `adapter_for`.
        quadrature: "gauss-legendre" or "riemann", see `quadrature_rule`.
        nodes: Number of nodes of the quadrature.
        batch_tokens: Maximum number of tokens × layers in memory at once (`budget_bytes` converts it to bytes). At
            least one prompt and one node are, even if they exceed it.
        progress: Whether to show a progress bar on stderr.

    Returns:
        Scores, residuals, probabilities and baselines, in the order of `prompts`.

    Raises:
        UserError: An argument or prompt cannot be used, one prompt does not fit in memory, or a result is not finite.
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
    batches = with_progress(
        list(_batches(adapter, steps, nodes, batch_tokens)), len(steps), "attribution", "target", progress
    )

    def layout_of(batch: Sequence[Step], budget: int) -> Layout:
        """Choose the nodes and graphs that are in memory at once."""
        return plan_layout(
            adapter.objective, adapter.layers, len(batch[0].input_ids), nodes, max(1, budget // len(batch))
        )

    def size(batch: Sequence[Step], budget: int) -> int:
        layout = layout_of(batch, budget)
        held = tokens_held(adapter.objective, adapter.layers, len(batch[0].input_ids), layout.nodes, layout.keep)
        return len(batch) * held

    def integrate(batch: Sequence[Step], budget: int) -> list[np.ndarray]:
        ids = torch.tensor([step.input_ids for step in batch], device=model.device)
        gaps = torch.tensor([step.gap for step in batch], device=model.device)
        answers = torch.tensor([step.target for step in batch], device=model.device)
        layout = layout_of(batch, budget)
        chunks = [(points[k : k + layout.nodes], weights[k : k + layout.nodes]) for k in range(0, nodes, layout.nodes)]
        return [x.double().cpu().numpy() for x in _integrate(adapter, ids, gaps, answers, chunks, layout.keep)]

    for batch, results in run_batches(batches, integrate, MemoryBudget(model, "attribution", batch_tokens), size):
        for step, score, clean, silent in zip(batch, *results, strict=True):
            if not all(np.isfinite(x).all() for x in (score, clean, silent)):
                raise not_finite(model, step.input_ids, _failed_part(score))
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
    """Compute scores (prompts, layers, width), P(w̄) (prompts,) and P(0) (prompts, layers) of prompts of one length.

    Each of `chunks` holds nodes and weights; `keep` says whether the graphs of all layers are in memory at once.
    """
    run, last = clean_run(adapter, ids, gaps)
    clean, _ = _answer(adapter, last, answers)
    rows = restart_rows(adapter, run, gaps, [torch.zeros_like(layer.neurons)[:, None] for layer in run])
    silent, _ = _answer(adapter, rows.flatten(0, 1), answers.repeat_interleave(rows.shape[1]))
    total = torch.zeros(len(ids), adapter.layers, adapter.width, device=ids.device, dtype=precise(last))
    for points, weights in chunks:
        points, weights = (torch.as_tensor(x, device=ids.device, dtype=total.dtype) for x in (points, weights))
        activations = [(points[:, None] * layer.neurons[:, None]).to(layer.neurons.dtype) for layer in run]
        restart = RestartWithGradients(adapter, run, gaps, activations, keep)
        row_answers = answers.repeat_interleave(restart.rows.shape[1])
        probability, slope = _answer(adapter, restart.rows.flatten(0, 1), row_answers, slopes=True)
        # dP = P · d log P. Rows are independent, so P can be multiplied in last: no underflow in float16.
        factors = probability.view(len(ids), adapter.layers, len(points)) * weights
        for layer, gradient in enumerate(restart.gradients(slope.view(restart.rows.shape))):
            total[:, layer] += torch.einsum("pk,pkw->pw", factors[:, layer], gradient.to(total.dtype))
    neurons = torch.stack([layer.neurons for layer in run], dim=1).to(total.dtype)
    return total * neurons, clean, silent.view(len(ids), adapter.layers)


def _failed_part(score: np.ndarray) -> str:
    """Name what is not finite; gradients come down from the last layer, so it begins in the highest layer affected."""
    layers = np.flatnonzero(~np.isfinite(score).all(axis=1))
    return f"attribution (scores of layer {layers[-1]})" if len(layers) else "attribution"


def _answer(adapter: Adapter, hidden: Tensor, answers: Tensor, slopes: bool = False) -> tuple[Tensor, Tensor | None]:
    """Compute each row's P(answer) (rows,) and, with `slopes`, d log P / d hidden, from hidden (rows, hidden)."""
    probabilities, gradients = [], []
    rows = head_rows(adapter.vocabulary)
    for part, part_answers in zip(hidden.split(rows), answers.split(rows), strict=True):
        with torch.set_grad_enabled(slopes):
            part = part.detach().requires_grad_(slopes)
            logits = adapter.logits(part)
            logits = logits.to(precise(logits))
            log = logits.gather(1, part_answers[:, None])[:, 0] - logits.logsumexp(1)
        probabilities.append(log.detach().exp())
        if slopes:
            gradients += torch.autograd.grad(log.sum(), part)
    return torch.cat(probabilities), torch.cat(gradients) if slopes else None


def _encoded(model: Model, prompts: Sequence[str | Encoded], targets: Sequence[str] | None) -> list[Encoded]:
    """Encode and check all prompts."""
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
                    f"prompt, whose blank is written {GAP}"
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
        raise UserError(f"prompt {number}: a causal model's `gap` is the last token, {size - 1}, not {prompt.gap}")
    if adapter.objective == "masked" and not 0 <= prompt.gap <= size - target:
        raise UserError(f"prompt {number}: {target} masks from {prompt.gap} on lie outside its {size} tokens")


def _batches(adapter: Adapter, steps: Sequence[Step], nodes: int, batch_tokens: int) -> Iterator[list[Step]]:
    """Yield steps of one length and block of prompts together, so that there is no padding, as many as fit."""
    by_length: dict[tuple[int, int], list[Step]] = {}
    for step in steps:
        by_length.setdefault((step.prompt // BLOCK, len(step.input_ids)), []).append(step)
    for (_, length), group in sorted(by_length.items()):
        size = plan_layout(adapter.objective, adapter.layers, length, nodes, batch_tokens).prompts
        for start in range(0, len(group), size):
            yield group[start : start + size]
