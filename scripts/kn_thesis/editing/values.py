"""v*: what the edited layer's MLP must add at the subject's last token for the new answer (Meng et al. 2022, §3.1).

Many requests look for theirs together. A change δ at one token of one layer alters neither what lies below nor the
tokens before it, so each text is run once as it is; then, step by step, only its tokens from the subject's last one on
pass the layers above the edited one, beside the keys and values of those before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kn_thesis.editing.descent import descend
from kn_thesis.editing.passes import filled_up, leaving
from kn_thesis.models.adapter import Adapter, attend, precise
from kn_thesis.models.memory import Room, worked

if TYPE_CHECKING:
    from kn_thesis.models.load import Model


@dataclass(frozen=True)
class Row:
    """A text that the edited subject stands in.

    ids end before the last wanted token: the last positions predict the tokens `wanted`, one each. subject: its last
    token in ids.
    """

    ids: tuple[int, ...]
    subject: int
    wanted: tuple[int, ...] = ()


@dataclass(frozen=True)
class Problem:
    """One request's texts: contexts, the bare prompt first, and one ("… is a") whose continuation shall stay."""

    contexts: tuple[Row, ...]
    kept: Row


@dataclass(frozen=True)
class Optimiser:
    """How v* is looked for.

    steps: losses that are computed, with an update after each but the last. learning_rate: Adam's. weight_decay: of
    ‖δ‖ / ‖v₀‖². clamp: ‖δ‖ stays within clamp · ‖v₀‖. kl: factor of KL(before ‖ now) on the kept text. stop: loss
    (nats) below which no further update is made.
    """

    steps: int = 20
    learning_rate: float = 0.5
    weight_decay: float = 0.5
    clamp: float = 4.0
    kl: float = 0.0625
    stop: float = 0.05


@dataclass(frozen=True)
class Value:
    """What was found for one request.

    key (width,): the neurons at the subject's last token of the bare prompt; mean_key: their mean over contexts.
    before, after (hidden,): what the MLP adds there, v₀ and v*. steps: losses computed; loss: the last, nats.
    """

    key: Tensor
    mean_key: Tensor
    before: Tensor
    after: Tensor
    steps: int
    loss: float


@dataclass(frozen=True)
class _Texts:
    """Padded rows of a batch of problems, run as they are up to the edited layer's MLP and, clean, above it.

    owner (rows,): the problem of each row. state, mlp (rows, moving, hidden): of the edited layer, for the tokens from
    the subject's last one on. earlier: keys and values of all tokens before it, per layer above. mask (rows, 1, moving,
    earlier + moving). places (rows, moving): positions. asked (answers,): row, moved token, wanted token, weight.
    """

    owner: Tensor
    state: Tensor
    mlp: Tensor
    earlier: list[tuple[Tensor, Tensor]]
    mask: Tensor
    places: Tensor
    asked: tuple[Tensor, Tensor, Tensor, Tensor]
    kept_row: Tensor
    kept_token: Tensor

    def of(self, problems: Tensor) -> _Texts:
        """The rows of some of the problems alone; `problems` are their numbers, in rising order."""
        number = torch.full((int(self.owner.max()) + 1,), -1, device=self.owner.device)
        number[problems] = torch.arange(len(problems), device=problems.device)
        rows = torch.nonzero(number[self.owner] >= 0)[:, 0]
        place = torch.full((len(self.owner),), -1, device=rows.device)
        place[rows] = torch.arange(len(rows), device=rows.device)
        row, token, wanted, weight = self.asked
        still = place[row] >= 0
        return _Texts(
            number[self.owner[rows]],
            self.state[rows],
            self.mlp[rows],
            [(keys[rows], values[rows]) for keys, values in self.earlier],
            self.mask[rows],
            self.places[rows],
            (place[row[still]], token[still], wanted[still], weight[still]),
            place[self.kept_row[problems]],
            self.kept_token[problems],
        )


