"""Tables of suppression: every studied word at every prompt, before and after each set of neurons is changed.

`SuppressedAnswers` holds the log-probabilities of some prompts of a task. It is saved per shard, joined by
`concat_answers`, and made into the tables (`Suppression`) by `suppression_tables`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from kn_thesis.errors import UserError
from kn_thesis.files import whole_file

NUMBERS = ("singular", "plural")
GROUPS = ("singular", "plural", "biased", "neutral")  # of words, in the order of figures and sentences
SHARED = "shared"  # the set of neurons that both numbers select
CONTRAST = "plural − singular"  # effect of the plural set minus effect of the singular set, per prompt and word
# Labels of each prompt's own words: FORMS if the task has both numbers, otherwise OWN.
FORMS = {number: f"({number} form)" for number in NUMBERS}
OWN = {"target": "(target)", "foil": "(foil)"}


class Outcome(NamedTuple):
    """Answers before and after a number of changes.

    Attributes:
        before: Log-probabilities (nats), float64 (prompts, words); nan for a word that cannot be asked.
        after: The same under each change, float32 (prompts, words, changes).
        correct_before: Whether the target is more probable than its foil, bool (prompts,).
        correct_after: The same under each change, bool (prompts, changes).
    """

    before: np.ndarray
    after: np.ndarray
    correct_before: np.ndarray
    correct_after: np.ndarray


@dataclass(frozen=True)
class SuppressedAnswers:
    """Answers at some of a task's prompts.

    Attributes:
        prompts: Names of the prompts.
        sampled: Which prompts the random sets are tried on, bool (prompts,).
        labels: Group of each word; the last two words stand for each prompt's own.
        operations: What is done to each set.
        sets: Every set of neurons, with the columns set, kind, draw (0: selected, from 1 on: random sets in its place),
            neurons, members, refined_over and mean_activation.
        selected: Answers under each selected set that has neurons, and each operation.
        random: Answers of the sampled prompts under each random set and operation.
        reasons: Why a word cannot be asked, by the places of prompt and word.
    """

    prompts: list[str]
    sampled: np.ndarray
    labels: dict[str, str]
    operations: list[str]
    sets: pd.DataFrame
    selected: Outcome
    random: Outcome
    reasons: dict[tuple[int, int], str]

    def save(self, path: str | Path) -> None:
        """Write to a safetensors file, atomically."""
        from safetensors.numpy import save_file

        about = {"prompts": self.prompts, "labels": self.labels, "operations": self.operations}
        about |= {"sets": self.sets.to_dict("list"), "reasons": [[*place, why] for place, why in self.reasons.items()]}
        tensors = {"sampled": self.sampled, "about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)}
        for name, outcome in (("selected", self.selected), ("random", self.random)):
            tensors |= {f"{name}.{field}": np.ascontiguousarray(x) for field, x in outcome._asdict().items()}
        with whole_file(path) as temporary:
            save_file(tensors, temporary)

    @staticmethod
    def load(path: str | Path) -> SuppressedAnswers:
        """Read a file written by `save`.

        Args:
            path: The file.

        Returns:
            The answers.

        Raises:
            UserError: There is no such file, or it was not written by `save`.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            tensors = load_file(path)
            about = json.loads(tensors["about"].tobytes().decode())
            sets = pd.DataFrame(about["sets"])
            reasons = {(prompt, word): why for prompt, word, why in about["reasons"]}
            outcomes = [
                Outcome(*(tensors[f"{name}.{field}"] for field in Outcome._fields)) for name in ("selected", "random")
            ]
            first_fields = (about["prompts"], tensors["sampled"], about["labels"], about["operations"])
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; suppress the neurons first") from None
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise UserError(f"{path}: not a file of answers ({error}); delete it and run again") from error
        return SuppressedAnswers(*first_fields, sets, *outcomes, reasons)


