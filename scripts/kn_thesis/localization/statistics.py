"""How local a task is: |KN|, τ and R²₁ (DESIGN.md §4) with intervals, and what integration missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from kn_thesis.errors import UserError
from kn_thesis.localization.results import Attribution
from kn_thesis.localization.selection import adaptive_threshold, group_shares, passes

MEASURES = ("KN", "tau", "R2_1")
RESIDUAL = 0.05  # residual_relative above which scores are not to be relied on
_SHUFFLES = 10
_AT_ONCE = 200  # resampled Gram matrices in memory at once


def select_in_task(
    attribution: Attribution,
    names: Sequence[str],
    prompts: pd.DataFrame,
    about: Mapping[str, str],
    settings: Mapping[str, Any],
    kind: str,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Neurons and measures of one task, both with the columns of `about` (model, task) in front.

    names: the attributed prompts, in order. prompts: the task's table, with columns prompt, group and number; it may be
    empty. settings: coarse, share, adaptive and bootstrap. kind: "paradigm" or "relation". The measures are one row:
    kind, and those of `localization_statistics`; the neurons are `neuron_table`'s. Raises UserError for a prompt that
    the table lacks.
    """
    prompts = prompts.set_index("prompt")
    if absent := sorted(set(names) - set(prompts.index)):
        raise UserError(f"{about['task']}: prompt {absent[0]} is attributed but not in the table; attribute anew")
    prompts = prompts.loc[list(names)]
    groups, thresholds = list(prompts["group"]), {key: settings[key] for key in ("coarse", "share")}
    numbers = dict(zip(prompts["group"], prompts["number"], strict=True))
    neurons = neuron_table(attribution.scores, groups, numbers, **thresholds)
    measures = localization_statistics(
        attribution, groups, **thresholds, adaptive=settings["adaptive"], **settings["bootstrap"]
    )
    for number, (key, value) in enumerate(about.items()):
        neurons.insert(number, key, value)
    return neurons, pd.DataFrame([{**about, "kind": kind, **measures}])


def localization_statistics(
    attribution: Attribution,
    groups: Sequence[str],
    *,
    coarse: float = 0.2,
    share: float = 0.7,
    adaptive: Mapping[str, float] | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 1,
) -> dict[str, float]:
    """The measures of one task from the attribution of its prompts and the group of each (groups in order).

    Keys: layers, neurons (all of the model's MLPs), prompts, groups; KN, tau, R2_1, each also with _low and _high
    (percentile bootstrap over groups); KN_shuffled, which is |KN| when the prompts are dealt out at random to groups of
    the same sizes (mean of 10 deals): what sharing without regard to the group gives; residual_mean, residual_max
    (absolute, over prompts and layers, as probabilities) and residual_relative (mean over prompts of the largest
    absolute residual of a layer / mean P(w̄)): a mean over layers would hide a layer that misses everything.
    nan where a measure does not exist, as R²₁ of one prompt, or any measure of no prompt.
    """
    names = np.asarray([str(group) for group in groups], dtype=object)
    random = np.random.default_rng(seed)
    found = group_shares(attribution.scores, names, coarse=coarse)
    neurons = np.array([np.count_nonzero(passes(group.share, share)) for group in found], dtype=float)
    thresholds = np.array([adaptive_threshold(group.share, **(adaptive or {})) for group in found], dtype=float)
    place = {group.group: number for number, group in enumerate(found)}
    member = np.array([place[name] for name in names], dtype=int)
    pairs, counted = cosine_gram(attribution.scores)
    _, depth, width = attribution.scores.shape
    row: dict[str, float] = {"layers": depth, "neurons": depth * width, "prompts": len(names), "groups": len(found)}
    if not found:
        nothing = [*(f"{m}{end}" for m in MEASURES for end in ("", "_low", "_high")), "KN_shuffled"]
        return row | dict.fromkeys([*nothing, "residual_mean", "residual_max", "residual_relative"], float("nan"))
    draws = random.integers(len(found), size=(resamples, len(found)))
    times = np.stack([(draws == group).sum(axis=1) for group in range(len(found))], axis=1)
    samples = {
        "KN": (neurons.mean(), neurons[draws].mean(axis=1)),
        "tau": (_mean(thresholds), _mean(thresholds[draws])),
        "R2_1": (
            float(shared_direction(pairs, counted[None].astype(float))[0]),
            shared_direction(pairs, times[:, member] * counted),
        ),
    }
    for name, (value, resampled) in samples.items():
        row[name] = float(value)
        row[f"{name}_low"], row[f"{name}_high"] = _interval(resampled, confidence)
    shuffled = [group_shares(attribution.scores, random.permutation(names), coarse=coarse) for _ in range(_SHUFFLES)]
    row["KN_shuffled"] = float(np.mean([np.count_nonzero(passes(g.share, share)) for s in shuffled for g in s]))
    missed = np.abs(attribution.residuals.astype(np.float64))
    row["residual_mean"], row["residual_max"] = float(missed.mean()), float(missed.max())
    row["residual_relative"] = float(missed.max(axis=1).mean() / attribution.probability.astype(np.float64).mean())
    return row


def say_residuals(statistics: pd.DataFrame) -> list[str]:
    """A sentence for each model whose integration is too coarse; `statistics` has model, task and residual_relative."""
    lines = []
    for model, rows in statistics[statistics["residual_relative"] > RESIDUAL].groupby("model", sort=False):
        tasks = ", ".join(f"{row.task} ({row.residual_relative:.0%})" for row in rows.itertuples())
        lines.append(
            f"{model}: the quadrature misses more than {RESIDUAL:.0%} of the target's probability in {tasks}: "
            "take more nodes (attribution.nodes)"
        )
    return lines


def cosine_gram(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines between the prompts' scores, float64 (prompts, prompts), and which prompts have any score but 0."""
    rows = scores.reshape(len(scores), scores.shape[1] * scores.shape[2]).astype(np.float64)
    length = np.linalg.norm(rows, axis=1)
    unit = np.divide(rows, length[:, None], out=np.zeros_like(rows), where=length[:, None] > 0)
    return unit @ unit.T, length > 0


def shared_direction(gram: np.ndarray, times: np.ndarray) -> np.ndarray:
    """R²₁ = (s₀² − 1)/(n − 1) for samples that hold prompt i `times[:, i]` times; nan for fewer than two prompts.

    `gram` (n, n) are cosines of the n prompts, times (samples, n) ≥ 0. s₀² − 1 is the largest eigenvalue of the Gram
    matrix without its diagonal, that is without each prompt's likeness to itself. A resampled prompt is no more like
    its own copy than like itself, so pairs of copies are left out too, and n − 1 becomes n − Σ times²/n, n = Σ times.
    With copies counted, R²₁ of a bootstrap sample would be too high by about one part in the number of groups.
    """
    pairs = gram - np.diag(np.diag(gram))
    times = np.asarray(times, dtype=np.float64)
    total = times.sum(axis=1)
    others = total - np.divide((times**2).sum(axis=1), total, out=np.zeros_like(total), where=total > 0)
    largest = np.empty(len(times))
    for start in range(0, len(times), _AT_ONCE):
        root = np.sqrt(times[start : start + _AT_ONCE])
        largest[start : start + _AT_ONCE] = np.linalg.eigvalsh(root[:, :, None] * pairs * root[:, None, :])[:, -1]
    return np.divide(largest, others, out=np.full_like(others, np.nan), where=others > 1e-9)


def neuron_table(
    scores: np.ndarray,
    groups: Sequence[str],
    numbers: Mapping[str, str],
    *,
    coarse: float = 0.2,
    share: float = 0.7,
) -> pd.DataFrame:
    """Every neuron selected in some group, in every group: columns group, number, layer, neuron, share, mean_score,
    mean_relative_score (mean over the group's prompts of score / the prompt's largest score) and `selected`, whether
    it is a knowledge neuron of that group. Groups in order of first appearance, then by layer and neuron.
    """
    names = np.asarray([str(group) for group in groups], dtype=object)
    depth, width = scores.shape[1:]
    rows = scores.reshape(len(scores), depth * width)
    found = group_shares(scores, names, coarse=coarse)
    chosen = {group.group: (group.layer * width + group.neuron)[passes(group.share, share)] for group in found}
    union = np.unique(np.concatenate([*chosen.values(), np.zeros(0, dtype=np.int64)])).astype(np.int64)
    frames = []
    for group in found:
        part = rows[names == group.group]
        largest = part.max(axis=1, keepdims=True).astype(np.float64)
        kept = part[:, union].astype(np.float64)
        relative = np.divide(kept, largest, out=np.zeros_like(kept), where=largest > 0)
        shares = dict(zip((group.layer * width + group.neuron).tolist(), group.share.tolist(), strict=True))
        frames.append(
            pd.DataFrame(
                {
                    "group": group.group,
                    "number": numbers.get(group.group, ""),
                    "layer": (union // width).astype(np.int32),
                    "neuron": (union % width).astype(np.int32),
                    "share": [shares.get(int(column), 0.0) for column in union],
                    "mean_score": kept.mean(axis=0),
                    "mean_relative_score": relative.mean(axis=0),
                    "selected": np.isin(union, chosen[group.group]),
                }
            )
        )
    columns = ["group", "number", "layer", "neuron", "share", "mean_score", "mean_relative_score", "selected"]
    return pd.concat(frames, ignore_index=True) if len(union) else pd.DataFrame(columns=columns)


def _mean(values: np.ndarray) -> np.ndarray | float:
    """Mean over the last axis without nan; nan where there is nothing else."""
    known = ~np.isnan(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def _interval(samples: np.ndarray, confidence: float) -> tuple[float, float]:
    known = samples[~np.isnan(samples)]
    if not known.size:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
