"""Measures of how local a task is: |KN|, τ and R²₁ with bootstrap intervals, and the integration error.

|KN| is the mean number of knowledge neurons per group. τ is the mean over groups of the sharing threshold above which 2
to 5 neurons remain (`adaptive_threshold`). R²₁ is (s₀² − 1)/(n − 1), where s₀ is the largest singular value of the
matrix of the n prompts' scores, each row scaled to length 1: 1 if all prompts have their scores in the same proportion,
0 if their scores are orthogonal.

Definitions: docs/method.md §4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from kn_thesis.errors import UserError
from kn_thesis.localization.selection import adaptive_threshold, group_shares, passes
from kn_thesis.localization.tables import MEASURES, Attribution

RESIDUAL = 0.05  # scores are unreliable if residual_relative is above this
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
    """Select the knowledge neurons of one task and measure how local it is.

    Args:
        attribution: Of the task's prompts.
        names: The attributed prompts, in order.
        prompts: The task's table of prompts, with the columns prompt, group and number.
        about: Columns to put in front of both tables: model and task.
        settings: coarse, share, adaptive and bootstrap, of the configuration's section `selection`.
        kind: "paradigm" or "relation".

    Returns:
        The neurons (see `neuron_table`), and one row of measures (see `localization_statistics`) with `kind` in front.

    Raises:
        UserError: The table lacks an attributed prompt.
    """
    prompts = prompts.set_index("prompt")
    if absent := sorted(set(names) - set(prompts.index)):
        raise UserError(f"{about['task']}: prompt {absent[0]} is attributed but not in the table; attribute again")
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
    """Measure how local one task is.

    Args:
        attribution: Of the task's prompts.
        groups: The group of each prompt.
        coarse: See `select_neurons`.
        share: See `select_neurons`.
        adaptive: Settings of `adaptive_threshold`.
        resamples: Number of bootstrap samples of groups.
        confidence: Of the percentile intervals.
        seed: Of the bootstrap and the shuffles.

    Returns:
        A row with these keys. A measure that does not exist is nan, as R²₁ of one prompt is, and every measure of none.

        - layers, neurons: of the model (neurons of all layers); prompts, groups: of the task.
        - KN, tau, R2_1, and each with _low and _high: the measures and their intervals.
        - KN_shuffled: |KN| with the prompts shuffled over groups of the same sizes, mean of 10 shuffles. It is what
          sharing gives without regard to the group.
        - residual_mean, residual_max: absolute residuals over prompts and layers, as probabilities.
        - residual_relative: mean over prompts of the largest absolute residual of any layer, divided by mean P(w̄). A
          mean over layers would hide a single layer whose integral is wrong.
    """
    names = np.asarray([str(group) for group in groups], dtype=object)
    random = np.random.default_rng(seed)
    shares = group_shares(attribution.scores, names, coarse=coarse)
    neurons = np.array([np.count_nonzero(passes(group.share, share)) for group in shares], dtype=float)
    thresholds = np.array([adaptive_threshold(group.share, **(adaptive or {})) for group in shares], dtype=float)
    place = {group.group: number for number, group in enumerate(shares)}
    member = np.array([place[name] for name in names], dtype=int)
    gram, scored = cosine_gram(attribution.scores)
    _, depth, width = attribution.scores.shape
    row: dict[str, float] = {"layers": depth, "neurons": depth * width, "prompts": len(names), "groups": len(shares)}
    if not shares:
        undefined = [*(f"{m}{end}" for m in MEASURES for end in ("", "_low", "_high")), "KN_shuffled"]
        return row | dict.fromkeys([*undefined, "residual_mean", "residual_max", "residual_relative"], float("nan"))
    resampled = random.integers(len(shares), size=(resamples, len(shares)))
    times = np.stack([(resampled == group).sum(axis=1) for group in range(len(shares))], axis=1)
    samples = {
        "KN": (neurons.mean(), neurons[resampled].mean(axis=1)),
        "tau": (_mean(thresholds), _mean(thresholds[resampled])),
        "R2_1": (
            float(shared_direction(gram, scored[None].astype(float))[0]),
            shared_direction(gram, times[:, member] * scored),
        ),
    }
    for name, (value, bootstrapped) in samples.items():
        row[name] = float(value)
        row[f"{name}_low"], row[f"{name}_high"] = _interval(bootstrapped, confidence)
    shuffled = [group_shares(attribution.scores, random.permutation(names), coarse=coarse) for _ in range(_SHUFFLES)]
    row["KN_shuffled"] = float(np.mean([np.count_nonzero(passes(g.share, share)) for s in shuffled for g in s]))
    residuals = np.abs(attribution.residuals.astype(np.float64))
    row["residual_mean"], row["residual_max"] = float(residuals.mean()), float(residuals.max())
    row["residual_relative"] = float(residuals.max(axis=1).mean() / attribution.probability.astype(np.float64).mean())
    return row


def say_residuals(statistics: pd.DataFrame) -> list[str]:
    """Write a sentence for each model whose quadrature is too coarse.

    Args:
        statistics: A table with the columns model, task and residual_relative.
    """
    lines = []
    for model, rows in statistics[statistics["residual_relative"] > RESIDUAL].groupby("model", sort=False):
        tasks = ", ".join(f"{row.task} ({row.residual_relative:.0%})" for row in rows.itertuples())
        lines.append(
            f"{model}: the quadrature misses more than {RESIDUAL:.0%} of the target's probability in {tasks}: "
            "take more nodes (attribution.nodes)"
        )
    return lines


def cosine_gram(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the cosine similarities between prompts.

    Args:
        scores: Attribution scores (prompts, layers, width).

    Returns:
        Cosines, float64 (prompts, prompts), and which prompts have any score other than 0, bool (prompts,).
    """
    rows = scores.reshape(len(scores), scores.shape[1] * scores.shape[2]).astype(np.float64)
    length = np.linalg.norm(rows, axis=1)
    unit = np.divide(rows, length[:, None], out=np.zeros_like(rows), where=length[:, None] > 0)
    return unit @ unit.T, length > 0


