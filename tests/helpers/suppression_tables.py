"""Small hand-made tables such as those that a suppression leaves, for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

Key = tuple[str, str, str]  # kind, set, operation


@dataclass
class Hand:
    """What a test writes down; `tables` makes of it what the rule writes.

    prompts: columns prompt, group, number, noun, attributed. words: word to group. before: probabilities (prompts,
    words), nan where a word is not asked. changes: log-changes (prompts, words) of each set and operation. random: mean
    log-changes (draws, words) of random sets in its place. empty: sets without a neuron. refined_over: per set, if not
    10. right: own_prompts and correct_after of each random set.
    """

    prompts: pd.DataFrame
    words: Mapping[str, str]
    before: np.ndarray
    changes: Mapping[Key, np.ndarray]
    random: Mapping[Key, np.ndarray] = field(default_factory=dict)
    empty: Sequence[Key] = ()
    refined_over: Mapping[str, int] = field(default_factory=dict)
    right: Mapping[Key, Sequence[tuple[int, int]]] = field(default_factory=dict)

    def effects(self) -> pd.DataFrame:
        rows = []
        for (kind, name, operation), change in self.changes.items():
            for prompt, before, moved in zip(self.prompts["prompt"], self.before, change, strict=True):
                for (word, group), p, d in zip(self.words.items(), before, moved, strict=True):
                    if np.isfinite(p):
                        rows.append((prompt, name, kind, operation, word, group, p, p * np.exp(d), d))
        names = ["prompt", "set", "kind", "operation", "word", "word_group", "before", "after", "log_change"]
        texts, numbers = names[:6], names[6:]
        return pd.DataFrame(rows, columns=names).astype(dict.fromkeys(texts, "category") | dict.fromkeys(numbers, "f4"))

    def controls(self) -> pd.DataFrame:
        rows = []
        for key, change in self.changes.items():
            (kind, name, operation), asked = key, np.isfinite(self.before)
            count = asked.sum(axis=0)
            total = np.where(asked, change, 0).sum(axis=0)
            own = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
            for draw, means in enumerate([own, *self.random.get(key, [])]):
                for (word, group), n, mean in zip(self.words.items(), count, means, strict=True):
                    rows.append((name, kind, operation, draw, word, group, n, 0.1, 0.1, mean))
        names = ["set", "kind", "operation", "draw", "word", "word_group", "prompts", "before", "after", "log_change"]
        texts = dict.fromkeys(["set", "kind", "operation", "word", "word_group"], "category")
        return pd.DataFrame(rows, columns=names).astype(texts | {"draw": "int16"})

    def sets(self) -> pd.DataFrame:
        rows = []
        for key in [*self.changes, *self.empty]:
            kind, name, operation = key
            neurons = 0 if key in self.empty else 2
            draws = [(0, 0), *self.right.get(key, [(0, 0)] * len(self.random.get(key, [])))]
            for draw, (own, right) in enumerate(draws):
                rows.append((name, kind, draw, operation, neurons, self.refined_over.get(name, 10), own, right))
        names = ["set", "kind", "draw", "operation", "neurons", "refined_over", "own_prompts", "correct_after"]
        return pd.DataFrame(rows, columns=names)

    def asked(self) -> pd.DataFrame:
        asked = np.isfinite(self.before).sum(axis=0)
        reason = ["" if n == len(self.before) else "word has too many tokens" for n in asked]
        table = {"word": list(self.words), "word_group": list(self.words.values()), "prompts": asked}
        return pd.DataFrame(table | {"left_out": len(self.before) - asked, "reason": reason})

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        return self.effects(), self.controls(), self.sets(), self.asked()


def asked_prompts(nouns: Sequence[str], numbers: Sequence[str] = (), attributed: Sequence[bool] = ()) -> pd.DataFrame:
    """Prompts p0, p1, …: each about a noun, all "singular" and attributed unless told; their target is the noun."""
    n = len(nouns)
    return pd.DataFrame(
        {
            "prompt": [f"p{number}" for number in range(n)],
            "group": list(nouns),
            "number": list(numbers) or ["singular"] * n,
            "noun": list(nouns),
            "attributed": list(attributed) or [True] * n,
        }
    )
