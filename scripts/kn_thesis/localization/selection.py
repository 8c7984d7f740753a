"""Select knowledge neurons from attribution scores: coarse in each prompt, then refined over a group of prompts.

After Dai et al. (2022, §3.3). A neuron is coarse in a prompt if its score is above 0.2 of the prompt's largest score.
It is a knowledge neuron of a group if it is coarse in more than 0.7 of the group's prompts.

Definitions: docs/method.md §4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kn_thesis.errors import UserError
from kn_thesis.inputs import checked_list, checked_share

# Shares are ratios of small counts and thresholds are multiples of 0.05: rounding must not decide what is "more than".
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class GroupShares:
    """The neurons that are coarse in at least one prompt of a group, as parallel arrays in order of layer and neuron.

    Attributes:
        group: The group's name.
        prompts: Number of its prompts.
        layer: From 0.
        neuron: From 0, in its layer.
        share: Share of the prompts in which the neuron is coarse.
        mean_score: Mean score over the prompts.
        mean_relative_score: Mean of score / the prompt's largest score (0 for a prompt without a positive score).
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
    """Select the knowledge neurons of each group of prompts.

    Args:
        scores: Attribution scores (prompts, layers, width).
        groups: Name of each prompt's group.
        coarse: A coarse neuron's score is above `coarse` × the prompt's largest score. A prompt without a positive
            score has no coarse neuron.
        share: A knowledge neuron is coarse in more than this share of the group's prompts.

    Returns:
        One row per group and knowledge neuron, with the columns group, layer, neuron (both from 0), share, mean_score
        and mean_relative_score (see `GroupShares`). Groups are in order of first appearance, then by layer and neuron.

    Raises:
        UserError: Shapes or thresholds do not fit, or a score is not finite.
    """
    checked_share("share", share)
    frames = [_frame(group, passes(group.share, share)) for group in group_shares(scores, groups, coarse=coarse)]
    if not frames:
        return pd.DataFrame(_frame(_NOTHING, np.zeros(0, dtype=bool)))
    return pd.concat(frames, ignore_index=True)


def group_shares(scores: np.ndarray, groups: Sequence[str], *, coarse: float = 0.2) -> list[GroupShares]:
    """Return the coarse neurons of each group, in order of first appearance; see `select_neurons`."""
    checked_share("coarse", coarse)
    scores = np.asarray(scores)
    names = np.asarray([str(group) for group in checked_list("groups", groups)], dtype=object)
    if scores.ndim != 3 or len(names) != len(scores) or not np.issubdtype(scores.dtype, np.number):
        raise UserError(f"scores of shape {scores.shape} and {len(names)} groups: expected (prompts, layers, width)")
    if not np.isfinite(scores).all():
        raise UserError("scores hold values that are not finite; were they computed in float16?")
    width = scores.shape[2]
    shares = []
    for name in dict.fromkeys(names):
        part = scores[names == name].reshape(-1, scores.shape[1] * width)
        largest = part.max(axis=1, keepdims=True, initial=0)
        is_coarse = (part > np.float32(coarse) * largest) & (largest > 0)
        columns = np.flatnonzero(is_coarse.any(axis=0))
        values = part[:, columns].astype(np.float64)
        relative = np.divide(values, largest, out=np.zeros_like(values), where=largest > 0)
        share = is_coarse[:, columns].mean(axis=0)
        layer, neuron = np.divmod(columns, width)
        shares.append(GroupShares(name, len(part), layer, neuron, share, values.mean(axis=0), relative.mean(axis=0)))
    return shares


def adaptive_threshold(
    shares: np.ndarray, *, low: int = 2, high: int = 5, start: float = 0.7, step: float = 0.05, steps: int = 20
) -> float:
    """Compute τ of one group: the sharing threshold above which `low` to `high` neurons remain.

    The search moves up from a threshold that leaves too many neurons, and down from one that leaves too few. Shares
    have few distinct values, so the count may skip the range between two neighbouring thresholds. The search then
    returns the lower one, which leaves too many neurons rather than too few.

    Args:
        shares: The shares of the group's coarse neurons.
        low: Minimum number of neurons that remain.
        high: Maximum number.
        start: The first threshold.
        step: Distance to the next; thresholds stay within [0, 1].
        steps: Maximum number of thresholds to try.

    Returns:
        τ. If no threshold within [0, 1] fits, the last one tried; after `steps` thresholds, the one that would have
        been next. nan if the group has no coarse neuron.
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
    """Return which shares are above the threshold; equal up to rounding is not above."""
    return np.asarray(shares) > threshold + _TOLERANCE


def _frame(group: GroupShares, selected: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "group": pd.Series([group.group] * int(selected.sum()), dtype=object),
            "layer": group.layer[selected].astype(np.int32),
            "neuron": group.neuron[selected].astype(np.int32),
            "share": group.share[selected],
            "mean_score": group.mean_score[selected],
            "mean_relative_score": group.mean_relative_score[selected],
        }
    )


_NOTHING = GroupShares("", 0, *np.zeros((2, 0), dtype=np.int64), *np.zeros((3, 0)))
