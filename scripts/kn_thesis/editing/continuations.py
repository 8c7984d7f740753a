"""What a causal model goes on to write after a prompt, with or without edits, and how varied that is."""

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

from kn_thesis.corpora.rank import rank
from kn_thesis.errors import UserError
from kn_thesis.models.adapter import attend, precise
from kn_thesis.models.finite import not_finite
from kn_thesis.models.memory import Room, worked

if TYPE_CHECKING:
    from kn_thesis.corpora.gaps import GapTokenizer
    from kn_thesis.editing.update import Update
    from kn_thesis.models.adapter import Adapter
    from kn_thesis.models.load import Model

WEIGHTS = {2: 2 / 3, 3: 4 / 3}  # of the entropies of bigrams and trigrams, as in ROME's code


@dataclass(frozen=True)
class Sampler:
    """Draw the next token from the `top` most probable ones (ROME: 5), in proportion to their probabilities.

    rows: a name and a sample's number for each row of prompts. They and the seed alone decide the row's uniform
    numbers, one a step, so that neither the batch nor the order of rows, nor the number of tokens, changes a sample.
    """

    rows: Sequence[tuple[str, int]]
    seed: int
    top: int = 5

    def uniforms(self, row: int, tokens: int) -> np.ndarray:
        """float64 (tokens,) in [0, 1), of one row."""
        name, number = self.rows[row]
        return np.random.default_rng(rank("continue", self.seed, name, number)).random(tokens)


