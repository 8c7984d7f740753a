"""One paradigm in one model: every studied word at every prompt, before and after each set of neurons is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kn_thesis.corpora.gaps import Encoded, encoded_from, is_glued
from kn_thesis.models.evaluate import with_target
from kn_thesis.models.preactivation import adapter_for
from kn_thesis.progress import shown
from kn_thesis.shards import blocks
from kn_thesis.suppression.answers import Answers, Said
from kn_thesis.suppression.effects import Suppression, suppression_tables
from kn_thesis.suppression.names import FORMS, NUMBERS, OWN
from kn_thesis.suppression.restart import Change, changed_answers, mean_activations
from kn_thesis.suppression.sets import NeuronSet, control_sample, random_sets, selected_sets
from kn_thesis.suppression.words import ask

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


def suppress_task(
    model: Model, prompts: pd.DataFrame, scores: np.ndarray, attributed: Sequence[str], settings: Settings
) -> Suppression:
    """The tables of a whole task; see `suppress_prompts` and `suppression_tables`."""
    return suppression_tables(suppress_prompts(model, prompts, scores, attributed, settings), prompts)


def suppress_prompts(
    model: Model,
    prompts: pd.DataFrame,
    scores: np.ndarray,
    attributed: Sequence[str],
    settings: Settings,
    places: range | None = None,
) -> Answers:
    """Change every set of a paradigm's knowledge neurons under every operation, at every prompt.

    `prompts` is the task's whole table; `scores` (attributed, layers, width) are those of the prompts named.
    places: of the prompts that are asked, a shard of whole blocks (None: all); the sets are of the whole task.
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
    words = {word: group for group, listed in settings.words.items() for word in listed}
    both = any(one.kind == "number" for one in selected)
    labels = words | ({FORMS[n]: n for n in NUMBERS} if both else {OWN[name]: name for name in OWN})
    some = [one for one in selected if len(one.layer)]
    draws = [
        draw for one in some for draw in random_sets(one, means, settings.random_sets, settings.nearest, settings.seed)
    ]
    sample = set(control_sample(list(prompts["prompt"]), settings.random_prompts, settings.seed))

    def changes(sets: Sequence[NeuronSet]) -> list[Change]:
        return [Change(one.layer, one.neuron, operation) for one in sets for operation in settings.operations]

    def said(rows: pd.DataFrame, under: list[Change]) -> tuple[Said, Mapping[tuple[int, int], str]]:
        if not len(rows):
            none = np.zeros((0, len(labels)))
            after = np.zeros((0, len(labels), len(under)), dtype=np.float32)
            return Said(none, after, none[:, 0] > 0, after[:, 0] > 0), {}
        records = _records(model, rows, [targets[n] for n in rows.index])
        asked = ask(model.tokenizer, records, list(words), settings.max_target_tokens)
        found = changed_answers(model, asked.readings, under, means, settings.batch_tokens)
        before, after = (asked.gather(part, len(rows), len(labels)) for part in found)
        correct = (x[:, len(words)] > x[:, len(words) + 1] for x in (before, after))
        by_form = (_by_form(x, rows["number"], len(words)) if both else x for x in (before, after))
        return Said(*by_form, *correct), asked.reasons

    parts: list[tuple[Said, Said]] = []
    reasons: dict[tuple[int, int], str] = {}
    for block in shown(list(blocks(places)) or [range(0)], len(places), "suppression", "prompt", True):
        own, why = said(prompts.loc[list(block)], changes(some))
        random, _ = said(prompts.loc[[place for place in block if place in sample]], changes(draws))
        parts.append((own, random))
        reasons |= {(block.start - places.start + place, word): reason for (place, word), reason in why.items()}
    return Answers(
        list(prompts["prompt"].iloc[list(places)]),
        np.array([place in sample for place in places], dtype=bool),
        labels,
        list(settings.operations),
        _sets([*selected, *draws], means),
        *(Said(*map(np.concatenate, zip(*arrays, strict=True))) for arrays in zip(*parts, strict=True)),
        reasons,
    )


def _records(model: Model, rows: pd.DataFrame, targets: Sequence[Encoded]) -> list[dict[str, object]]:
    """What each prompt is asked besides the words: its own target and foil."""
    records: list[dict[str, object]] = []
    for row, target in zip(rows.to_dict("records"), targets, strict=True):
        foil = tuple(map(int, row["foil_ids"]))
        other = with_target(target, foil, model.adapter.objective) if foil else None
        text = {"prefix": row["prefix"], "suffix": row["suffix"], "glued": is_glued(row["prefix"], row["text"])}
        records.append(text | {"target": target, "foil": other})
    return records


def _by_form(log: np.ndarray, numbers: pd.Series, words: int) -> np.ndarray:
    """The same with each prompt's own two words as singular and plural form; nan where its number is not known."""
    forms = log.copy()
    plural = (numbers == "plural").to_numpy()
    forms[plural, words], forms[plural, words + 1] = log[plural, words + 1], log[plural, words]
    forms[~numbers.isin(NUMBERS).to_numpy(), words:] = np.nan
    return forms


def _sets(sets: Sequence[NeuronSet], means: np.ndarray) -> pd.DataFrame:
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
