"""Editing as the papers write it: one request, one prompt and one whole forward of the untouched model at a time.

Slow and obviously right. It shares no code with kn_thesis. A value module is what takes a layer's neurons to what its
MLP adds; its matrix W is (hidden, width) here, whatever the family stores. A prompt is its token ids and the place of
its subject's last token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from kn_thesis.editing.requests import Question
    from kn_thesis.models.cloze import Encoded

Prompt = tuple[Sequence[int], int]

VALUE_MODULE = {
    "bert": lambda module, layer: module.bert.encoder.layer[layer].output.dense,
    "gpt2": lambda module, layer: module.transformer.h[layer].mlp.c_proj,
    "llama": lambda module, layer: module.model.layers[layer].mlp.down_proj,
    "gptj": lambda module, layer: module.transformer.h[layer].mlp.fc_out,
    "mistral": lambda module, layer: module.model.layers[layer].mlp.down_proj,
    "qwen2": lambda module, layer: module.model.layers[layer].mlp.down_proj,
}


class Rome(NamedTuple):
    """v_star (hidden,), u (width,) of length 1 and delta (hidden, width), all float64; number of losses, the last."""

    v_star: Tensor
    u: Tensor
    delta: Tensor
    losses: int
    loss: float


def value_module(module: Any, family: str, layer: int) -> Any:
    return VALUE_MODULE[family](module, layer)


def down_projection_weight(module: Any, family: str, layer: int) -> Tensor:
    """W (hidden, width), a view: writing to it changes the model. GPT-2's Conv1D stores (width, hidden)."""
    weight = value_module(module, family, layer).weight.detach()
    return weight.T if family == "gpt2" else weight


def read(module: Any, value: Any, prompt: Prompt) -> tuple[Tensor, Tensor]:
    """What goes into the value module (width,) and comes out of it (hidden,) at the subject's token."""
    ids, token = prompt
    kept: list[tuple[Tensor, Tensor]] = []

    def keep(_: Any, inputs: Any, output: Tensor) -> None:
        kept.append((inputs[0][0, token].clone(), output[0, token].clone()))

    with _hooked(value, keep), torch.no_grad():
        module(torch.tensor([list(ids)]))
    return kept[0]


def rome(
    module: Any,
    family: str,
    contexts: Sequence[Prompt],
    target: Sequence[int],
    kl_prompt: Prompt,
    second_moment: Tensor | None = None,
    *,
    layer: int,
    steps: int,
    learning_rate: float,
    weight_decay: float,
    clamp: float,
    kl: float,
    kl_at_end: bool = False,
    stop_loss: float = 0.05,
) -> Rome:
    """Meng et al. 2022, section 3.1, equations 2 to 4, and the details of the authors' code; a causal model.

    contexts: the prompt behind each prefix, the bare prompt first. target: the new answer. kl_prompt: "{subject} is a".
    Equation 4 has D_KL(P of the edited model ‖ P of the model) after that text; the authors' code takes it at the
    subject's last token instead, for it reads all prompts where they are edited. kl_at_end: after the text.
    second_moment: C (width, width); without it the change goes along k* itself.
    """
    value = value_module(module, family, layer)
    found = [read(module, value, prompt) for prompt in contexts]
    (k, v0), k_star = found[0], torch.stack([neurons.double() for neurons, _ in found]).mean(dim=0)

    with torch.no_grad():
        before = _log_probabilities(module, kl_prompt[0])[-1 if kl_at_end else kl_prompt[1]]
    delta = torch.zeros_like(v0, requires_grad=True)
    optimizer = torch.optim.Adam([delta], lr=learning_rate)
    losses = 0
    while True:
        nll = []
        for ids, token in contexts:
            with _added(value, token, delta):
                nll.append(_nll(module, ids, target))
        with _added(value, kl_prompt[1], delta):
            now = _log_probabilities(module, kl_prompt[0])[-1 if kl_at_end else kl_prompt[1]]
        loss = torch.stack(nll).mean() + kl * torch.nn.functional.kl_div(before, now, log_target=True, reduction="sum")
        if delta.any():  # a length has no gradient at zero
            loss = loss + weight_decay * delta.norm() / v0.norm() ** 2
        losses += 1
        if loss < stop_loss or losses == steps:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            if delta.norm() > clamp * v0.norm():
                delta.mul_(clamp * v0.norm() / delta.norm())

    k, v0, moved = k.double(), v0.double(), delta.detach().double()
    u = k_star if second_moment is None else torch.linalg.solve(second_moment.double(), k_star)
    u = u / u.norm()
    return Rome(v0 + moved, u, torch.outer(moved, u) / (k @ u), losses, loss.item())


