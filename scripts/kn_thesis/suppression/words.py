"""Studied words at a prompt's gap: what the model has to read so that each word's probability can be told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kn_thesis.corpora.gaps import CannotExpress, Encoded, GapTokenizer, steps
from kn_thesis.suppression.restart import Reading

TOO_LONG = "word has too many tokens"


@dataclass(frozen=True)
class Questions:
    """Readings of all prompts, and whose answers they are.

    readings: what is read, each prompt's texts once. place: int (answers, 2), the prompt and the word that each of the
    readings' tokens belongs to, in the readings' order. reasons: (prompt, word) to why the word cannot be asked there.
    """

    readings: list[Reading]
    place: np.ndarray
    reasons: dict[tuple[int, int], str]

    def gather(self, answers: Sequence[np.ndarray], prompts: int, words: int) -> np.ndarray:
        """Log-probability of every word at every prompt: (prompts, words, …) from the readings' (asked, …).

        The sum over a word's tokens, which is the logarithm of their product; nan where the word cannot be asked.
        """
        stacked = np.concatenate(answers) if answers else np.zeros((0,))
        total = np.zeros((prompts, words, *stacked.shape[1:]), dtype=stacked.dtype)
        np.add.at(total, tuple(self.place.T), stacked)
        asked = np.zeros((prompts, words), dtype=bool)
        asked[tuple(self.place.T)] = True
        total[~asked] = np.nan
        return total


def ask(tokenizer: GapTokenizer, prompts: Sequence[Mapping], words: Sequence[str], max_tokens: int) -> Questions:
    """Readings for `words`, and after them for each prompt's own target and foil, at the gaps of `prompts`.

    A prompt has prefix, suffix, glued (see `GapTokenizer.encode`; False where it is left out) and encodings `target`,
    `foil` (None: it has no foil). At the beginning of a text words begin with a capital letter. A word of several
    tokens is teacher-forced as targets are in attribution: each token has a reading of its own, in which neurons are
    changed at the position that predicts it, and nowhere else.
    """
    columns = len(words) + 2

    def encode(number: int, column: int) -> Encoded:
        prompt = prompts[number]
        return _encoded(tokenizer, prompt, [*words, prompt["target"], prompt["foil"]][column], max_tokens)

    return questions(len(prompts), columns, encode, tokenizer.objective)


def questions(prompts: int, words: int, encode: Callable[[int, int], Encoded], objective: str) -> Questions:
    """Readings for every prompt and word, by number, as `encode` puts them in tokens or raises CannotExpress."""
    asked: dict[tuple[int, tuple[int, ...], int], list[tuple[int, int]]] = {}
    reasons: dict[tuple[int, int], str] = {}
    for number in range(prompts):
        for column in range(words):
            try:
                encoded = encode(number, column)
            except CannotExpress as error:
                reasons[number, column] = error.reason
                continue
            for ids, gap, token in steps(encoded, objective):
                asked.setdefault((number, ids, gap), []).append((column, token))
    readings = [Reading(ids, gap, tuple(token for _, token in said)) for (_, ids, gap), said in asked.items()]
    place = [(number, column) for (number, _, _), said in asked.items() for column, _ in said]
    return Questions(readings, np.array(place, dtype=int).reshape(-1, 2), reasons)


def _encoded(tokenizer: GapTokenizer, prompt: Mapping, word: str | Encoded | None, max_tokens: int) -> Encoded:
    if word is None:
        raise CannotExpress("no foil")
    if isinstance(word, Encoded):
        return word
    prefix = prompt["prefix"]
    word = word if prefix else word[:1].upper() + word[1:]
    encoded = tokenizer.encode(prefix, prompt["suffix"], word, prompt.get("glued", False))
    if len(encoded.target_ids) > max_tokens:
        raise CannotExpress(TOO_LONG)
    return encoded
