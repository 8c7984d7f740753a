"""Tables of suppression: every studied word at every prompt, before and after each set of neurons is changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kn_thesis.suppression.answers import Answers


@dataclass(frozen=True)
class Suppression:
    """The tables of one model and task.

    effects: a row per prompt, set (set, kind), operation and word (word, word_group): probability before and after,
    log_change = log after − log before (nats). Words in brackets are each prompt's own: its "(singular form)" and
    "(plural form)" where the task has both numbers, else its "(target)" and "(foil)".
    controls: the same averaged over a sample of prompts, per draw (0: the set itself, from 1 on random sets in its
    place): prompts, before, after, log_change.
    sets: per set, draw and operation: neurons, members ("layer.index" each), refined_over (prompts), mean_activation,
    and over the sample's prompts of that target or number: own_prompts, correct_before, correct_after.
    words: per word: prompts where it is asked, left_out, reason (the most frequent one).
    """

    effects: pd.DataFrame
    controls: pd.DataFrame
    sets: pd.DataFrame
    words: pd.DataFrame


def suppression_tables(answers: Answers, prompts: pd.DataFrame) -> Suppression:
    """The tables of a task, from the answers at all of its prompts, in the order of their table."""
    names = np.array(answers.prompts, dtype=object)[answers.sampled]
    sampled = prompts.set_index("prompt").loc[list(names)]
    return Suppression(_effects(answers), _controls(answers), _sets(answers, sampled), _words(answers))


def _effects(answers: Answers) -> pd.DataFrame:
    """One row per prompt, set, operation and word that can be asked there."""
    said, sets = answers.selected, answers.sets[(answers.sets["draw"] == 0) & (answers.sets["neurons"] > 0)]
    change = (said.after - said.before[:, :, None]).transpose(0, 2, 1)
    at = [np.broadcast_to(x, change.shape) for x in np.ix_(*(range(n) for n in change.shape))]
    known = np.isfinite(change)
    prompt, key, word = (x[known] for x in at)
    before = np.broadcast_to(said.before[:, None], change.shape)[known]
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


def _compared(answers: Answers) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Sets that have a neuron, selected ones first; after (sampled, words, sets × operations) and who is right then."""
    sets = answers.sets[answers.sets["neurons"] > 0]
    sets = pd.concat([sets[sets["draw"] == 0], sets[sets["draw"] > 0]], ignore_index=True)
    after = np.concatenate([answers.selected.after[answers.sampled], answers.random.after], axis=2)
    correct = np.concatenate([answers.selected.correct_after[answers.sampled], answers.random.correct_after], axis=1)
    return sets, after, correct


def _controls(answers: Answers) -> pd.DataFrame:
    """One row per set, draw, operation and word: means over the prompts where the word can be asked."""
    sets, after, _ = _compared(answers)
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


def _sets(answers: Answers, sampled: pd.DataFrame) -> pd.DataFrame:
    """One row per set, draw and operation; sets without a neuron last. `sampled`: number and group of those prompts."""
    sets, _, correct = _compared(answers)
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


def _words(answers: Answers) -> pd.DataFrame:
    """One row per word: where it is asked, and why not elsewhere."""
    asked, prompts = np.isfinite(answers.selected.before).sum(axis=0), len(answers.prompts)
    reasons: dict[int, Counter[str]] = {}
    for (_, word), reason in answers.reasons.items():
        reasons.setdefault(word, Counter())[reason] += 1
    why = [reasons[n].most_common(1)[0][0] if n in reasons else "" for n in range(len(answers.labels))]
    return pd.DataFrame(
        {
            "word": list(answers.labels),
            "word_group": list(answers.labels.values()),
            "prompts": asked,
            "left_out": prompts - asked,
            "reason": [reason or ("number is not known" if asked[n] < prompts else "") for n, reason in enumerate(why)],
        }
    )


def _key_columns(sets: pd.DataFrame, operations: Sequence[str], at: np.ndarray, draw: bool = True) -> dict[str, object]:
    """What is changed, and how: `at` counts sets, and for each of them the operations."""
    keys = sets.loc[sets.index.repeat(len(operations))]
    found: dict[str, object] = {name: _categories(list(keys[name]), at) for name in ("set", "kind")}
    found["operation"] = _categories(list(operations) * len(sets), at)
    if draw:
        found["draw"] = keys["draw"].to_numpy(np.int16)[at]
    return found


def _word_columns(labels: Mapping[str, str], at: np.ndarray) -> dict[str, object]:
    return {"word": _categories(list(labels), at), "word_group": _categories(list(labels.values()), at)}


def _categories(values: Sequence[str], at: np.ndarray) -> pd.Categorical:
    """`values[at]` without a string for each row."""
    names = list(dict.fromkeys(values))
    code = np.array([names.index(value) for value in values], dtype=np.int32)
    return pd.Categorical.from_codes(code[at] if len(code) else np.zeros(len(at), int), names)
