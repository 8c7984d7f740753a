"""Generation: continuations of prompts with or without edits, contexts, and the entropy of texts.

`continue_rows` continues many prompts at once, each with its own edit beside the shared weights. `write_contexts` lets
a model write the texts that go before an edited prompt (Meng et al. 2022, §3.1). `entropy` says how varied texts are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from kn_thesis.corpora.sampling import hash_rank
from kn_thesis.errors import UserError
from kn_thesis.models.adapter import attend, precise
from kn_thesis.models.memory import MemoryBudget, run_batches
from kn_thesis.models.self_check import not_finite

if TYPE_CHECKING:
    from kn_thesis.editing.weight_update import Update
    from kn_thesis.models.adapter import Adapter
    from kn_thesis.models.cloze import GapTokenizer
    from kn_thesis.models.load import Model


WEIGHTS = {2: 2 / 3, 3: 4 / 3}  # of the entropies of bigrams and trigrams, as in ROME's code
BEGINNINGS = ("The",)  # of contexts in the code of Meng et al.; that of Niu et al. (2024) has five words by turns
TOP = 5  # most probable tokens that a token is drawn from


@dataclass(frozen=True)
class Sampler:
    """Draws each next token from the most probable ones, in proportion to their probabilities.

    A row's uniform numbers, one per step, depend on its name, its number and the seed alone. So neither the batch nor
    the order of rows nor the number of tokens changes a sample.

    Attributes:
        rows: name and number of the sample of each row of prompts.
        seed: of the uniform numbers.
        top: how many of the most probable tokens are drawn from (ROME: 5).
    """

    rows: Sequence[tuple[str, int]]
    seed: int
    top: int = TOP

    def uniforms(self, row: int, tokens: int) -> np.ndarray:
        """Uniform numbers of one row: float64 (tokens,) in [0, 1)."""
        name, number = self.rows[row]
        return np.random.default_rng(hash_rank("continue", self.seed, name, number)).random(tokens)


@dataclass(frozen=True)
class _Span:
    """Rows of a batch that share an update: from `start` to before `stop`."""

    start: int
    stop: int
    update: Update


def continue_rows(
    model: Model,
    prompts: Sequence[Sequence[int]],
    updates: Sequence[Sequence[Update]] | None,
    tokens: int,
    *,
    choose: Literal["greedy"] | Sampler = "greedy",
    stop: int | None = None,
    batch_tokens: int = 4096,
) -> list[list[int]]:
    """Continue prompts with a causal model; its weights are left as they are.

    Rows of equal prompt length go together, so that nothing is padded. Rows with the very same updates share their
    matrix products.

    Args:
        model: a causal model.
        prompts: token ids, at least one each.
        updates: the edit of each row, empty for the unedited model; None: no row has one.
        tokens: most tokens that are written. A row ends earlier before the token `stop`, which is left out, and where
            prompt and continuation have as many tokens as the model has positions.
        choose: "greedy", the most probable token (of equal ones the first in the vocabulary), or a Sampler.
        stop: the token that ends a text, if any.
        batch_tokens: most tokens of prompts and continuations in memory at once; at least one row is.

    Returns:
        Token ids of each continuation, in the order of prompts.

    Raises:
        UserError: for a masked model, a prompt that is empty, longer than the model's positions, or does not fit in
            memory, and for scores that are not finite.
        ValueError: when there are not as many updates or samples as prompts.
    """
    longest, edits = model.positions, updates if updates is not None else [()] * len(prompts)
    if len(edits) != len(prompts) or (isinstance(choose, Sampler) and len(choose.rows) != len(prompts)):
        raise ValueError(f"{len(prompts)} prompts need as many edits and names of rows")
    if model.adapter.objective != "causal":
        raise UserError("a masked model does not continue a text; choose a causal one")
    for number, prompt in enumerate(prompts):
        if not len(prompt) or (longest and len(prompt) > longest):
            most = f"the model takes 1 to {longest}" if longest else "the model takes 1 or more"
            raise UserError(f"prompt {number} has {len(prompt)} tokens: {most}; leave it out")
    written: list[list[int]] = [[] for _ in prompts]

    def steps(rows: Sequence[int]) -> int:
        return min(tokens, longest - len(prompts[rows[0]])) if longest else tokens

    with torch.inference_mode():
        for rows, continuations in run_batches(
            _batches(prompts, edits, tokens, longest, batch_tokens),
            lambda rows, _: _continue(model, rows, prompts, edits, steps(rows), choose, stop),
            MemoryBudget(model, "continuations", batch_tokens),
            size=lambda rows, _: len(rows) * (len(prompts[rows[0]]) + steps(rows)),
        ):
            for row, ids in zip(rows, continuations, strict=True):
                written[row] = ids
    return written


def write_contexts(
    model: Model, lengths: Sequence[tuple[int, int]], seed: int, beginnings: Sequence[str] = BEGINNINGS
) -> list[str]:
    """Let a model write the contexts that go before an edited prompt.

    A text depends on its number and the seed alone. It is shorter where the model ends its text.

    Args:
        model: a causal model.
        lengths: (tokens, texts): how many texts of how many tokens.
        seed: of the samples.
        beginnings: words that the texts begin with; they take turns, and texts of one beginning stand together.

    Returns:
        The texts, each with a full stop at its end, without duplicates.

    Raises:
        UserError: for a masked model.
    """
    if not lengths:
        return []
    if model.adapter.objective != "causal":
        raise UserError(f"contexts are written by causal models: {model.adapter.family} is masked; leave them out")
    contexts = []
    for tokens, texts in lengths:
        for place, beginning in enumerate(beginnings):
            numbers = range(texts)[place :: len(beginnings)]
            begun = [tuple(model.tokenizer.begin(beginning))] * len(numbers)
            sampler = Sampler([(f"context of {tokens}", number) for number in numbers], seed, TOP)
            rows = continue_rows(model, begun, [()] * len(numbers), tokens, choose=sampler, stop=end_token(model))
            contexts += [f"{beginning} {readable_text(model.tokenizer, row)}".strip().rstrip(".") + "." for row in rows]
    return list(dict.fromkeys(contexts))


def entropy(texts: Sequence[Sequence[int]]) -> float:
    """Compute how varied texts are: ROME's fluency (GE of Meng et al. 2022, after Zhang et al. 2018).

    The mean of the entropies of bigrams and of trigrams, weighted 2/3 and 4/3; low values mean repetition. n-grams lie
    within a text, and those of all texts are counted together (ROME's code has the mean over texts, and counts words).

    Args:
        texts: token ids of each text.

    Returns:
        The entropy in bits. Without trigrams their entropy is 0; without bigrams the result is nan.
    """
    entropies = []
    for n, weight in WEIGHTS.items():
        counts = Counter(tuple(text[at : at + n]) for text in texts for at in range(len(text) - n + 1))
        total = counts.total()
        if n == 2 and not total:
            return math.nan
        # Sorted: a sum of floats depends on its order.
        entropies.append(weight * math.fsum(-c / total * math.log2(c / total) for c in sorted(counts.values())))
    return math.fsum(entropies) / len(WEIGHTS)


def end_token(model: Model) -> int | None:
    """The token that ends a text in the model's configuration; the first one where it names several."""
    named = getattr(model.module.config, "eos_token_id", None)
    return named[0] if isinstance(named, list | tuple) and named else named if isinstance(named, int) else None


def readable_text(tokenizer: GapTokenizer, ids: Sequence[int]) -> str:
    """Tokens as a text in one line, without special tokens and without a character that was cut at the end."""
    text = tokenizer.tokenizer.decode(list(map(int, ids)), skip_special_tokens=True)
    return " ".join(text.rstrip("\ufffd").split())


def _batches(
    prompts: Sequence[Sequence[int]], edits: Sequence[Sequence[Update]], tokens: int, longest: int, batch_tokens: int
) -> Iterator[list[int]]:
    """Batches of rows of equal prompt length, those with the same edit side by side."""
    places: dict[tuple[int, ...], int] = {}
    place = [places.setdefault(tuple(map(id, edit)), len(places)) for edit in edits]
    ordered = sorted(range(len(prompts)), key=lambda row: (len(prompts[row]), place[row]))
    for length, alike in groupby(ordered, key=lambda row: len(prompts[row])):
        rows = list(alike)
        whole = min(length + tokens, longest) if longest else length + tokens
        size = max(batch_tokens // whole, 1)
        yield from (rows[start : start + size] for start in range(0, len(rows), size))


def _continue(
    model: Model,
    rows: list[int],
    prompts: Sequence[Sequence[int]],
    edits: Sequence[Sequence[Update]],
    steps: int,
    choose: Literal["greedy"] | Sampler,
    stop: int | None,
) -> list[list[int]]:
    """Continuations of some rows whose prompts have one length, in their order."""
    written: dict[int, list[int]] = {row: [] for row in rows}
    all_rows = list(rows)
    ids = torch.tensor([list(map(int, prompts[row])) for row in rows], device=model.device)
    uniforms = None
    if isinstance(choose, Sampler):
        drawn = np.stack([choose.uniforms(row, steps) for row in rows])
        uniforms = torch.from_numpy(drawn).to(model.device)
    cache = _Cache(model.adapter.layers, ids.shape[1] + steps)
    spans = _spans(rows, edits, model)
    for step in range(steps):
        logits = model.adapter.logits(_read(model.adapter, ids, cache, spans))
        next_ids = logits.argmax(-1) if uniforms is None else _sampled(logits, uniforms[:, step], choose.top)
        going = []
        known = logits.gather(-1, next_ids[:, None])[:, 0].isfinite()  # nan counts as the largest, so it is chosen
        if not known.all():
            raise not_finite(model, prompts[rows[int(known.int().argmin())]], "continuations")
        for place, (row, token) in enumerate(zip(rows, next_ids.tolist(), strict=True)):
            if token != stop:
                written[row].append(token)
                going.append(place)
        if not going or step + 1 == steps:
            break
        ids = torch.cat((ids, next_ids[:, None]), dim=1)
        if len(going) < len(rows):
            rows = [rows[place] for place in going]
            places = torch.tensor(going, device=model.device)
            ids, uniforms = ids[places], None if uniforms is None else uniforms[places]
            cache.keep(places)
            spans = _spans(rows, edits, model)
    return [written[row] for row in all_rows]


def _spans(rows: Sequence[int], edits: Sequence[Sequence[Update]], model: Model) -> list[list[_Span]]:
    """For each layer, which of a batch's rows have which update."""
    spans: list[list[_Span]] = [[] for _ in range(model.adapter.layers)]
    for _, alike in groupby(range(len(rows)), key=lambda place: tuple(map(id, edits[rows[place]]))):
        places = list(alike)
        for update in edits[rows[places[0]]]:
            right = None if update.right is None else update.right.to(model.device)
            here = replace(update, left=update.left.to(model.device), right=right)
            spans[update.layer].append(_Span(places[0], places[-1] + 1, here))
    return spans


def _sampled(logits: Tensor, uniforms: Tensor, top: int) -> Tensor:
    """Sample tokens (rows,) from the `top` largest of logits (rows, vocabulary), by uniform numbers (rows,).

    The most probable token has the numbers from 0 on, then the next one; of equal ones the first in the vocabulary.
    """
    scores = logits.to(precise(logits), copy=True)
    tokens, values = [], []
    for _ in range(min(top, scores.shape[-1])):  # topk does not say which of equal scores it takes
        best = scores.argmax(-1, keepdim=True)
        tokens.append(best)
        values.append(scores.gather(-1, best))
        scores.scatter_(-1, best, -math.inf)
    reached = torch.cat(values, dim=-1).double().softmax(-1).cumsum(-1)
    place = (reached <= uniforms[:, None]).sum(-1, keepdim=True).clamp(max=len(tokens) - 1)
    return torch.cat(tokens, dim=-1).gather(-1, place)[:, 0]


class _Cache:
    """Keys and values (rows, tokens, key heads, size) of the tokens that each layer has read."""

    def __init__(self, layers: int, longest: int) -> None:
        self._longest = longest
        self._kept: list[tuple[Tensor, Tensor] | None] = [None] * layers
        self.read = 0

    def add(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store those of new tokens and return those of all."""
        if self._kept[layer] is None:
            self._kept[layer] = tuple(x.new_empty(x.shape[0], self._longest, *x.shape[2:]) for x in (keys, values))
        whole = self._kept[layer]
        reached = self.read + keys.shape[1]
        for store, new in zip(whole, (keys, values), strict=True):
            store[:, self.read : reached] = new
        return whole[0][:, :reached], whole[1][:, :reached]

    def keep(self, rows: Tensor) -> None:
        """Drop all other rows."""
        self._kept = [(keys[rows], values[rows]) for keys, values in self._kept]


def _read(adapter: Adapter, ids: Tensor, cache: _Cache, spans: list[list[_Span]]) -> Tensor:
    """Last hidden states (rows, hidden) at the end of ids (rows, tokens); the cache has all tokens but the newest.

    The first call reads the prompt, each further call one token.
    """
    positions = torch.arange(cache.read, ids.shape[1], device=ids.device)
    # All tokens are embedded: the adapter adds positions from the first token on, and it costs next to nothing.
    hidden = adapter.embed(ids)[:, cache.read :]
    for layer in range(adapter.layers):
        queries, keys, values = adapter.project(layer, hidden, positions)
        keys, values = cache.add(layer, keys, values)
        context = attend(queries, keys, values, adapter.scaling(layer), causal=len(positions) == keys.shape[1])
        if layer + 1 == adapter.layers:  # nothing above it reads the other tokens
            hidden, context = hidden[:, -1:], context[:, -1:]
        state = adapter.after_attention(layer, hidden, adapter.attention_output(layer, context))
        neurons = adapter.neurons(layer, state)
        mlp = adapter.mlp_output(layer, neurons)
        for span in spans[layer]:
            part = slice(span.start, span.stop)
            mlp[part] += span.update.added(neurons[part])
        hidden = adapter.after_mlp(layer, state, mlp)
    cache.read = ids.shape[1]
    return hidden[:, -1]
