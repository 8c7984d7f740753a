"""v*: what the edited layer's MLP must output at the subject's last token (Meng et al. 2022, §3.1).

`rewriting_problem` makes the texts of a request, `compute_v` optimises v* = v₀ + δ of many requests at once. A change δ
at one token of one layer alters neither the layers below nor the tokens before it. So each text runs through the model
once; then, at each step, only its tokens from the subject's last one on pass the layers above the edited one, beside
the cached keys and values of the tokens before. `optimise` runs Adam on many changes, each of which stops by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kn_thesis.corpora.blanks import CannotExpress
from kn_thesis.models.adapter import Adapter, attend, precise
from kn_thesis.models.cloze import token_span
from kn_thesis.models.forward import pad_right, state_out
from kn_thesis.models.memory import MemoryBudget, run_batches

if TYPE_CHECKING:
    from kn_thesis.editing.requests import Request
    from kn_thesis.editing.rome import Settings
    from kn_thesis.models.cloze import Encoded, GapTokenizer
    from kn_thesis.models.load import Model


KEPT = "is a"  # follows the subject in the text whose continuation must not change (Meng et al. 2022, §3.1)


@dataclass(frozen=True)
class TokenRow:
    """A text with the edited subject, in tokens.

    Attributes:
        ids: tokens of the text without the last wanted token: the last positions predict `wanted`, one token each.
        subject: place of the subject's last token in `ids`.
        wanted: tokens of the new answer; none where nothing is asked.
    """

    ids: tuple[int, ...]
    subject: int
    wanted: tuple[int, ...] = ()


@dataclass(frozen=True)
class Problem:
    """The texts of one request.

    Attributes:
        contexts: the bare prompt, then the prompt after each context.
        kept: a text about the subject ("… is a") whose continuation must not change.
    """

    contexts: tuple[TokenRow, ...]
    kept: TokenRow


def rewriting_problem(
    tokenizer: GapTokenizer, request: Request, contexts: Sequence[str], longest: int = 0, token: str = "subject_last"
) -> Problem | None:
    """Make the texts of a request.

    The subject's place follows from the tokens' offsets in each whole text. A context is left out when the prompt after
    it is too long or cannot be put in tokens.

    Args:
        tokenizer: of the model.
        request: what is edited.
        contexts: texts that go before the prompt.
        longest: positions of the model; 0: no limit.
        token: where key and value are read, one of rome.TOKENS.

    Returns:
        The texts; None when the bare prompt is too long.
    """
    bare = TokenRow(_seen(request.new_prompt), request.subject_token, request.new_prompt.target_ids)
    if 0 < longest < len(bare.ids):
        return None
    rows = [bare]
    for context in contexts:
        begun = len(tokenizer.beginning(request.prefix))  # special tokens stay at the very beginning
        prefix = f"{request.prefix[:begun]}{context} {request.prefix[begun:]}"
        row = _row(tokenizer, prefix, request, len(context) + 1 + request.subject_at, request.glued)
        if row is not None and not 0 < longest < len(row.ids):
            rows.append(row)
    subject = request.subject[0].upper() + request.subject[1:]
    kept = _row(tokenizer, f"{subject} {KEPT}", request, 0)
    # Where the answer cannot follow "is a", or nothing can, another text about the subject serves as well.
    if kept is None or 0 < longest < len(_prompt(kept)):
        kept = bare
    kept = TokenRow(_prompt(kept), kept.subject)
    if token == "last":
        rows = [replace(row, subject=len(_prompt(row)) - 1) for row in rows]
        kept = replace(kept, subject=len(kept.ids) - 1)
    return Problem(tuple(rows), kept)


def _prompt(row: TokenRow) -> tuple[int, ...]:
    """The row's tokens before the wanted ones."""
    return row.ids[: len(row.ids) - max(0, len(row.wanted) - 1)]


def _seen(encoded: Encoded) -> tuple[int, ...]:
    """Tokens of the prompt and of the target but its last."""
    return encoded.input_ids + encoded.target_ids[:-1]


def _row(
    tokenizer: GapTokenizer, prefix: str, request: Request, subject_at: int, glued: bool = False
) -> TokenRow | None:
    """The text `prefix` + answer in tokens; None where that cannot be, or the subject has no token of its own."""
    try:
        encoded = tokenizer.encode(prefix, "", request.new, glued)
    except CannotExpress:
        return None
    span = token_span(tokenizer, prefix, "", request.new, subject_at, subject_at + len(request.subject), glued)
    if span is None or span[1] > len(encoded.input_ids):
        return None
    return TokenRow(_seen(encoded), span[1] - 1, encoded.target_ids)


