"""From scores to knowledge neurons (DESIGN.md §4, after Dai et al. 2022, §3.3): coarse, then refined over a group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kn_thesis.errors import UserError
from kn_thesis.given_values import checked_list, checked_share

# Shares are ratios of small counts and thresholds are multiples of 0.05: "more than" must not hang on a last bit.
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class GroupShares:
    """A group's neurons that are coarse in at least one of its prompts, as parallel arrays in order (layer, neuron).

    share: of the group's prompts in which the neuron is coarse. mean_score: over the group's prompts.
    mean_relative_score: mean over them of score / that prompt's largest score (0 where no score is positive).
    """

    group: str
    prompts: int
    layer: np.ndarray
    neuron: np.ndarray
    share: np.ndarray
    mean_score: np.ndarray
    mean_relative_score: np.ndarray


def select_neurons(
    scores: np.ndarray, groups: Sequence[str], *, coarse: float = 0.2, share: float = 0.7
) -> pd.DataFrame:
    """Knowledge neurons of each group of prompts.

    scores (prompts, layers, width); groups (prompts,) names each prompt's group. A neuron is coarse in a prompt when
    its score is above `coarse` × the prompt's largest score (none is where that is not positive), and a knowledge
    neuron of the group when it is coarse in more than `share` of the group's prompts.
    Returns one row per group and neuron: group, layer, neuron (both from 0), share, mean_score, mean_relative_score;
    groups in order of first appearance, then by layer and neuron. Raises UserError for shapes or thresholds that do
    not fit.
    """
    checked_share("share", share)
    frames = [_frame(found, passes(found.share, share)) for found in group_shares(scores, groups, coarse=coarse)]
    if not frames:
        return pd.DataFrame(_frame(_NOTHING, np.zeros(0, dtype=bool)))
    return pd.concat(frames, ignore_index=True)


def group_shares(scores: np.ndarray, groups: Sequence[str], *, coarse: float = 0.2) -> list[GroupShares]:
    """For each group, in order of first appearance, the neurons that are coarse in any of its prompts."""
    checked_share("coarse", coarse)
    scores = np.asarray(scores)
    names = np.asarray([str(group) for group in checked_list("groups", groups)], dtype=object)
    if scores.ndim != 3 or len(names) != len(scores) or not np.issubdtype(scores.dtype, np.number):
        raise UserError(f"scores of shape {scores.shape} and {len(names)} groups: expected (prompts, layers, width)")
    if not np.isfinite(scores).all():
        raise UserError("scores hold values that are not finite; were they computed in float16?")
    width = scores.shape[2]
    found = []
    for name in dict.fromkeys(names):
        part = scores[names == name].reshape(-1, scores.shape[1] * width)
        largest = part.max(axis=1, keepdims=True, initial=0)
        chosen = (part > np.float32(coarse) * largest) & (largest > 0)
        columns = np.flatnonzero(chosen.any(axis=0))
        kept = part[:, columns].astype(np.float64)
        relative = np.divide(kept, largest, out=np.zeros_like(kept), where=largest > 0)
        shares = chosen[:, columns].mean(axis=0)
        layer, neuron = np.divmod(columns, width)
        found.append(GroupShares(name, len(part), layer, neuron, shares, kept.mean(axis=0), relative.mean(axis=0)))
    return found


def adaptive_threshold(
    shares: np.ndarray, *, low: int = 2, high: int = 5, start: float = 0.7, step: float = 0.05, steps: int = 20
) -> float:
    """τ of one group: the sharing threshold at which `low` to `high` neurons remain.

    `shares` are those of the group's neurons. Thresholds tried are multiples of `step` away from `start`: with too
    many neurons the next is higher, with too few lower, never outside [0, 1], `steps` of them at most. Shares have
    few distinct values, so the count may jump over the range between two neighbouring thresholds; the search would
    then go to and fro, and ends at the lower of the two, where neurons are too many rather than too few.
    The last threshold tried is returned if none fits; nan if the group has no coarse neuron at all.
    """
    shares = np.asarray(shares)
    if not shares.size:
        return float("nan")
    number, previous = 0, 0
    for _ in range(steps):
        threshold = round(start + number * step, 10)
        remaining = int(np.count_nonzero(passes(shares, threshold)))
        direction = (remaining > high) - (remaining < low)
        if not direction:
            break
        if direction == -previous:
            number += min(direction, 0)
            break
        following = start + (number + direction) * step
        if not -_TOLERANCE <= following <= 1 + _TOLERANCE:
            break
        number, previous = number + direction, direction
    return round(start + number * step, 10)


def passes(shares: np.ndarray, threshold: float) -> np.ndarray:
    """Which shares are above the threshold, whatever the last bit of either says."""
    return np.asarray(shares) > threshold + _TOLERANCE


def _frame(found: GroupShares, chosen: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "group": pd.Series([found.group] * int(chosen.sum()), dtype=object),
            "layer": found.layer[chosen].astype(np.int32),
            "neuron": found.neuron[chosen].astype(np.int32),
            "share": found.share[chosen],
            "mean_score": found.mean_score[chosen],
            "mean_relative_score": found.mean_relative_score[chosen],
        }
    )


_NOTHING = GroupShares("", 0, *np.zeros((2, 0), dtype=np.int64), *np.zeros((3, 0)))