def closed_form(weight: Tensor, k_star: Tensor, k: Tensor, v_star: Tensor, second_moment: Tensor) -> Tensor:
    """The change of W (hidden, width) that is smallest for C and brings it to v*, from its KKT system in float64.

    Meng et al. 2022, equation 2: minimise ‖ŴK − V‖² where C = KKᵀ and W is the best without any constraint, so that
    WC = VKᵀ. For each row ŵ: Cŵ + λk* = Cw (stationary) and k · ŵ = v* (constraint); k = k* in the paper. The authors'
    code has the mean over contexts for k* and the bare prompt's key for k. v_star (hidden,) is without the bias.
    """
    weight, k_star, k, v_star, c = (x.double() for x in (weight, k_star, k, v_star, second_moment))
    width = len(k)
    system, right = c.new_zeros(width + 1, width + 1), c.new_zeros(width + 1, len(v_star))
    system[:width, :width], system[:width, width], system[width, :width] = c, k_star, k
    right[:width], right[width] = c @ weight.T, v_star
    return torch.linalg.solve(system, right)[:width].T - weight


def knowledge_neuron(
    module: Any,
    family: str,
    neurons: Iterable[tuple[int, int]],
    old: Sequence[int],
    new: Sequence[int],
    lambda_old: float,
    lambda_new: float,
    of_slot: bool = True,
) -> dict[int, Tensor]:
    """Dai et al. 2022, section 4.3: −λ1 e(old) + λ2 e(new) onto the value slot of each neuron (layer, i); by layer.

    In the authors' code e(word) is scaled to the length of the slot (`of_slot`). e is a row of the matrix that scores
    are read with, which in their models is that of the words' embeddings.
    """
    words = module.get_output_embeddings().weight.detach()
    e_new, e_old = words[list(new)].mean(dim=0), words[list(old)].mean(dim=0)
    updates: dict[int, Tensor] = {}
    for layer, i in neurons:
        if layer not in updates:
            updates[layer] = torch.zeros_like(down_projection_weight(module, family, layer))
        slot = down_projection_weight(module, family, layer)[:, i].detach()
        new_scale, old_scale = (slot.norm() / e_new.norm(), slot.norm() / e_old.norm()) if of_slot else (1, 1)
        updates[layer][:, i] = lambda_new * new_scale * e_new - lambda_old * old_scale * e_old
    return updates


def fine_tuning(
    module: Any,
    family: str,
    prompt: Sequence[int],
    target: Sequence[int],
    *,
    layer: int,
    steps: int,
    learning_rate: float,
    norm: float,
    stop_loss: float,
) -> Tensor:
    """Zhu et al. 2020 on one layer's W ("FT+L" in Meng et al. 2022): the change, within ±norm everywhere.

    As for v*: `steps` losses with an update after each but the last; a loss below stop_loss ends it.
    """
    value = value_module(module, family, layer)
    before, wanted = value.weight.detach().clone(), value.weight.requires_grad
    value.weight.requires_grad_(True)
    optimizer = torch.optim.Adam([value.weight], lr=learning_rate)
    try:
        for step in range(steps):
            loss = _nll(module, prompt, target)
            if loss < stop_loss or step + 1 == steps:
                break
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                change = (value.weight - before).clamp(-norm, norm)
                value.weight.copy_(before + change)
        change = value.weight.detach() - before
    finally:
        value.weight.requires_grad_(wanted).grad = None
        with torch.no_grad():
            value.weight.copy_(before)
    return change.T if family == "gpt2" else change