@dataclass(frozen=True)
class Value:
    """Keys and values of one request.

    Attributes:
        key: neurons at the subject's last token of the bare prompt, (width,).
        mean_key: their mean over contexts, (width,).
        before: v₀, output of the MLP there, (hidden,).
        after: v*, (hidden,).
        steps: number of losses that were computed.
        loss: the last of them, nats.
    """

    key: Tensor
    mean_key: Tensor
    before: Tensor
    after: Tensor
    steps: int
    loss: float


@dataclass(frozen=True)
class _Texts:
    """Padded rows of a batch of problems, with what the unedited model computes from them.

    `moving` tokens of a row are those from the subject's last one on.

    Attributes:
        owner: number of each row's problem, (rows,).
        state: state before the edited layer's MLP, (rows, moving, hidden).
        mlp: output of that MLP, (rows, moving, hidden).
        earlier: keys and values of the tokens before, for each layer above the edited one.
        mask: which tokens a moving token attends to, (rows, 1, moving, earlier + moving).
        places: positions of the moving tokens, (rows, moving).
        answers: row, moving token, wanted token and weight of each predicted token, (answers,) each.
        kept_row: row of each problem's kept text, (problems,).
        kept_token: its last moving token, (problems,).
    """

    owner: Tensor
    state: Tensor
    mlp: Tensor
    earlier: list[tuple[Tensor, Tensor]]
    mask: Tensor
    places: Tensor
    answers: tuple[Tensor, Tensor, Tensor, Tensor]
    kept_row: Tensor
    kept_token: Tensor

    def of(self, problems: Tensor) -> _Texts:
        """The rows of some problems only; `problems`: their numbers, in rising order."""
        number = torch.full((int(self.owner.max()) + 1,), -1, device=self.owner.device)
        number[problems] = torch.arange(len(problems), device=problems.device)
        rows = torch.nonzero(number[self.owner] >= 0)[:, 0]
        place = torch.full((len(self.owner),), -1, device=rows.device)
        place[rows] = torch.arange(len(rows), device=rows.device)
        row, token, wanted, weight = self.answers
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


