"""Every studied word at every prompt of a task, before and after each set of neurons is changed; and random sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kn_thesis.corpora.gaps import Encoded, encoded_from
from kn_thesis.models.evaluate import with_target
from kn_thesis.models.preactivation import adapter_for
from kn_thesis.suppression.names import FORMS, NUMBERS, OWN
from kn_thesis.suppression.restart import Change, changed_answers, mean_activations
from kn_thesis.suppression.sets import NeuronSet, control_sample, random_sets, selected_sets
from kn_thesis.suppression.words import Questions, ask

if TYPE_CHECKING:
    from kn_thesis.models.load import Model


@dataclass(frozen=True)
class Settings:
    """What is changed, and what is looked at.

    words: group (plural, singular, biased, neutral) to words. random_sets: per set; random_prompts: most prompts they
    are tried on; nearest: see `random_sets`. coarse, share: see `select_neurons`. neuron: what the scores are of, and
    so what is changed; see `adapter_for`.
    """

    operations: Sequence[str]
    words: Mapping[str, Sequence[str]]
    random_sets: int
    random_prompts: int
    nearest: int
    max_target_tokens: int
    seed: int
    coarse: float
    share: float
    neuron: str
    batch_tokens: int = 4096


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


def suppress_task(
    model: Model, prompts: pd.DataFrame, scores: np.ndarray, attributed: Sequence[str], settings: Settings
) -> Suppression:
    """Change every set of a paradigm's knowledge neurons under every operation, at every prompt.

    `prompts` is the task's table of prompts; `scores` (attributed, layers, width) are those of the prompts named.
    """
    model = replace(model, adapter=adapter_for(model.adapter, settings.neuron))
    prompts = prompts.reset_index(drop=True)
    about = prompts.set_index("prompt").loc[list(attributed)]
    selected = selected_sets(
        scores, list(about["group"]), list(about["number"]), coarse=settings.coarse, share=settings.share
    )
    targets = [encoded_from(row["input_ids"], row["gap"], row["target_ids"]) for row in prompts.to_dict("records")]
    means = mean_activations(model, targets, settings.batch_tokens)
    words = {word: group for group, listed in settings.words.items() for word in listed}
    both = any(one.kind == "number" for one in selected)
    labels = words | ({FORMS[n]: n for n in NUMBERS} if both else {OWN[name]: name for name in OWN})

    def answers(rows: pd.DataFrame, changed: list[Key], bar: bool) -> _Answers:
        asked = _questions(model, rows, [targets[n] for n in rows.index], list(words), settings.max_target_tokens)
        changes = [Change(one.layer, one.neuron, operation) for one, operation in changed]
        found = changed_answers(model, asked.readings, changes, means, settings.batch_tokens, bar)
        before, after = (asked.gather(part, len(rows), len(labels)) for part in found)
        correct = (x[:, len(words)] > x[:, len(words) + 1] for x in (before, after))
        by_form = (_by_form(x, rows["number"], len(words)) if both else x for x in (before, after))
        return _Answers(changed, *by_form, *correct, asked.reasons)

    some = [one for one in selected if len(one.layer)]
    effects = answers(prompts, [(one, operation) for one in some for operation in settings.operations], False)
    sample = control_sample(list(prompts["prompt"]), settings.random_prompts, settings.seed)
    draws = [
        draw for one in some for draw in random_sets(one, means, settings.random_sets, settings.nearest, settings.seed)
    ]
    random = answers(
        prompts.loc[sample], [(one, operation) for one in draws for operation in settings.operations], True
    )
    compared = _Answers(
        effects.keys + random.keys,
        random.before,
        np.concatenate([effects.after[sample], random.after], axis=2),
        random.correct_before,
        np.concatenate([effects.correct_after[sample], random.correct_after], axis=1),
        {},
    )
    return Suppression(
        _effects(prompts["prompt"], labels, effects),
        _controls(labels, compared),
        _sets(prompts.loc[sample], selected, compared, means, settings.operations),
        _words(labels, len(words), effects, len(prompts)),
    )


Key = tuple[NeuronSet, str]  # a set and the operation


@dataclass(frozen=True)
class _Answers:
    """Log-probabilities before (prompts, words) and after (prompts, words, keys); does target beat foil; why not."""

    keys: list[Key]
    before: np.ndarray
    after: np.ndarray
    correct_before: np.ndarray
    correct_after: np.ndarray
    reasons: Mapping[tuple[int, int], str]


def _questions(
    model: Model, rows: pd.DataFrame, targets: Sequence[Encoded], words: Sequence[str], longest: int
) -> Questions:
    """What to read for the words, and for each prompt's own."""
    prompts = []
    for row, target in zip(rows.to_dict("records"), targets, strict=True):
        foil = tuple(map(int, row["foil_ids"]))
        other = with_target(target, foil, model.adapter.objective) if foil else None
        prompts.append({"prefix": row["prefix"], "suffix": row["suffix"], "target": target, "foil": other})
    return ask(model.tokenizer, prompts, words, longest)


