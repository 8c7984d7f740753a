"""An estimate and the evidence in it: how far a number lies on one side of a bound that was fixed before the run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.proportion import proportion_confint

CONFIDENCE = 0.95
_Z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty.

    value; se: standard error; df: degrees of freedom of its t distribution (inf: normal); low, high: 95 % interval;
    units: observations that it comes from. trials: of a share, the trials behind it: under a bound b the standard
    error is taken to be at least √(b(1 − b)/trials), so that a share of exactly 0 is no certainty. counts: what a
    measure with a test of its own has counted. note: why there is no estimate, "" when there is one.
    """

    value: float
    se: float
    low: float
    high: float
    units: int
    df: float = math.inf
    trials: float | None = None
    counts: tuple[int, ...] = ()
    note: str = ""


def missing(note: str, units: int = 0) -> Estimate:
    """No estimate, and why."""
    return Estimate(*[math.nan] * 4, units=units, note=note)


def mean_of(values: Sequence[float], fewest: int, unit: str) -> Estimate:
    """Mean of independent units with Student's t interval; fewer than `fewest`, or all alike: no estimate of error."""
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    if len(known) < max(2, fewest):
        return missing(f"{_count(len(known), unit)}: at least {fewest} are needed", len(known))
    return _student(known.mean(), known.std(ddof=1) / math.sqrt(len(known)), len(known) - 1, len(known))


def difference_of(first: Sequence[float], second: Sequence[float], fewest: int, unit: str) -> Estimate:
    """Difference of two means, first less second, with Welch's t interval."""
    samples = [np.asarray(values, dtype=float) for values in (first, second)]
    samples = [values[np.isfinite(values)] for values in samples]
    sizes = [len(values) for values in samples]
    if min(sizes) < max(2, fewest):
        return missing(f"{sizes[0]} against {_count(sizes[1], unit)}: at least {fewest} of each are needed", sum(sizes))
    parts = [values.var(ddof=1) / len(values) for values in samples]
    se = math.sqrt(sum(parts))
    below = sum(part**2 / (size - 1) for part, size in zip(parts, sizes, strict=True))
    df = se**4 / below if below else math.inf
    return _student(samples[0].mean() - samples[1].mean(), se, df, sum(sizes))


def share_of(successes: Sequence[float], trials: Sequence[float], clustered: bool) -> Estimate:
    """A share over groups of trials, taken together, with Wilson's interval; successes may be parts of trials.

    A trial that succeeds in part (an edit that meets a criterion in three of four questions) varies less than one that
    does so or not: Wilson's interval is the wider one. With `clustered`, groups are tasks that may differ: the interval
    is the wider of Wilson's and of the ratio estimator's over groups (Cochran 1977, §6.4), and so is the error; trials
    are then the effective ones, as many as would give that error if they were independent.
    """
    hits, sizes = (np.asarray(values, dtype=float) for values in (successes, trials))
    total = float(sizes.sum())
    if not total:
        return missing("nothing was asked")
    share = float(hits.sum() / total)
    low, high = (float(end) for end in proportion_confint(share * total, total, 1 - CONFIDENCE, method="wilson"))
    se, df, effective = (high - low) / (2 * _Z), math.inf, total
    there = int((sizes > 0).sum())
    if clustered and there > 1:
        spread = math.sqrt(float(((hits - share * sizes) ** 2).sum()) * there / (there - 1)) / total
        if spread > se:
            se, df, effective = spread, there - 1, share * (1 - share) / spread**2
            reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, df)) * se
            low, high = max(0.0, min(low, share - reach)), min(1.0, max(high, share + reach))
    return Estimate(share, se, low, high, units=round(total), df=df, trials=effective)


def combined(estimates: Sequence[Estimate]) -> Estimate:
    """Several estimates of one number under random effects (Paule and Mandel's variance), normal interval.

    Estimates without a standard error are left out; one alone stays as it is. units: of all together. The interval of
    shares ends where shares do.
    """
    known = [one for one in estimates if math.isfinite(one.se) and one.se > 0]
    if not known:
        return missing("no model has an estimate", sum(one.units for one in estimates))
    if len(known) == 1:
        return known[0]
    values, variances = np.array([one.value for one in known]), np.array([one.se**2 for one in known])
    with np.errstate(divide="ignore"):  # its I² of estimates that are all the same
        found = combine_effects(values, variances, method_re="iterated")
    value, se = float(found.mean_effect_re), float(found.sd_eff_w_re)
    least, most = (0.0, 1.0) if all(one.trials for one in known) else (-math.inf, math.inf)
    low, high = max(least, value - _Z * se), min(most, value + _Z * se)
    return Estimate(value, se, low, high, units=sum(one.units for one in known))


def evidence(estimate: Estimate, side: str, bound: float) -> tuple[float, float]:
    """One-sided p-values (for, against): that chance alone puts the estimate on the claim's side of the bound; on the
    other one. `side`: `above`, `below`, or `within` (from −bound to bound, two one-sided tests).

    nan, nan without an error to go by.
    """
    if not (math.isfinite(estimate.value) and math.isfinite(estimate.se) and estimate.se > 0):
        return math.nan, math.nan
    if side == "within":
        inside = max(_tail(estimate, -bound, "above"), _tail(estimate, bound, "below"))
        return inside, min(1.0, 2 * min(_tail(estimate, -bound, "below"), _tail(estimate, bound, "above")))
    other = "below" if side == "above" else "above"
    return _tail(estimate, bound, side), _tail(estimate, bound, other)


def _tail(estimate: Estimate, bound: float, side: str) -> float:
    """P-value of the bound, or anything on its other side, against an estimate on this side of it."""
    se = estimate.se
    if estimate.trials and 0 < bound < 1:
        se = max(se, math.sqrt(bound * (1 - bound) / estimate.trials))
    distance = (estimate.value - bound) / se
    return float(stats.t.sf(distance if side == "above" else -distance, estimate.df))


def _student(value: float, se: float, df: float, units: int) -> Estimate:
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, df)) * se
    note = "" if se > 0 else "all alike: nothing to test by"
    return Estimate(float(value), float(se), float(value - reach), float(value + reach), units, df, note=note)


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