def compute_v(
    model: Model, layer: int, problems: Sequence[Problem], optimiser: Settings, batch_tokens: int
) -> list[Value]:
    """Optimise v* of every problem.

    A problem's result does not depend on the others, up to rounding. A loss that is not finite ends its optimisation.

    Args:
        model: a causal model.
        layer: the edited one.
        problems: texts of each request.
        optimiser: settings of the optimiser.
        batch_tokens: most rows × tokens of texts in memory at once; at least one problem is.

    Returns:
        Keys and values of each problem, in order.

    Raises:
        UserError: for a problem that does not fit in memory.
    """
    batches = run_batches(
        _batches(problems, batch_tokens),
        lambda part, _: _find_values(model.adapter, layer, part, optimiser, model.device),
        MemoryBudget(model, "search for edits", batch_tokens),
        size=lambda part, _: _size(part),
    )
    return [value for _, values in batches for value in values]


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
    adapter: Adapter, layer: int, problems: Sequence[Problem], optimiser: Settings, device: object
) -> list[Value]:
    texts, neurons = _clean(adapter, layer, problems, optimiser.kl_token, device)
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
        # ‖δ‖ has no derivative at 0; torch's norm takes it as 0.
        return loss + optimiser.weight_decay * delta.norm(dim=-1) / norms[numbers] ** 2

    def hold(number: int, change: Tensor) -> None:
        longest, length = optimiser.clamp * norms[number], change.norm()
        if length > longest:
            change.mul_(longest / length)

    losses, counts = optimise(
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
def _clean(
    adapter: Adapter, layer: int, problems: Sequence[Problem], kl_token: str, device: object
) -> tuple[_Texts, Tensor]:
    """The texts of all problems, each problem's in order with the kept one last, and the neurons at their subjects."""
    rows = [row for problem in problems for row in (*problem.contexts, problem.kept)]
    owner = [n for n, problem in enumerate(problems) for _ in range(len(problem.contexts) + 1)]
    subject = torch.tensor([row.subject for row in rows], device=device)
    length = max(len(row.ids) for row in rows)
    earlier = int(subject.max())
    moving = max(len(row.ids) - row.subject for row in rows)
    ids = pad_right([row.ids for row in rows], device)  # a causal model does not look beyond a text's end
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
    answers = []  # a text ends before its last wanted token: nothing has to be predicted after it
    for n, row in enumerate(rows):
        start, share = len(row.ids) - len(row.wanted) - row.subject, 1 / len(problems[owner[n]].contexts)
        answers += [(n, start + place, token, share / len(row.wanted)) for place, token in enumerate(row.wanted)]
    *columns, shares = zip(*answers, strict=True)
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
        torch.tensor(
            [len(rows[n].ids) - 1 - rows[n].subject if kl_token == "last" else 0 for n in last], device=device
        ),
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
        hidden = state_out(adapter, number, state)
    return hidden


def _log_probabilities(adapter: Adapter, hidden: Tensor) -> Tensor:
    logits = adapter.logits(hidden)
    return logits.to(precise(logits)).log_softmax(-1)


def _kept(adapter: Adapter, layer: int, texts: _Texts, delta: Tensor) -> Tensor:
    """Log-probabilities (problems, vocabulary) in the kept texts, after the token where they are read."""
    return _log_probabilities(adapter, _above(adapter, layer, texts, delta)[texts.kept_row, texts.kept_token])


def _losses(adapter: Adapter, layer: int, texts: _Texts, delta: Tensor, kept_before: Tensor, factor: float) -> Tensor:
    """Loss (problems,) without weight decay, nats."""
    hidden = _above(adapter, layer, texts, delta)
    row, token, wanted, weight = texts.answers
    log = _log_probabilities(adapter, hidden[row, token]).gather(1, wanted[:, None])[:, 0]
    loss = torch.zeros(len(delta), dtype=log.dtype, device=log.device)
    loss = loss.index_add(0, texts.owner[row], -weight * log)
    kept = _log_probabilities(adapter, hidden[texts.kept_row, texts.kept_token])
    return loss + factor * _divergence(kept, kept_before)


def _divergence(now: Tensor, before: Tensor) -> Tensor:
    """KL(now ‖ before) (problems,), nats, whose gradient is exactly 0 where the two are equal.

    The derivative by log p is p · (log p/q + 1). The 1 has no effect, since Σp = 1, but for rounding errors, which Adam
    would take for a direction.
    """
    weight = now.detach().exp() * (now.detach() - before)
    return (weight * (1 + now - now.detach())).sum(-1)


# Losses (requests,) of the requests with these numbers, from their changes, stacked in that order.
Losses = Callable[[list[int], Tensor], Tensor]


def optimise(
    changes: Sequence[Tensor],
    losses_of: Losses,
    hold: Callable[[int, Tensor], None],
    *,
    steps: int,
    learning_rate: float,
    stop: float,
) -> tuple[list[float], list[int]]:
    """Minimise the loss of each request with Adam over its own change, in place, as if it were alone.

    An update follows each loss but the last. A loss that is below `stop` or not finite ends its request's optimisation,
    and so does a first derivative of 0: the answer does not depend on the change.

    Args:
        changes: one per request, leaves of one shape that require gradients.
        losses_of: losses of some requests, from their changes.
        hold: brings a request's change back within its bounds after an update, in place.
        steps: most losses per request.
        learning_rate: Adam's.
        stop: loss below which a request is done.

    Returns:
        Last loss and number of losses of each request.
    """
    adam = torch.optim.Adam(changes, lr=learning_rate)
    losses, counts = [math.nan] * len(changes), [0] * len(changes)
    active = list(range(len(changes)))
    for step in range(steps):
        with torch.enable_grad():
            loss = losses_of(active, torch.stack([changes[number] for number in active]))
        for number, value in zip(active, loss.tolist(), strict=True):
            losses[number], counts[number] = value, step + 1
        going = [number for number in active if stop <= losses[number] < math.inf]
        if not going or step + 1 == steps:
            break
        adam.zero_grad(set_to_none=True)
        loss[[active.index(number) for number in going]].sum().backward()
        if step == 0:
            going = [number for number in going if changes[number].grad.any()]
        for number in set(active) - set(going):
            changes[number].grad = None  # Adam leaves it as it is
        if not going:
            break
        adam.step()
        with torch.no_grad():
            for number in going:
                hold(number, changes[number])
        active = going
    return losses, counts