@dataclass(frozen=True)
class _Span:
    """Rows of a batch, from `start` to before `stop`, that share an update."""

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
    """Each prompt's continuation, in tokens, in the order of prompts.

    prompts: token ids, one at least. updates: each row's own edit (none: the model as it is); the model's weights are
    left alone, and rows with the very same updates share their products. tokens: the most that are written; a row ends
    sooner before the token `stop` (end of text), which is left out, and where prompt and continuation together have as
    many tokens as the model has positions.
    choose: "greedy", the most probable token (of equals the first in the vocabulary), or a Sampler.
    Rows of equal prompt length go together, at most `batch_tokens` tokens of prompts and continuations at once and at
    least one row: nothing is padded.

    Raises UserError for a masked model, an empty prompt, one that is longer than the model's positions or does not
    fit in memory, and for scores that are not finite.
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
        for rows, found in worked(
            _batches(prompts, edits, tokens, longest, batch_tokens),
            lambda rows, _: _continue(model, rows, prompts, edits, steps(rows), choose, stop),
            Room(model, "continuations", batch_tokens),
            size=lambda rows, _: len(rows) * (len(prompts[rows[0]]) + steps(rows)),
        ):
            for row, ids in zip(rows, found, strict=True):
                written[row] = ids
    return written


def entropy(texts: Sequence[Sequence[int]]) -> float:
    """How varied texts of tokens are, in bits: ROME's fluency (GE of Meng et al. 2022; after Zhang et al. 2018).

    The mean of the entropies of bigrams and of trigrams, weighted 2/3 and 4/3. n-grams lie within a text, and those of
    all texts are counted together (ROME's code has the mean over texts, and counts words). Low values are repetition.
    Without trigrams their entropy is 0; without bigrams the result is nan.
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
    """The token that ends a text, as the model's configuration has it; the first where it names several."""
    named = getattr(model.module.config, "eos_token_id", None)
    return named[0] if isinstance(named, list | tuple) and named else named if isinstance(named, int) else None


def readable(tokenizer: GapTokenizer, ids: Sequence[int]) -> str:
    """Tokens as a text in one line, without special tokens and without a letter that was cut at the end."""
    text = tokenizer.tokenizer.decode(list(map(int, ids)), skip_special_tokens=True)
    return " ".join(text.rstrip("\ufffd").split())


def _batches(
    prompts: Sequence[Sequence[int]], edits: Sequence[Sequence[Update]], tokens: int, longest: int, batch_tokens: int
) -> Iterator[list[int]]:
    """Rows of equal prompt length, those with the same edit side by side."""
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
    """What some rows of prompts of one length write, in their order."""
    written: dict[int, list[int]] = {row: [] for row in rows}
    asked = list(rows)
    ids = torch.tensor([list(map(int, prompts[row])) for row in rows], device=model.device)
    uniforms = None
    if isinstance(choose, Sampler):
        drawn = np.stack([choose.uniforms(row, steps) for row in rows])
        uniforms = torch.from_numpy(drawn).to(model.device)
    cache = _Cache(model.adapter.layers, ids.shape[1] + steps)
    spans = _spans(rows, edits, model)
    for step in range(steps):
        logits = model.adapter.logits(_read(model.adapter, ids, cache, spans))
        chosen = logits.argmax(-1) if uniforms is None else _sampled(logits, uniforms[:, step], choose.top)
        going = []
        known = logits.gather(-1, chosen[:, None])[:, 0].isfinite()  # nan counts as the largest, so it is chosen
        if not known.all():
            raise not_finite(model, prompts[rows[int(known.int().argmin())]], "continuations")
        for place, (row, token) in enumerate(zip(rows, chosen.tolist(), strict=True)):
            if token != stop:
                written[row].append(token)
                going.append(place)
        if not going or step + 1 == steps:
            break
        ids = torch.cat((ids, chosen[:, None]), dim=1)
        if len(going) < len(rows):
            rows = [rows[place] for place in going]
            kept = torch.tensor(going, device=model.device)
            ids, uniforms = ids[kept], None if uniforms is None else uniforms[kept]
            cache.keep(kept)
            spans = _spans(rows, edits, model)
    return [written[row] for row in asked]


def _spans(rows: Sequence[int], edits: Sequence[Sequence[Update]], model: Model) -> list[list[_Span]]:
    """Of each layer, which of a batch's rows get which update there."""
    spans: list[list[_Span]] = [[] for _ in range(model.adapter.layers)]
    for _, alike in groupby(range(len(rows)), key=lambda place: tuple(map(id, edits[rows[place]]))):
        places = list(alike)
        for update in edits[rows[places[0]]]:
            right = None if update.right is None else update.right.to(model.device)
            here = replace(update, left=update.left.to(model.device), right=right)
            spans[update.layer].append(_Span(places[0], places[-1] + 1, here))
    return spans


def _sampled(logits: Tensor, uniforms: Tensor, top: int) -> Tensor:
    """A token (rows,) of the `top` best of logits (rows, vocabulary), by uniform numbers (rows,).

    The most probable token has the numbers from 0 on, then the next; of equals the first in the vocabulary is better.
    """
    scores = logits.to(precise(logits), copy=True)
    tokens, values = [], []
    for _ in range(min(top, scores.shape[-1])):  # topk leaves open which of equals it takes
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
        """Keep those of new tokens; returns those of all."""
        if self._kept[layer] is None:
            self._kept[layer] = tuple(x.new_empty(x.shape[0], self._longest, *x.shape[2:]) for x in (keys, values))
        whole = self._kept[layer]
        reached = self.read + keys.shape[1]
        for store, new in zip(whole, (keys, values), strict=True):
            store[:, self.read : reached] = new
        return whole[0][:, :reached], whole[1][:, :reached]

    def keep(self, rows: Tensor) -> None:
        """Forget all other rows."""
        self._kept = [(keys[rows], values[rows]) for keys, values in self._kept]


def _read(adapter: Adapter, ids: Tensor, cache: _Cache, spans: list[list[_Span]]) -> Tensor:
    """Last hidden states (rows, hidden) at the end of ids (rows, tokens), of which the cache has all but the newest.

    The new tokens are the prompt's at the first call, and one at each further call.
    """
    positions = torch.arange(cache.read, ids.shape[1], device=ids.device)
    # The words are embedded from the first on: that is how positions come in, and it costs next to nothing.
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