def shared_direction(gram: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Compute R²₁ = (s₀² − 1)/(n − 1) of samples in which prompts may occur more than once.

    s₀² − 1 is the largest eigenvalue of the Gram matrix without its diagonal, which compares each prompt with itself.
    In a bootstrap sample, pairs of copies of one prompt compare it with itself as well. They are left out too, and
    n − 1 becomes n − Σ times²/n with n = Σ times, the mean number of prompts that a prompt is compared with. With
    copies compared, R²₁ of a bootstrap sample would be too high by about one part in the number of groups.

    Args:
        gram: Cosine similarities of the prompts (prompts, prompts).
        times: How often each sample contains each prompt (samples, prompts).

    Returns:
        R²₁ of each sample, float64 (samples,); nan for a sample with fewer than two prompts.
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
    """Tabulate every neuron that is selected in any group, for every group.

    Args:
        scores: Attribution scores (prompts, layers, width).
        groups: The group of each prompt.
        numbers: The grammatical number of each group; "" for groups that are missing.
        coarse: See `select_neurons`.
        share: See `select_neurons`.

    Returns:
        A row per group and neuron, with the columns group, number, layer, neuron, share, mean_score,
        mean_relative_score (see `GroupShares`) and selected, whether it is a knowledge neuron of that group. Groups are
        in order of first appearance, then by layer and neuron.
    """
    names = np.asarray([str(group) for group in groups], dtype=object)
    depth, width = scores.shape[1:]
    rows = scores.reshape(len(scores), depth * width)
    coarse_groups = group_shares(scores, names, coarse=coarse)
    selected = {
        group.group: (group.layer * width + group.neuron)[passes(group.share, share)] for group in coarse_groups
    }
    union = np.unique(np.concatenate([*selected.values(), np.zeros(0, dtype=np.int64)])).astype(np.int64)
    frames = []
    for group in coarse_groups:
        part = rows[names == group.group]
        largest = part.max(axis=1, keepdims=True).astype(np.float64)
        values = part[:, union].astype(np.float64)
        relative = np.divide(values, largest, out=np.zeros_like(values), where=largest > 0)
        shares = dict(zip((group.layer * width + group.neuron).tolist(), group.share.tolist(), strict=True))
        frames.append(
            pd.DataFrame(
                {
                    "group": group.group,
                    "number": numbers.get(group.group, ""),
                    "layer": (union // width).astype(np.int32),
                    "neuron": (union % width).astype(np.int32),
                    "share": [shares.get(int(column), 0.0) for column in union],
                    "mean_score": values.mean(axis=0),
                    "mean_relative_score": relative.mean(axis=0),
                    "selected": np.isin(union, selected[group.group]),
                }
            )
        )
    columns = ["group", "number", "layer", "neuron", "share", "mean_score", "mean_relative_score", "selected"]
    return pd.concat(frames, ignore_index=True) if len(union) else pd.DataFrame(columns=columns)


def _mean(values: np.ndarray) -> np.ndarray | float:
    """Return the mean over the last axis without nan; nan where there is nothing else."""
    known = ~np.isnan(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def _interval(samples: np.ndarray, confidence: float) -> tuple[float, float]:
    """Return the percentile interval of the samples that are not nan."""
    known = samples[~np.isnan(samples)]
    if not known.size:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