def find_values(
    model: Model, layer: int, problems: Sequence[Problem], optimiser: Optimiser, batch_tokens: int
) -> list[Value]:
    """v* of every problem, in order.

    batch_tokens: most rows × tokens of texts in memory at once (one problem at least). A problem's result does not
    depend on the others, up to rounding. A loss that is not finite ends its search. Raises UserError for a problem that
    does not fit in memory.
    """
    found = worked(
        _batches(problems, batch_tokens),
        lambda part, _: _find_values(model.adapter, layer, part, optimiser, model.device),
        Room(model, "search for edits", batch_tokens),
        size=lambda part, _: _size(part),
    )
    return [value for _, values in found for value in values]


def _size(problems: Sequence[Problem]) -> int:
    """Rows × tokens of texts."""
    texts = [text for problem in problems for text in (*problem.contexts, problem.kept)]
    return len(texts) * max(len(text.ids) for text in texts)


def _batches(problems: Sequence[Problem], batch_tokens: int) -> Iterator[list[Problem]]:
    part: list[Problem] = []
    rows = longest = 0
    for problem in problems:
        texts = (*problem.contexts, problem.kept)
        length = max(longest, *(len(text.ids) for text in texts))
        if part and (rows + len(texts)) * length > batch_tokens:
            yield part
            part, rows, length = [], 0, max(len(text.ids) for text in texts)
        part.append(problem)
        rows, longest = rows + len(texts), length
    if part:
        yield part


def _find_values(
    adapter: Adapter, layer: int, problems: Sequence[Problem], optimiser: Optimiser, device: object
) -> list[Value]:
    texts, neurons = _clean(adapter, layer, problems, device)
    dtype = precise(texts.mlp)
    counted = torch.tensor([len(problem.contexts) + 1 for problem in problems])
    first = (counted.cumsum(0) - counted).tolist()  # row of each problem's bare prompt
    before = texts.mlp[first, 0].to(dtype)
    norms = before.norm(dim=-1)
    with torch.no_grad():
        kept_before = _kept(adapter, layer, texts, torch.zeros_like(before))
    changes = [torch.zeros_like(value).requires_grad_() for value in before]
    everything, travelling = texts, list(range(len(problems)))

    def losses_of(active: list[int], delta: Tensor) -> Tensor:
        nonlocal texts, travelling
        numbers = torch.tensor(active, device=everything.owner.device)
        if active != travelling:
            texts, travelling = everything.of(numbers), active
        loss = _losses(adapter, layer, texts, delta, kept_before[numbers], optimiser.kl)
        # ‖δ‖ has no slope at 0: taken as 0 there, as torch's norm does.
        return loss + optimiser.weight_decay * delta.norm(dim=-1) / norms[numbers] ** 2

    def hold(number: int, change: Tensor) -> None:
        longest, length = optimiser.clamp * norms[number], change.norm()
        if length > longest:
            change.mul_(longest / length)

    losses, counts = descend(
        changes,
        losses_of,
        hold,
        steps=optimiser.steps,
        learning_rate=optimiser.learning_rate,
        stop=optimiser.stop,
    )
    return [
        Value(
            neurons[first[number]],
            neurons[first[number] : first[number] + len(problem.contexts)].mean(0),
            before[number],
            before[number] + changes[number].detach(),
            counts[number],
            losses[number],
        )
        for number, problem in enumerate(problems)
    ]