def concat_answers(parts: Sequence[SuppressedAnswers]) -> SuppressedAnswers:
    """Join the shards of a task, in order."""
    starts = np.cumsum([0, *(len(part.prompts) for part in parts)])
    outcomes = [
        Outcome(*(np.concatenate(arrays) for arrays in zip(*(getattr(part, name) for part in parts), strict=True)))
        for name in ("selected", "random")
    ]
    reasons = {
        (int(start) + prompt, word): why
        for start, part in zip(starts, parts, strict=False)
        for (prompt, word), why in part.reasons.items()
    }
    first = parts[0]
    return SuppressedAnswers(
        [name for part in parts for name in part.prompts],
        np.concatenate([part.sampled for part in parts]),
        *(first.labels, first.operations, first.sets),
        *outcomes,
        reasons,
    )


@dataclass(frozen=True)
class Suppression:
    """The tables of one model and task.

    Attributes:
        effects: One row per prompt, set (set, kind), operation and word (word, word_group): probability before and
            after, and log_change = log after − log before (nats). Words in parentheses are each prompt's own: its
            "(singular form)" and "(plural form)" if the task has both numbers, otherwise its "(target)" and "(foil)".
        controls: The same averaged over a sample of prompts, per draw (0: the set itself, from 1 on: random sets in its
            place): prompts, before, after, log_change.
        sets: Per set, draw and operation: neurons, members ("layer.index" each), refined_over (prompts) and
            mean_activation, and over the sampled prompts of that target or number: own_prompts, correct_before and
            correct_after.
        words: Per word: prompts where it is asked, left_out (the others) and reason (the most frequent one).
    """

    effects: pd.DataFrame
    controls: pd.DataFrame
    sets: pd.DataFrame
    words: pd.DataFrame


def suppression_tables(answers: SuppressedAnswers, prompts: pd.DataFrame) -> Suppression:
    """Build the tables of a task.

    Args:
        answers: Answers at all of the task's prompts, in the order of their table.
        prompts: The task's table of prompts.

    Returns:
        The tables.
    """
    names = np.array(answers.prompts, dtype=object)[answers.sampled]
    sampled = prompts.set_index("prompt").loc[list(names)]
    return Suppression(_effects(answers), _controls(answers), _sets(answers, sampled), _words(answers))


def _effects(answers: SuppressedAnswers) -> pd.DataFrame:
    """One row per prompt, set, operation and word that can be asked there."""
    outcome, sets = answers.selected, answers.sets[(answers.sets["draw"] == 0) & (answers.sets["neurons"] > 0)]
    change = (outcome.after - outcome.before[:, :, None]).transpose(0, 2, 1)
    at = [np.broadcast_to(x, change.shape) for x in np.ix_(*(range(n) for n in change.shape))]
    known = np.isfinite(change)
    prompt, key, word = (x[known] for x in at)
    before = np.broadcast_to(outcome.before[:, None], change.shape)[known]
    return pd.DataFrame(
        {
            "prompt": pd.Categorical.from_codes(prompt, answers.prompts),
            **_key_columns(sets, answers.operations, key, draw=False),
            **_word_columns(answers.labels, word),
            "before": np.exp(before).astype(np.float32),
            "after": np.exp(before + change[known]).astype(np.float32),
            "log_change": change[known].astype(np.float32),
        }
    )


