"""Suppress the neurons of one task in one model: every word at every prompt, before and after each set is changed.

`suppress_prompts` selects the sets, draws the controls, and asks the model block by block. `run_queries` turns the
words at a prompt's blank into readings: what the model has to read to give the probability of each word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kn_thesis.corpora.blanks import CannotExpress, is_glued
from kn_thesis.models.adapter import adapter_for
from kn_thesis.models.cloze import Encoded, GapTokenizer, encoded_from, steps
from kn_thesis.models.evaluate import with_target
from kn_thesis.models.memory import blocks, with_progress
from kn_thesis.suppression.intervention import Change, Reading, changed_answers, mean_activations
from kn_thesis.suppression.sets import NeuronSet, control_sample, random_sets, selected_sets
from kn_thesis.suppression.tables import (
    FORMS,
    NUMBERS,
    OWN,
    Outcome,
    SuppressedAnswers,
    Suppression,
    suppression_tables,
)

if TYPE_CHECKING:
    from kn_thesis.models.load import Model


TOO_LONG = "word has too many tokens"


@dataclass(frozen=True)
class Queries:
    """The readings of all prompts, and to which prompt and word their answers belong.

    Attributes:
        readings: What is read; each distinct text of a prompt once.
        place: Prompt and word of each target token, in the order of the readings, int (answers, 2).
        reasons: Why a word cannot be asked at a prompt, by (prompt, word).
    """

    readings: list[Reading]
    place: np.ndarray
    reasons: dict[tuple[int, int], str]

    def gather(self, answers: Sequence[np.ndarray], prompts: int, words: int) -> np.ndarray:
        """Sum the answers over the tokens of each word, which gives the word's log-probability.

        Args:
            answers: Log-probabilities (targets, …) of each reading.
            prompts: Number of prompts.
            words: Number of words.

        Returns:
            Log-probabilities (prompts, words, …); nan where a word cannot be asked.
        """
        stacked = np.concatenate(answers) if answers else np.zeros((0,))
        total = np.zeros((prompts, words, *stacked.shape[1:]), dtype=stacked.dtype)
        np.add.at(total, tuple(self.place.T), stacked)
        has_answer = np.zeros((prompts, words), dtype=bool)
        has_answer[tuple(self.place.T)] = True
        total[~has_answer] = np.nan
        return total


def run_queries(tokenizer: GapTokenizer, prompts: Sequence[Mapping], words: Sequence[str], max_tokens: int) -> Queries:
    """Make the readings for `words`, followed by each prompt's own target and foil.

    At the beginning of a text, words start with a capital letter. A word of several tokens is teacher-forced as in
    attribution: each token has its own reading, in which neurons are changed only at the position that predicts it.

    Args:
        tokenizer: The model's tokenizer.
        prompts: Each with prefix, suffix, optionally glued (see `GapTokenizer.encode`), and the encodings target and
            foil (None if it has no foil).
        words: The words to ask.
        max_tokens: Maximum number of tokens of a word.

    Returns:
        Queries with `len(words) + 2` words per prompt.
    """
    columns = len(words) + 2

    def encode(number: int, column: int) -> Encoded:
        prompt = prompts[number]
        return _encoded(tokenizer, prompt, [*words, prompt["target"], prompt["foil"]][column], max_tokens)

    return make_queries(len(prompts), columns, encode, tokenizer.objective)


def make_queries(prompts: int, words: int, encode: Callable[[int, int], Encoded], objective: str) -> Queries:
    """Make the readings for every prompt and word.

    Args:
        prompts: Number of prompts.
        words: Number of words.
        encode: Encodes a word at a prompt, both given by number, or raises CannotExpress.
        objective: "masked" or "causal".

    Returns:
        Readings in which words of one prompt that need the same text share it.
    """
    targets: dict[tuple[int, tuple[int, ...], int], list[tuple[int, int]]] = {}
    reasons: dict[tuple[int, int], str] = {}
    for number in range(prompts):
        for column in range(words):
            try:
                encoded = encode(number, column)
            except CannotExpress as error:
                reasons[number, column] = error.reason
                continue
            for ids, gap, token in steps(encoded, objective):
                targets.setdefault((number, ids, gap), []).append((column, token))
    readings = [Reading(ids, gap, tuple(token for _, token in pairs)) for (_, ids, gap), pairs in targets.items()]
    place = [(number, column) for (number, _, _), pairs in targets.items() for column, _ in pairs]
    return Queries(readings, np.array(place, dtype=int).reshape(-1, 2), reasons)


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


@dataclass(frozen=True)
class Settings:
    """Settings of suppression.

    Attributes:
        operations: Keys of `intervention.OPERATIONS`.
        words: Words of each group (plural, singular, biased, neutral).
        random_sets: Number of control sets per set.
        random_prompts: Maximum number of prompts that control sets are tried on.
        nearest: See `sets.random_sets`.
        max_target_tokens: Maximum number of tokens of a word.
        seed: Seed of the control sets and their sample of prompts.
        coarse: See `select_neurons`.
        share: See `select_neurons`.
        neuron: What the scores were attributed to, and therefore what is changed; see `adapter_for`.
        batch_tokens: Maximum rows × tokens in memory at once.
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


def suppress_task(
    model: Model, prompts: pd.DataFrame, scores: np.ndarray, attributed: Sequence[str], settings: Settings
) -> Suppression:
    """Suppress a whole task and build its tables; see `suppress_prompts` and `suppression_tables`."""
    return suppression_tables(suppress_prompts(model, prompts, scores, attributed, settings), prompts)