@torch.no_grad()
def _clean(adapter: Adapter, layer: int, problems: Sequence[Problem], device: object) -> tuple[_Texts, Tensor]:
    """The texts of all problems, each problem's in order with the kept one last, and the neurons at their subjects."""
    rows = [row for problem in problems for row in (*problem.contexts, problem.kept)]
    owner = [n for n, problem in enumerate(problems) for _ in range(len(problem.contexts) + 1)]
    subject = torch.tensor([row.subject for row in rows], device=device)
    length = max(len(row.ids) for row in rows)
    earlier = int(subject.max())
    moving = max(len(row.ids) - row.subject for row in rows)
    ids = filled_up([row.ids for row in rows], device)  # behind its end a causal model does not look
    positions = torch.arange(length, device=device)
    moved = (subject[:, None] + torch.arange(moving, device=device)).clamp(max=length - 1)
    each = torch.arange(len(rows), device=device)
    hidden, kept = adapter.embed(ids), []
    for number in range(adapter.layers):
        queries, keys, values = adapter.project(number, hidden, positions)
        context = attend(queries, keys, values, adapter.scaling(number), causal=True)
        state = adapter.after_attention(number, hidden, adapter.attention_output(number, context))
        neurons = adapter.neurons(number, state)
        mlp = adapter.mlp_output(number, neurons)
        if number == layer:
            at_subject = neurons[each, subject].to(precise(neurons))
            edited = state[each[:, None], moved], mlp[each[:, None], moved]
        elif number > layer:
            kept.append((keys[:, :earlier], values[:, :earlier]))
        hidden = adapter.after_mlp(number, state, mlp)
    before = torch.arange(earlier, device=device) < subject[:, None]
    causal = torch.ones(moving, moving, dtype=torch.bool, device=device).tril()
    mask = torch.cat((before[:, None].expand(-1, moving, -1), causal.expand(len(rows), -1, -1)), dim=-1)[:, None]
    asked = []  # a text ends before its last wanted token, which nothing has to follow
    for n, row in enumerate(rows):
        start, share = len(row.ids) - len(row.wanted) - row.subject, 1 / len(problems[owner[n]].contexts)
        asked += [(n, start + place, token, share / len(row.wanted)) for place, token in enumerate(row.wanted)]
    *columns, shares = zip(*asked, strict=True)
    weight = torch.tensor(shares, dtype=precise(hidden), device=device)
    last = [n for n in range(len(rows)) if n + 1 == len(rows) or owner[n + 1] != owner[n]]
    texts = _Texts(
        torch.tensor(owner, device=device),
        *edited,
        kept,
        mask,
        moved,
        (*(torch.tensor(column, device=device) for column in columns), weight),
        torch.tensor(last, device=device),
        torch.tensor([len(rows[n].ids) - 1 - rows[n].subject for n in last], device=device),
    )
    return texts, at_subject


def _above(adapter: Adapter, layer: int, texts: _Texts, delta: Tensor) -> Tensor:
    """Last hidden states (rows, moving, hidden) when δ (problems, hidden) is added at each row's subject."""
    mlp = torch.cat((texts.mlp[:, :1] + delta[texts.owner][:, None].to(texts.mlp.dtype), texts.mlp[:, 1:]), dim=1)
    hidden = adapter.after_mlp(layer, texts.state, mlp)
    for number, (keys, values) in enumerate(texts.earlier, layer + 1):
        queries, own_keys, own_values = adapter.project(number, hidden, texts.places)
        keys, values = torch.cat((keys, own_keys), dim=1), torch.cat((values, own_values), dim=1)
        context = attend(queries, keys, values, adapter.scaling(number), mask=texts.mask)
        state = adapter.after_attention(number, hidden, adapter.attention_output(number, context))
        hidden = leaving(adapter, number, state)
    return hidden


def _log_probabilities(adapter: Adapter, hidden: Tensor) -> Tensor:
    logits = adapter.logits(hidden)
    return logits.to(precise(logits)).log_softmax(-1)


def _kept(adapter: Adapter, layer: int, texts: _Texts, delta: Tensor) -> Tensor:
    """Log-probabilities (problems, vocabulary) of what follows the kept texts."""
    return _log_probabilities(adapter, _above(adapter, layer, texts, delta)[texts.kept_row, texts.kept_token])


def _losses(adapter: Adapter, layer: int, texts: _Texts, delta: Tensor, kept_before: Tensor, factor: float) -> Tensor:
    """Loss (problems,) without weight decay, nats."""
    hidden = _above(adapter, layer, texts, delta)
    row, token, wanted, weight = texts.asked
    answers = _log_probabilities(adapter, hidden[row, token]).gather(1, wanted[:, None])[:, 0]
    loss = torch.zeros(len(delta), dtype=answers.dtype, device=answers.device)
    loss = loss.index_add(0, texts.owner[row], -weight * answers)
    kept = _log_probabilities(adapter, hidden[texts.kept_row, texts.kept_token])
    return loss + factor * (kept_before.exp() * (kept_before - kept)).sum(-1)
