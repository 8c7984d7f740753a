"""All prompts of one task in one model, traced: which are, which are not and why, and what each restored state does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from kn_thesis.corpora.gaps import Encoded, encoded_from, is_glued
from kn_thesis.corpora.rank import rank
from kn_thesis.models.length import too_long
from kn_thesis.progress import shown
from kn_thesis.shards import shard
from kn_thesis.tracing.names import NO_CUE, NO_TOKEN, NOT_SAMPLED, TOO_LONG, TRACED, WRONG
from kn_thesis.tracing.prompt import Settings, room_of, trace_prompt
from kn_thesis.tracing.results import Tracing
from kn_thesis.tracing.roles import ROLES, roles, shared_site
from kn_thesis.tracing.runs import standard_deviation
from kn_thesis.tracing.spans import token_span

if TYPE_CHECKING:
    from kn_thesis.corpora.gaps import GapTokenizer
    from kn_thesis.models.load import Model


class _Row(NamedTuple):
    """A prompt that can be traced."""

    number: int
    words: tuple[Encoded, ...]
    cue: tuple[int, int]
    distractor: tuple[int, int] | None


def trace_task(
    model: Model,
    prompts: pd.DataFrame,
    evaluation: pd.DataFrame,
    most: int,
    settings: Settings,
    *,
    item: str | None = None,
    progress: bool = False,
) -> Tracing:
    """Trace up to `most` prompts of a table of prompts that the model gets right, as many clusters as there can be.

    evaluation: `correct` by prompt. A sample ranks prompts by names alone. item: of these, only a shard's (`shards`);
    `gathered` makes a whole of all. With `progress`, a bar on stderr.
    """
    prompts = prompts.reset_index(drop=True)
    clusters = prompts["noun"].where(prompts["kind"] == "paradigm", prompts["group"])
    right = set(evaluation.loc[evaluation["correct"], "prompt"])
    status, rows = [], {}
    for number, prompt in enumerate(prompts.itertuples(index=False)):
        found = _row(model, number, prompt) if prompt.prompt in right else WRONG
        status.append(found if isinstance(found, str) else NOT_SAMPLED)
        if not isinstance(found, str):
            rows[prompt.prompt] = found
    chosen = _spread(list(rows), dict(zip(prompts["prompt"], clusters, strict=True)), most, settings.seed)
    chosen = [chosen[place] for place in shard(len(chosen), item)]
    table = pd.DataFrame({"prompt": prompts["prompt"], "cluster": clusters, "status": status})
    numbers: dict[int, dict[str, Any]] = {}
    frames, room = [], room_of(model, settings)
    deviation = standard_deviation(model.adapter.word_embeddings()) if chosen else None
    for [name] in shown([[name] for name in chosen], len(chosen), "tracing", "prompt", progress):
        row = rows[name]
        found = trace_prompt(model, row.words, row.cue, name, settings, room, deviation)
        numbers[row.number], frame = _tables(model.tokenizer, name, row, found, settings)
        frames.append(frame)
    table.loc[list(numbers), "status"] = TRACED
    numbered = pd.DataFrame.from_dict(numbers, orient="index", columns=list(NUMBERS)).astype(NUMBERS)
    effects = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=EFFECTS)
    categories = {"role": list(ROLES), "restored": list(settings.kinds)}
    for name, values in categories.items():
        effects[name] = pd.Categorical(effects[name], values)
    return Tracing(table.join(numbered), effects.astype(EFFECT_TYPES))


NUMBERS = {
    **dict.fromkeys(("tokens", "gap", "cue_first", "cue_last", "distractor_first", "distractor_last"), "Int16"),
    "shared_site": "boolean",
    **dict.fromkeys(("clean", "corrupted", "clean_preference", "corrupted_preference"), "float64"),
}
EFFECTS = ["prompt", "position", "token", "role", "restored", "layer", "effect", "preference_effect"]
# Stated for the table of nothing traced.
EFFECT_TYPES = {"position": "int16", "layer": "int16", "effect": "float32", "preference_effect": "float32"}


def _row(model: Model, number: int, prompt: Any) -> _Row | str:
    """A prompt of the table, ready to be traced, or why it is not."""
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
    return NO_TOKEN if cue is None else _Row(number, tuple(words), cue, distractor)


def _spread(names: Sequence[str], clusters: Mapping[str, str], most: int, seed: int) -> list[str]:
    """Up to `most` names, one of each cluster before a second of any, in the order in which they were given."""
    turns: dict[str, int] = {}
    order = []
    for place, name in enumerate(sorted(names, key=lambda name: rank("trace", seed, name))):
        turn = turns[clusters[name]] = turns.get(clusters[name], -1) + 1
        order.append((turn, place, name))
    chosen = {name for _, _, name in sorted(order)[:most]}
    return [name for name in names if name in chosen]


def _tables(
    tokenizer: GapTokenizer, name: str, row: _Row, found: Any, settings: Settings
) -> tuple[dict[str, Any], pd.DataFrame]:
    """One prompt's row of `Tracing.prompts`, and its rows of `Tracing.effects`."""
    encoded = row.words[0]
    tokens = len(encoded.input_ids)
    clean, corrupted, effects = found.effects()
    preference = found.preference_effects() if len(row.words) > 1 else (np.nan, np.nan, np.full_like(effects, np.nan))
    first, end = row.distractor or (-1, 0)  # none: −1 for both its tokens
    number = dict(
        zip(
            NUMBERS,
            (
                *(tokens, encoded.gap, row.cue[0], row.cue[1] - 1, first, end - 1),
                *(shared_site(row.cue, encoded.gap), clean, corrupted, preference[0], preference[1]),
            ),
            strict=True,
        )
    )
    kinds, _, layers = effects.shape
    part = roles(tokens, row.cue, encoded.gap, row.distractor)
    written = [tokenizer.tokenizer.id_to_token(token) for token in encoded.input_ids]
    position = np.tile(np.repeat(np.arange(tokens), layers), kinds)
    frame = pd.DataFrame(
        {
            "prompt": name,
            "position": position,
            "token": np.asarray(written, dtype=object)[position],
            "role": np.asarray(part, dtype=object)[position],
            "restored": np.repeat(np.asarray(settings.kinds, dtype=object), tokens * layers),
            "layer": np.tile(np.arange(layers), kinds * tokens),
            "effect": effects.ravel().astype(np.float32),
            "preference_effect": preference[2].ravel().astype(np.float32),
        }
    )
    return number, frame[EFFECTS]
