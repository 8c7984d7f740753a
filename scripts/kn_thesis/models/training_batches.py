"""Training batches of sentences of equal length, so that nothing is padded, and the choice of words to mask.

Everything here is numpy. All randomness comes from the generator that is passed in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

RARITY = 0.3  # a word is masked in proportion to its frequency to the power of -0.3
FLOOR = 1e-3  # frequency below which all words are masked alike


@dataclass(frozen=True)
class Rows:
    """Sentences of the same number of tokens, one per row.

    Attributes:
        ids: Token ids, special tokens included, int64 (rows, length).
        words: The number of the word that the token is part of, from 0 in each sentence; -1 for special tokens; int64
            (rows, length).
        weights: How readily the token's word is masked, relative to others; 0 for special tokens; float64
            (rows, length).
    """

    ids: np.ndarray
    words: np.ndarray
    weights: np.ndarray


def rows_by_length(tokenizer: Tokenizer, sentences: Sequence[str], longest: int, end: int | None = None) -> list[Rows]:
    """Encode sentences and put those of equal length together, shortest first.

    Rarer words get higher weights: a text has few words of its facts and many determiners, and a model learns the facts
    only if their words are masked.

    Args:
        tokenizer: The model's tokenizer.
        sentences: The text.
        longest: Sentences of more tokens, or of fewer than two, are left out.
        end: A token to put after each sentence, for causal models.
    """
    encodings = tokenizer.encode_batch(list(sentences))
    encoded = [
        (encoding.ids, encoding.word_ids, [sentence[a:b] for a, b in _spans(encoding)])
        for sentence, encoding in zip(sentences, encodings, strict=True)
    ]
    counts = Counter(word for _, _, words in encoded for word in words)
    total = sum(counts.values())
    weight = {word: max(count / total, FLOOR) ** -RARITY for word, count in counts.items()}
    by_length: dict[int, list[tuple[list[int], list[int], list[float]]]] = {}
    for ids, word_ids, words in encoded:
        numbers = [-1 if word is None else word for word in word_ids]
        weights = [0.0 if number < 0 else weight[words[number]] for number in numbers]
        row = (ids, numbers, weights) if end is None else ([*ids, end], [*numbers, -1], [*weights, 0.0])
        if 2 <= len(row[0]) <= longest:
            by_length.setdefault(len(row[0]), []).append(row)
    return [
        Rows(
            np.array([ids for ids, _, _ in rows], dtype=np.int64),
            np.array([words for _, words, _ in rows], dtype=np.int64),
            np.array([weights for _, _, weights in rows], dtype=np.float64),
        )
        for _, rows in sorted(by_length.items())
    ]


def _spans(encoding) -> list[tuple[int, int]]:
    """Return start and end of each word in the sentence, by the word's number."""
    count = max((word for word in encoding.word_ids if word is not None), default=-1) + 1
    return [encoding.word_to_chars(word) or (0, 0) for word in range(count)]


def batches(groups: Sequence[Rows], size: int, rng: np.random.Generator) -> Iterator[Rows]:
    """Yield batches endlessly: a length drawn by its share of the sentences, then the next rows of that length.

    Rows of one length are shuffled, and shuffled again when all have been used. No sentence is used more than once more
    than another of its length.

    Args:
        groups: From `rows_by_length`.
        size: Rows in a batch.
        rng: The source of randomness.
    """
    shares = np.array([len(group.ids) for group in groups], dtype=np.float64)
    shares /= shares.sum()
    waiting = [np.empty(0, dtype=np.int64) for _ in groups]
    while True:
        number = int(rng.choice(len(groups), p=shares))
        group = groups[number]
        while len(waiting[number]) < size:
            waiting[number] = np.concatenate([waiting[number], rng.permutation(len(group.ids))])
        rows, waiting[number] = waiting[number][:size], waiting[number][size:]
        yield Rows(group.ids[rows], group.words[rows], group.weights[rows])


def choose_masked(batch: Rows, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Choose whole words to mask, without replacement and in proportion to their weights.

    The words are those with the smallest exponential variables divided by their weights (Efraimidis & Spirakis 2006).

    Args:
        batch: A batch.
        rate: Mean share of a sentence's words; at least one word is masked.
        rng: The source of randomness.

    Returns:
        Which tokens to mask, bool (rows, length).
    """
    rows, length = batch.ids.shape
    word_count = batch.words.max(axis=1) + 1
    count = np.maximum(np.floor(rate * word_count + rng.random(rows)).astype(np.int64), 1)
    variables = rng.exponential(size=(rows, length))
    real = batch.words >= 0
    times = np.full((rows, length), np.inf)
    own = np.take_along_axis(variables, np.maximum(batch.words, 0), axis=1)  # pieces of a word share its variable
    times[real] = own[real] / batch.weights[real]
    first = real.copy()
    first[:, 1:] &= batch.words[:, 1:] != batch.words[:, :-1]
    ordered = np.sort(np.where(first, times, np.inf), axis=1)
    limit = np.take_along_axis(ordered, np.minimum(count, word_count.clip(min=1))[:, None] - 1, axis=1)
    return real & (times <= limit)