def _sets_with_neurons(answers: SuppressedAnswers) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Sets that have neurons, selected ones first, with after (sampled, words, sets × operations) and correct_after."""
    sets = answers.sets[answers.sets["neurons"] > 0]
    sets = pd.concat([sets[sets["draw"] == 0], sets[sets["draw"] > 0]], ignore_index=True)
    after = np.concatenate([answers.selected.after[answers.sampled], answers.random.after], axis=2)
    correct = np.concatenate([answers.selected.correct_after[answers.sampled], answers.random.correct_after], axis=1)
    return sets, after, correct


def _controls(answers: SuppressedAnswers) -> pd.DataFrame:
    """One row per set, draw, operation and word: means over the prompts where the word can be asked."""
    sets, after, _ = _sets_with_neurons(answers)
    before = answers.random.before
    change = after - before[:, :, None]
    known = np.isfinite(change)
    count = known.sum(axis=0)

    def mean(x: np.ndarray) -> np.ndarray:
        total = np.where(known, x, 0).sum(axis=0, dtype=np.float64)
        return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0).T.ravel()

    words, keys = count.shape
    key, word = np.repeat(np.arange(keys), words), np.tile(np.arange(words), keys)
    return pd.DataFrame(
        {
            **_key_columns(sets, answers.operations, key),
            **_word_columns(answers.labels, word),
            "prompts": count.T.ravel(),
            "before": mean(np.exp(before)[:, :, None]),
            "after": mean(np.exp(after)),
            "log_change": mean(change),
        }
    )


def _sets(answers: SuppressedAnswers, sampled: pd.DataFrame) -> pd.DataFrame:
    """One row per set, draw and operation; empty sets last. `sampled`: number and group of the sampled prompts."""
    sets, _, correct = _sets_with_neurons(answers)
    correct_before = answers.random.correct_before
    empty = answers.sets[answers.sets["neurons"] == 0]
    rows = []
    for place, one in enumerate(pd.concat([sets, empty], ignore_index=True).to_dict("records")):
        own = (sampled["number"] if one["kind"] == "number" else sampled["group"]).to_numpy() == one["set"]
        for number, operation in enumerate(answers.operations):
            after = correct[:, place * len(answers.operations) + number] if place < len(sets) else correct_before
            counts = {"own_prompts": int(own.sum()), "correct_before": int(correct_before[own].sum())}
            rows.append(one | {"operation": operation} | counts | {"correct_after": int(after[own].sum())})
    columns = ["set", "kind", "draw", "operation", "neurons", "members", "refined_over", "mean_activation"]
    table = pd.DataFrame(rows, columns=[*columns, "own_prompts", "correct_before", "correct_after"])
    return table.astype({"mean_activation": float})


def _words(answers: SuppressedAnswers) -> pd.DataFrame:
    """One row per word: at how many prompts it is asked, and why not at the others."""
    counts, prompts = np.isfinite(answers.selected.before).sum(axis=0), len(answers.prompts)
    reasons: dict[int, Counter[str]] = {}
    for (_, word), reason in answers.reasons.items():
        reasons.setdefault(word, Counter())[reason] += 1
    why = [reasons[n].most_common(1)[0][0] if n in reasons else "" for n in range(len(answers.labels))]
    return pd.DataFrame(
        {
            "word": list(answers.labels),
            "word_group": list(answers.labels.values()),
            "prompts": counts,
            "left_out": prompts - counts,
            "reason": [
                reason or ("number is not known" if counts[n] < prompts else "") for n, reason in enumerate(why)
            ],
        }
    )


def _key_columns(sets: pd.DataFrame, operations: Sequence[str], at: np.ndarray, draw: bool = True) -> dict[str, object]:
    """Columns that say what is changed, and how. `at` numbers the sets, and the operations within each."""
    keys = sets.loc[sets.index.repeat(len(operations))]
    columns: dict[str, object] = {name: _categories(list(keys[name]), at) for name in ("set", "kind")}
    columns["operation"] = _categories(list(operations) * len(sets), at)
    if draw:
        columns["draw"] = keys["draw"].to_numpy(np.int16)[at]
    return columns


def _word_columns(labels: Mapping[str, str], at: np.ndarray) -> dict[str, object]:
    return {"word": _categories(list(labels), at), "word_group": _categories(list(labels.values()), at)}


def _categories(values: Sequence[str], at: np.ndarray) -> pd.Categorical:
    """`values[at]` as a categorical, without a string for each row."""
    names = list(dict.fromkeys(values))
    code = np.array([names.index(value) for value in values], dtype=np.int32)
    return pd.Categorical.from_codes(code[at] if len(code) else np.zeros(len(at), int), names)
