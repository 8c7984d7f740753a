"""Trace one task in one model: choose the prompts, trace each, and record why the others are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from kn_thesis.corpora.blanks import is_glued
from kn_thesis.corpora.sampling import hash_rank
from kn_thesis.models.cloze import Encoded, encoded_from, token_span, too_long
from kn_thesis.models.memory import shard_of, with_progress
from kn_thesis.tracing.corruption import standard_deviation
from kn_thesis.tracing.tables import (
    NO_CUE,
    NO_TOKEN,
    NOT_SAMPLED,
    ROLES,
    TOO_LONG,
    TRACED,
    WRONG,
    Tracing,
    roles,
    shared_site,
)
from kn_thesis.tracing.trace import Probabilities, Settings, memory_budget_of, trace_prompt

if TYPE_CHECKING:
    from kn_thesis.models.cloze import GapTokenizer
    from kn_thesis.models.load import Model


# Columns and dtypes of `Tracing.prompts` that only traced prompts have.
NUMBERS = {
    **dict.fromkeys(("tokens", "gap", "cue_first", "cue_last", "distractor_first", "distractor_last"), "Int16"),
    "shared_site": "boolean",
    **dict.fromkeys(("clean", "corrupted", "clean_preference", "corrupted_preference"), "float64"),
}
EFFECTS = ["prompt", "position", "token", "role", "restored", "layer", "effect", "preference_effect"]
# Stated so that a table without rows has them, too.
EFFECT_TYPES = {"position": "int16", "layer": "int16", "effect": "float32", "preference_effect": "float32"}


class _Candidate(NamedTuple):
    """A prompt that can be traced."""

    number: int
    words: tuple[Encoded, ...]
    cue: tuple[int, int]
    distractor: tuple[int, int] | None


def trace_task(
    model: Model,
    prompts: pd.DataFrame,
    evaluation: pd.DataFrame,
    max_prompts: int,
    settings: Settings,
    *,
    item: str | None = None,
    progress: bool = False,
) -> Tracing:
    """Trace prompts that the model answers correctly, from as many clusters as possible.

    The sample ranks prompts by their names only, so that it does not depend on the order or on other prompts.

    Args:
        model: The model.
        prompts: The task's table of prompts.
        evaluation: A table with the columns prompt and correct.
        max_prompts: Maximum number of prompts to trace.
        settings: How prompts are corrupted and patched.
        item: Trace only this shard of the sample (see `sharding.shard_of`); `concat_tracing` joins the shards.
        progress: Whether to show a progress bar on stderr.

    Returns:
        The tables of the task, with every prompt and the effects of those traced.

    Raises:
        UserError: A prompt does not fit in memory, or has no finite answer.
    """
    prompts = prompts.reset_index(drop=True)
    clusters = prompts["noun"].where(prompts["kind"] == "paradigm", prompts["group"])
    right = set(evaluation.loc[evaluation["correct"], "prompt"])
    status, candidates = [], {}
    for number, prompt in enumerate(prompts.itertuples(index=False)):
        candidate = _candidate(model, number, prompt) if prompt.prompt in right else WRONG
        status.append(candidate if isinstance(candidate, str) else NOT_SAMPLED)
        if not isinstance(candidate, str):
            candidates[prompt.prompt] = candidate
    sample = _sample(list(candidates), dict(zip(prompts["prompt"], clusters, strict=True)), max_prompts, settings.seed)
    sample = [sample[place] for place in shard_of(len(sample), item)]
    table = pd.DataFrame({"prompt": prompts["prompt"], "cluster": clusters, "status": status})
    numbers: dict[int, dict[str, Any]] = {}
    frames, budget = [], memory_budget_of(model, settings)
    deviation = standard_deviation(model.adapter.word_embeddings()) if sample else None
    for [name] in with_progress([[name] for name in sample], len(sample), "tracing", "prompt", progress):
        candidate = candidates[name]
        probabilities = trace_prompt(model, candidate.words, candidate.cue, name, settings, budget, deviation)
        numbers[candidate.number], frame = _tables(model.tokenizer, name, candidate, probabilities, settings)
        frames.append(frame)
    table.loc[list(numbers), "status"] = TRACED
    values = pd.DataFrame.from_dict(numbers, orient="index", columns=list(NUMBERS)).astype(NUMBERS)
    effects = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=EFFECTS)
    categories = {"role": list(ROLES), "restored": list(settings.kinds)}
    for name, names in categories.items():
        effects[name] = pd.Categorical(effects[name], names)
    return Tracing(table.join(values), effects.astype(EFFECT_TYPES))


def _candidate(model: Model, number: int, prompt: Any) -> _Candidate | str:
    """A prompt of the table, ready to be traced, or why it cannot be."""
    if prompt.cue_at < 0:
        return NO_CUE
    target = encoded_from(prompt.input_ids, prompt.gap, prompt.target_ids)
    words = [target]
    if len(prompt.foil_ids):
        # The foil stands in the same place; a masked one has as many masks as the target.
        words.append(encoded_from(prompt.input_ids, prompt.gap, prompt.foil_ids))
    if too_long(model, words):
        return TOO_LONG
    text, glued = (prompt.prefix, prompt.suffix, prompt.target), is_glued(prompt.prefix, prompt.text)
    cue, distractor = (
        token_span(model.tokenizer, *text, at, at + len(stretch), glued) if at >= 0 else None
        for stretch, at in ((prompt.cue, prompt.cue_at), (prompt.distractor, prompt.distractor_at))
    )
    return NO_TOKEN if cue is None else _Candidate(number, tuple(words), cue, distractor)


def _sample(names: Sequence[str], clusters: Mapping[str, str], max_prompts: int, seed: int) -> list[str]:
    """At most `max_prompts` names in their order, one of each cluster before a second of any."""
    turns: dict[str, int] = {}
    order = []
    for place, name in enumerate(sorted(names, key=lambda name: hash_rank("trace", seed, name))):
        turn = turns[clusters[name]] = turns.get(clusters[name], -1) + 1
        order.append((turn, place, name))
    sample = {name for _, _, name in sorted(order)[:max_prompts]}
    return [name for name in names if name in sample]


def _tables(
    tokenizer: GapTokenizer, name: str, candidate: _Candidate, probabilities: Probabilities, settings: Settings
) -> tuple[dict[str, Any], pd.DataFrame]:
    """One prompt's row of `Tracing.prompts`, and its rows of `Tracing.effects`."""
    encoded, cue = candidate.words[0], candidate.cue
    tokens = len(encoded.input_ids)
    clean, corrupted, effects = probabilities.effects()
    nothing = (np.nan, np.nan, np.full_like(effects, np.nan))
    preference = probabilities.preference_effects() if len(candidate.words) > 1 else nothing
    first, end = candidate.distractor or (-1, 0)  # none: −1 for both its tokens
    values = (
        *(tokens, encoded.gap, cue[0], cue[1] - 1, first, end - 1),
        *(shared_site(cue, encoded.gap), clean, corrupted, preference[0], preference[1]),
    )
    kinds, _, layers = effects.shape
    part = roles(tokens, cue, encoded.gap, candidate.distractor)
    texts = [tokenizer.tokenizer.id_to_token(token) for token in encoded.input_ids]
    position = np.tile(np.repeat(np.arange(tokens), layers), kinds)
    frame = pd.DataFrame(
        {
            "prompt": name,
            "position": position,
            "token": np.asarray(texts, dtype=object)[position],
            "role": np.asarray(part, dtype=object)[position],
            "restored": np.repeat(np.asarray(settings.kinds, dtype=object), tokens * layers),
            "layer": np.tile(np.arange(layers), kinds * tokens),
            "effect": effects.ravel().astype(np.float32),
            "preference_effect": preference[2].ravel().astype(np.float32),
        }
    )
    return dict(zip(NUMBERS, values, strict=True)), frame[EFFECTS]