def suppress_prompts(
    model: Model,
    prompts: pd.DataFrame,
    scores: np.ndarray,
    attributed: Sequence[str],
    settings: Settings,
    places: range | None = None,
) -> SuppressedAnswers:
    """Change every set of a paradigm's knowledge neurons under every operation, at every prompt.

    Args:
        model: The model.
        prompts: The task's whole table of prompts.
        scores: Attribution scores (attributed, layers, width).
        attributed: Names of the prompts that the scores belong to.
        settings: Settings of suppression.
        places: Places of the prompts to ask, a shard of whole blocks; None asks all. The sets are always those of the
            whole task.

    Returns:
        Answers at the prompts of the shard.

    Raises:
        UserError: A prompt does not fit in memory, or an answer is not finite.
    """
    model = replace(model, adapter=adapter_for(model.adapter, settings.neuron))
    prompts = prompts.reset_index(drop=True)
    places = range(len(prompts)) if places is None else places
    about = prompts.set_index("prompt").loc[list(attributed)]
    selected = selected_sets(
        scores, list(about["group"]), list(about["number"]), coarse=settings.coarse, share=settings.share
    )
    targets = [encoded_from(row["input_ids"], row["gap"], row["target_ids"]) for row in prompts.to_dict("records")]
    means = mean_activations(model, targets, settings.batch_tokens)
    words = {word: group for group, members in settings.words.items() for word in members}
    both = any(one.kind == "number" for one in selected)
    labels = words | ({FORMS[n]: n for n in NUMBERS} if both else {OWN[name]: name for name in OWN})
    nonempty = [one for one in selected if len(one.layer)]
    controls = [
        control
        for one in nonempty
        for control in random_sets(one, means, settings.random_sets, settings.nearest, settings.seed)
    ]
    sample = set(control_sample(list(prompts["prompt"]), settings.random_prompts, settings.seed))

    def changes(sets: Sequence[NeuronSet]) -> list[Change]:
        return [Change(one.layer, one.neuron, operation) for one in sets for operation in settings.operations]

    def ask(rows: pd.DataFrame, under: list[Change]) -> tuple[Outcome, Mapping[tuple[int, int], str]]:
        if not len(rows):
            none = np.zeros((0, len(labels)))
            after = np.zeros((0, len(labels), len(under)), dtype=np.float32)
            return Outcome(none, after, none[:, 0] > 0, after[:, 0] > 0), {}
        records = _records(model, rows, [targets[n] for n in rows.index])
        queries = run_queries(model.tokenizer, records, list(words), settings.max_target_tokens)
        answers = changed_answers(model, queries.readings, under, means, settings.batch_tokens)
        before, after = (queries.gather(part, len(rows), len(labels)) for part in answers)
        correct = (x[:, len(words)] > x[:, len(words) + 1] for x in (before, after))
        by_form = (_by_form(x, rows["number"], len(words)) if both else x for x in (before, after))
        return Outcome(*by_form, *correct), queries.reasons

    parts: list[tuple[Outcome, Outcome]] = []
    reasons: dict[tuple[int, int], str] = {}
    for block in with_progress(list(blocks(places)) or [range(0)], len(places), "suppression", "prompt", True):
        own, own_reasons = ask(prompts.loc[list(block)], changes(nonempty))
        random, _ = ask(prompts.loc[[place for place in block if place in sample]], changes(controls))
        parts.append((own, random))
        reasons |= {(block.start - places.start + place, word): reason for (place, word), reason in own_reasons.items()}
    return SuppressedAnswers(
        list(prompts["prompt"].iloc[list(places)]),
        np.array([place in sample for place in places], dtype=bool),
        labels,
        list(settings.operations),
        _sets_table([*selected, *controls], means),
        *(Outcome(*map(np.concatenate, zip(*arrays, strict=True))) for arrays in zip(*parts, strict=True)),
        reasons,
    )


def _records(model: Model, rows: pd.DataFrame, targets: Sequence[Encoded]) -> list[dict[str, object]]:
    """Prompts as `run_queries` takes them, with their own target and foil."""
    records: list[dict[str, object]] = []
    for row, target in zip(rows.to_dict("records"), targets, strict=True):
        foil = tuple(map(int, row["foil_ids"]))
        other = with_target(target, foil, model.adapter.objective) if foil else None
        text = {"prefix": row["prefix"], "suffix": row["suffix"], "glued": is_glued(row["prefix"], row["text"])}
        records.append(text | {"target": target, "foil": other})
    return records


def _by_form(log: np.ndarray, numbers: pd.Series, words: int) -> np.ndarray:
    """Log-probabilities with target and foil reordered as singular and plural form; nan if the number is not known."""
    forms = log.copy()
    plural = (numbers == "plural").to_numpy()
    forms[plural, words], forms[plural, words + 1] = log[plural, words + 1], log[plural, words]
    forms[~numbers.isin(NUMBERS).to_numpy(), words:] = np.nan
    return forms


def _sets_table(sets: Sequence[NeuronSet], means: np.ndarray) -> pd.DataFrame:
    columns = {
        "set": [one.name for one in sets],
        "kind": [one.kind for one in sets],
        "draw": [one.draw for one in sets],
        "neurons": [len(one.layer) for one in sets],
        "members": [one.members for one in sets],
        "refined_over": [one.prompts for one in sets],
        "mean_activation": [means[one.layer, one.neuron].mean() if len(one.layer) else None for one in sets],
    }
    return pd.DataFrame(columns)
