"""Cluster means, cluster-bootstrap intervals, and Holm's correction for multiple tests.

Prompts about one noun or one fact are not independent, so means and resamples are taken over clusters of prompts.
Missing observations are NaN in every array.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

MIN_UNITS = 5  # minimum number of observations or clusters for a p-value or an interval


def cluster_means(values: np.ndarray, clusters: Sequence[str]) -> np.ndarray:
    """Average the prompts of each cluster.

    Args:
        values: Observations (prompts, words); NaN where nothing was observed.
        clusters: Name of each prompt's cluster.

    Returns:
        Means (clusters, words), clusters in alphabetical order; NaN where a cluster has no observation.
    """
    count, total = _cluster_sums(values, clusters)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _cluster_sums(values: np.ndarray, clusters: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Count and sum the observations of each cluster; both (clusters, words)."""
    _, member = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    inside = np.equal.outer(np.arange(member.max(initial=-1) + 1), member).astype(float)
    known = np.isfinite(values)
    return inside @ known, inside @ np.where(known, values, 0.0)


def resampled_means(values: np.ndarray, clusters: Sequence[str], resamples: int, seed: int) -> np.ndarray:
    """Compute the mean over prompts in bootstrap resamples of the clusters.

    Args:
        values: Observations (prompts, words); NaN where nothing was observed.
        clusters: Name of each prompt's cluster; clusters are drawn with replacement.
        resamples: Number of resamples.
        seed: Seed of the random number generator.

    Returns:
        Means (resamples, words).
    """
    count, total = _cluster_sums(values, clusters)
    number = len(count)
    times = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=resamples)
    with quiet():
        return (times @ total) / (times @ count)


def percentiles(means: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Compute the percentile interval of resampled means.

    Args:
        means: Resampled means (resamples, words).
        confidence: Coverage of the interval, between 0 and 1.

    Returns:
        Lower and upper ends, (words,) each.
    """
    with quiet():
        low, high = np.nanquantile(means, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return low, high


def clustered_interval(
    values: np.ndarray, clusters: Sequence[str], resamples: int, confidence: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Compute a cluster-bootstrap percentile interval of the mean over prompts.

    Args:
        values: Observations (prompts, words); NaN where nothing was observed.
        clusters: Name of each prompt's cluster.
        resamples: Number of bootstrap resamples.
        confidence: Coverage of the interval, between 0 and 1.
        seed: Seed of the resamples.

    Returns:
        Lower and upper ends, (words,) each; NaN for a word that is observed in fewer than MIN_UNITS clusters.
    """
    observed = (_cluster_sums(values, clusters)[0] > 0).sum(axis=0)
    if len(set(clusters)) < MIN_UNITS:
        return tuple(np.full((2, values.shape[1]), np.nan))
    ends = percentiles(resampled_means(values, clusters, resamples, seed), confidence)
    low, high = np.where(observed < MIN_UNITS, np.nan, ends)
    return low, high


def holm(p: np.ndarray) -> np.ndarray:
    """Correct p-values for multiple tests with Holm's step-down method.

    The result equals that of statsmodels' `multipletests`, which runs the garbage collector at every call (0.1 s when
    much is in memory).

    Args:
        p: p-values (tests,); NaN where there is no test.

    Returns:
        Corrected p-values (tests,), at most 1. NaN stays NaN and does not count as a test.
    """
    p = np.asarray(p, dtype=float)
    corrected = np.full(p.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1))
    corrected[order] = np.minimum(steps, 1.0)
    return corrected


def holm_within(table: pd.DataFrame, by: Sequence[str], column: str = "p") -> np.ndarray:
    """Correct p-values by Holm's method within the groups of a table.

    Args:
        table: The rows that were tested.
        by: Columns; rows with equal values in all of them are corrected together.
        column: The column of p-values.

    Returns:
        The corrected p-values (rows,), NaN where there is none.
    """
    p, corrected = table[column].to_numpy(dtype=float), np.full(len(table), np.nan)
    for places in table.groupby(list(by), sort=False).indices.values():
        corrected[places] = holm(p[places])
    return corrected


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress warnings where means of empty sets and tests without variance are expected to give NaN."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield
