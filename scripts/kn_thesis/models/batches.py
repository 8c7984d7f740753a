"""Sentences as training batches: rows of one length each, so that no step computes on padding; and which words to mask.

Everything here is numpy; a batch's randomness comes from the generator that is passed in, and from nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

RARITY = 0.3  # a word is masked in proportion to its frequency to minus this power
FLOOR = 1e-3  # of the text's words; above it frequency counts, below it all words are alike


@dataclass(frozen=True)
class Rows:
    """Sentences that have the same number of tokens, one a row.

    ids: int64 (rows, length), special tokens included.
    words: int64 (rows, length), the number of the word that the token is a piece of, counted from 0 in each sentence;
        -1 for special tokens.
    weights: float64 (rows, length), how readily the token's word is masked, relative to others; 0 for special tokens.
    """

    ids: np.ndarray
    words: np.ndarray
    weights: np.ndarray


def rows_by_length(tokenizer: Tokenizer, sentences: Sequence[str], longest: int, end: int | None = None) -> list[Rows]:
    """Encode sentences and put those of equal length together, shortest first.

    `end` is a token put after each sentence (causal models); sentences of more than `longest` tokens and of fewer
    than two are left out. Rarer words weigh more: a text has few of its facts' words and many determiners, and a
    model that is to learn the facts has to be asked about them.
    """
    encodings = tokenizer.encode_batch(list(sentences))
    encoded = [
        (encoding.ids, encoding.word_ids, [sentence[a:b] for a, b in _spans(encoding)])
        for sentence, encoding in zip(sentences, encodings, strict=True)
    ]
    counts = Counter(word for _, _, words in encoded for word in words)
    total = sum(counts.values())
    weight = {word: max(count / total, FLOOR) ** -RARITY for word, count in counts.items()}
    gathered: dict[int, list[tuple[list[int], list[int], list[float]]]] = {}
    for ids, word_ids, words in encoded:
        numbers = [-1 if word is None else word for word in word_ids]
        weights = [0.0 if number < 0 else weight[words[number]] for number in numbers]
        row = (ids, numbers, weights) if end is None else ([*ids, end], [*numbers, -1], [*weights, 0.0])
        if 2 <= len(row[0]) <= longest:
            gathered.setdefault(len(row[0]), []).append(row)
    return [
        Rows(
            np.array([ids for ids, _, _ in rows], dtype=np.int64),
            np.array([words for _, words, _ in rows], dtype=np.int64),
            np.array([weights for _, _, weights in rows], dtype=np.float64),
        )
        for _, rows in sorted(gathered.items())
    ]


def _spans(encoding) -> list[tuple[int, int]]:
    """Start and end of each word in the sentence, by the word's number."""
    count = max((word for word in encoding.word_ids if word is not None), default=-1) + 1
    return [encoding.word_to_chars(word) or (0, 0) for word in range(count)]


def batches(groups: Sequence[Rows], size: int, rng: np.random.Generator) -> Iterator[Rows]:
    """Batches without end: a length drawn by its share of the sentences, then the next `size` of its rows.

    Rows of one length come in a shuffled order that is drawn anew when all have been seen, so that every sentence is
    seen as often as any other, within one.
    """
    shares = np.array([len(group.ids) for group in groups], dtype=np.float64)
    shares /= shares.sum()
    waiting = [np.empty(0, dtype=np.int64) for _ in groups]
    while True:
        number = int(rng.choice(len(groups), p=shares))
        group = groups[number]
        while len(waiting[number]) < size:
            waiting[number] = np.concatenate([waiting[number], rng.permutation(len(group.ids))])
        chosen, waiting[number] = waiting[number][:size], waiting[number][size:]
        yield Rows(group.ids[chosen], group.words[chosen], group.weights[chosen])


def choose_masked(batch: Rows, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Which tokens to mask, bool (rows, length): whole words, `rate` of a sentence's words on average, one at least.

    Words are drawn without replacement, each in proportion to its weight (Efraimidis & Spirakis 2006: the smallest of
    exponential variables divided by the weights).
    """
    rows, length = batch.ids.shape
    word_count = batch.words.max(axis=1) + 1
    wanted = np.maximum(np.floor(rate * word_count + rng.random(rows)).astype(np.int64), 1)
    draws = rng.exponential(size=(rows, length))
    real = batch.words >= 0
    times = np.full((rows, length), np.inf)
    own = np.take_along_axis(draws, np.maximum(batch.words, 0), axis=1)  # pieces of a word share its draw
    times[real] = own[real] / batch.weights[real]
    first = real.copy()
    first[:, 1:] &= batch.words[:, 1:] != batch.words[:, :-1]
    ordered = np.sort(np.where(first, times, np.inf), axis=1)
    limit = np.take_along_axis(ordered, np.minimum(wanted, word_count.clip(min=1))[:, None] - 1, axis=1)
    return real & (times <= limit)