@contextmanager
def edited(module: Any, family: str, updates: Mapping[int, Tensor]) -> Iterator[None]:
    """The model with W + ΔW in each layer of `updates`; afterwards as it was."""
    before = {layer: down_projection_weight(module, family, layer).clone() for layer in updates}
    try:
        for layer, delta in updates.items():
            down_projection_weight(module, family, layer).copy_(before[layer].double() + delta.double())
        yield
    finally:
        for layer, weight in before.items():
            down_projection_weight(module, family, layer).copy_(weight)


def ask(module: Any, objective: str, encoded: Encoded) -> tuple[float, bool, float, int]:
    """P(target), whether each of its tokens is the first choice, the share that are, the first choice for the first.

    One whole forward per token of the target, those before it filled in.
    """
    probability, right, choices = 1.0, 0, []
    for j, token in enumerate(encoded.target_ids):
        ids, filled = list(encoded.input_ids), list(encoded.target_ids[:j])
        if objective == "causal":
            ids = ids + filled
        else:
            ids[encoded.gap : encoded.gap + j] = filled
        with torch.no_grad():
            found = _log_probabilities(module, ids)[encoded.gap + j].double().exp()
        choices.append(int(found.argmax()))
        right += choices[j] == token
        probability *= float(found[token])
    return probability, right == len(choices), right / len(choices), choices[0]


def evaluate(
    module: Any, family: str, objective: str, updates: Mapping[int, Tensor], questions: Iterable[Question]
) -> list[dict[str, Any]]:
    """Each question before and after; a row has the names of results.QUESTIONS, says_* as a token's id.

    Of a question without rival_prompt, rival_* is nan and rival_first_* False.
    """
    rows = []
    for question in questions:
        row: dict[str, Any] = {"criterion": question.criterion, "question": question.text}
        row |= {"expected": question.expected, "rival": question.rival, "near": question.near}
        for when, changes in (("before", {}), ("after", updates)):
            with edited(module, family, changes):
                p, first, tokens, says = ask(module, objective, question.expected_prompt)
                rival, rival_first = float("nan"), False
                if question.rival_prompt is not None:
                    rival, rival_first = ask(module, objective, question.rival_prompt)[:2]
            row |= {f"p_{when}": p, f"rival_{when}": rival, f"tokens_{when}": tokens, f"first_{when}": first}
            row |= {f"rival_first_{when}": rival_first, f"says_{when}": says}
        rows.append(row)
    return rows


def _nll(module: Any, ids: Sequence[int], target: Sequence[int]) -> Tensor:
    """Mean over the target's tokens of −log P, behind the prompt and the target's tokens before."""
    found = _log_probabilities(module, [*ids, *target[:-1]])
    return -torch.stack([found[len(ids) - 1 + j, word] for j, word in enumerate(target)]).mean()


def _log_probabilities(module: Any, ids: Sequence[int]) -> Tensor:
    """At each token (tokens, vocabulary); float32 at least."""
    logits = module(torch.tensor([list(ids)])).logits[0]
    return torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)


def _added(value: Any, token: int, delta: Tensor) -> Any:
    """While it lasts, δ is added to what the value module gives at one token."""

    def add(_: Any, __: Any, output: Tensor) -> Tensor:
        changed = output.clone()
        changed[:, token] += delta
        return changed

    return _hooked(value, add)


@contextmanager
def _hooked(part: Any, hook: Callable[..., Any]) -> Iterator[None]:
    handle = part.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