def _by_form(log: np.ndarray, numbers: pd.Series, words: int) -> np.ndarray:
    """The same with each prompt's own two words as singular and plural form; nan where its number is not known."""
    forms = log.copy()
    plural = (numbers == "plural").to_numpy()
    forms[plural, words], forms[plural, words + 1] = log[plural, words + 1], log[plural, words]
    forms[~numbers.isin(NUMBERS).to_numpy(), words:] = np.nan
    return forms


def _effects(prompts: pd.Series, labels: Mapping[str, str], answers: _Answers) -> pd.DataFrame:
    """One row per prompt, set, operation and word that can be asked there."""
    change = (answers.after - answers.before[:, :, None]).transpose(0, 2, 1)
    at = [np.broadcast_to(x, change.shape) for x in np.ix_(*(range(n) for n in change.shape))]
    known = np.isfinite(change)
    prompt, key, word = (x[known] for x in at)
    before = np.broadcast_to(answers.before[:, None], change.shape)[known]
    return pd.DataFrame(
        {
            "prompt": pd.Categorical.from_codes(prompt, list(prompts)),
            **_key_columns(answers.keys, key, draw=False),
            **_word_columns(labels, word),
            "before": np.exp(before).astype(np.float32),
            "after": np.exp(before + change[known]).astype(np.float32),
            "log_change": change[known].astype(np.float32),
        }
    )


def _controls(labels: Mapping[str, str], answers: _Answers) -> pd.DataFrame:
    """One row per set, draw, operation and word: means over the prompts where the word can be asked."""
    change = answers.after - answers.before[:, :, None]
    known = np.isfinite(change)
    count = known.sum(axis=0)

    def mean(x: np.ndarray) -> np.ndarray:
        total = np.where(known, x, 0).sum(axis=0, dtype=np.float64)
        return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0).T.ravel()

    words, keys = count.shape
    key, word = np.repeat(np.arange(keys), words), np.tile(np.arange(words), keys)
    return pd.DataFrame(
        {
            **_key_columns(answers.keys, key),
            **_word_columns(labels, word),
            "prompts": count.T.ravel(),
            "before": mean(np.exp(answers.before)[:, :, None]),
            "after": mean(np.exp(answers.after)),
            "log_change": mean(change),
        }
    )


def _sets(
    rows: pd.DataFrame, selected: Sequence[NeuronSet], answers: _Answers, means: np.ndarray, operations: Sequence[str]
) -> pd.DataFrame:
    """One row per set, draw and operation; sets without a neuron among them."""
    keys = answers.keys + [(one, operation) for one in selected if not len(one.layer) for operation in operations]
    after = dict(zip(map(id, answers.keys), answers.correct_after.T, strict=True))
    table = []
    for key in keys:
        one, operation = key
        own = (rows["number"] if one.kind == "number" else rows["group"]).to_numpy() == one.name
        right = after.get(id(key), answers.correct_before)
        table.append(
            {
                "set": one.name,
                "kind": one.kind,
                "draw": one.draw,
                "operation": operation,
                "neurons": len(one.layer),
                "members": one.members,
                "refined_over": one.prompts,
                "mean_activation": means[one.layer, one.neuron].mean() if len(one.layer) else np.nan,
                "own_prompts": int(own.sum()),
                "correct_before": int(answers.correct_before[own].sum()),
                "correct_after": int(right[own].sum()),
            }
        )
    return pd.DataFrame(table)


def _words(labels: Mapping[str, str], words: int, answers: _Answers, prompts: int) -> pd.DataFrame:
    """One row per word: where it is asked, and why not elsewhere."""
    asked = np.isfinite(answers.before).sum(axis=0)
    reasons: dict[int, Counter[str]] = {}
    for (_, word), reason in answers.reasons.items():
        reasons.setdefault(word, Counter())[reason] += 1
    why = [reasons[n].most_common(1)[0][0] if n in reasons else "" for n in range(len(labels))]
    return pd.DataFrame(
        {
            "word": list(labels),
            "word_group": list(labels.values()),
            "prompts": asked,
            "left_out": prompts - asked,
            "reason": [reason or ("number is not known" if asked[n] < prompts else "") for n, reason in enumerate(why)],
        }
    )


def _key_columns(keys: Sequence[Key], at: np.ndarray, draw: bool = True) -> dict[str, object]:
    columns = {
        "set": [one.name for one, _ in keys],
        "kind": [one.kind for one, _ in keys],
        "operation": [operation for _, operation in keys],
    }
    found: dict[str, object] = {name: _categories(values, at) for name, values in columns.items()}
    if draw:
        found["draw"] = np.array([one.draw for one, _ in keys], dtype=np.int16)[at]
    return found


def _word_columns(labels: Mapping[str, str], at: np.ndarray) -> dict[str, object]:
    return {"word": _categories(list(labels), at), "word_group": _categories(list(labels.values()), at)}


def _categories(values: Sequence[str], at: np.ndarray) -> pd.Categorical:
    """`values[at]` without a string for each row."""
    names = list(dict.fromkeys(values))
    code = np.array([names.index(value) for value in values], dtype=np.int32)
    return pd.Categorical.from_codes(code[at] if len(code) else np.zeros(len(at), int), names)
