"""Observations that resemble each other: means and intervals over clusters of prompts, and Holm's correction.

Prompts about one noun, or about one fact, are no independent observations. Arrays hold nan where nothing was observed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

FEWEST = 5  # observations without which no p-value is given


def cluster_means(values: np.ndarray, clusters: Sequence[str]) -> np.ndarray:
    """Means over each cluster's prompts: (clusters, words) from (prompts, words), clusters in alphabetic order."""
    count, total = _cluster_sums(values, clusters)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _cluster_sums(values: np.ndarray, clusters: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Number of values that there are, and their sum, in each cluster: (clusters, words) both."""
    _, member = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    inside = np.equal.outer(np.arange(member.max(initial=-1) + 1), member).astype(float)
    known = np.isfinite(values)
    return inside @ known, inside @ np.where(known, values, 0.0)


def resampled_means(values: np.ndarray, clusters: Sequence[str], resamples: int, seed: int) -> np.ndarray:
    """Means over prompts (resamples, words) of values (prompts, words) when clusters are drawn with replacement."""
    count, total = _cluster_sums(values, clusters)
    number = len(count)
    times = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=resamples)
    with quiet():
        return (times @ total) / (times @ count)


def percentiles(means: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Both ends, (words,) each, of the percentile interval from resampled means (resamples, words)."""
    with quiet():
        low, high = np.nanquantile(means, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return low, high


def clustered_interval(
    values: np.ndarray, clusters: Sequence[str], resamples: int, confidence: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval of the mean over prompts, (words,) each end: clusters are resampled with replacement.

    nan for a word that is asked in fewer than FEWEST clusters.
    """
    asked = (_cluster_sums(values, clusters)[0] > 0).sum(axis=0)
    if len(set(clusters)) < FEWEST:
        return tuple(np.full((2, values.shape[1]), np.nan))
    ends = percentiles(resampled_means(values, clusters, resamples, seed), confidence)
    low, high = np.where(asked < FEWEST, np.nan, ends)
    return low, high


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's correction over the p-values that there are; nan stays nan.

    The same as statsmodels' multipletests, which collects garbage at every call: 0.1 s where much is in memory.
    """
    p = np.asarray(p, dtype=float)
    corrected = np.full(p.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1))
    corrected[order] = np.minimum(steps, 1.0)
    return corrected


@contextmanager
def quiet() -> Iterator[None]:
    """Means of nothing and tests without variance give nan, and that is what is wanted."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield
