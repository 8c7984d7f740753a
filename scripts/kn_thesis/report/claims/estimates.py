"""Estimate a number with its uncertainty, combine estimates over models, and test them against a claim's bound.

The bounds come from resources/claims.yaml. They were fixed before any run of the paper's models, and set after runs of
the miniature had been seen.
"""

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

    Attributes:
        value: the number.
        se: its standard error.
        low: lower end of the 95 % interval.
        high: upper end of the 95 % interval.
        units: number of observations.
        df: degrees of freedom of its t distribution; infinite for a normal one.
        trials: of a share, the number of trials. Against a bound b, the standard error is at least √(b(1 − b)/trials),
            so that a share of exactly 0 is not taken as certain.
        counts: what a measure with a test of its own has counted.
        note: why there is no estimate; "" when there is one.
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
    """Return an estimate without a value, and say why in `note`."""
    return Estimate(*[math.nan] * 4, units=units, note=note)


def mean_of(values: Sequence[float], minimum: int, unit: str) -> Estimate:
    """Estimate a mean over independent units, with Student's t interval.

    Args:
        values: one per unit; those that are not finite are left out.
        minimum: number of units below which there is no estimate (at least 2).
        unit: what a unit is called.

    Returns:
        The mean. Its standard error is 0, and a note says so, when all values are equal.
    """
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    if len(known) < max(2, minimum):
        return missing(f"{_count(len(known), unit)}: at least {minimum} are needed", len(known))
    return _student(known.mean(), known.std(ddof=1) / math.sqrt(len(known)), len(known) - 1, len(known))


def difference_of(first: Sequence[float], second: Sequence[float], minimum: int, unit: str) -> Estimate:
    """Estimate the difference of two means, first minus second, with Welch's t interval.

    Args:
        first: one value per unit; those that are not finite are left out.
        second: the same of the other sample.
        minimum: number of units of each sample below which there is no estimate (at least 2).
        unit: what a unit is called.

    Returns:
        The difference.
    """
    samples = [np.asarray(values, dtype=float) for values in (first, second)]
    samples = [values[np.isfinite(values)] for values in samples]
    sizes = [len(values) for values in samples]
    if min(sizes) < max(2, minimum):
        note = f"{sizes[0]} against {_count(sizes[1], unit)}: at least {minimum} of each are needed"
        return missing(note, sum(sizes))
    parts = [values.var(ddof=1) / len(values) for values in samples]
    se = math.sqrt(sum(parts))
    below = sum(part**2 / (size - 1) for part, size in zip(parts, sizes, strict=True))
    df = se**4 / below if below else math.inf
    return _student(samples[0].mean() - samples[1].mean(), se, df, sum(sizes))


def share_of(successes: Sequence[float], trials: Sequence[float], clustered: bool) -> Estimate:
    """Estimate a share over groups of trials, pooled, with Wilson's interval.

    A trial may succeed in part, as an edit that meets a criterion in three of four questions. Such trials vary less
    than trials that succeed or fail, so Wilson's interval is then conservative.

    Args:
        successes: of each group, possibly fractional.
        trials: of each group.
        clustered: whether groups are tasks that may differ. The interval and the error are then the wider of Wilson's
            and of the ratio estimator's over groups (Cochran 1977, §6.4), and `trials` of the estimate is the effective
            number: as many independent trials as would give that error.

    Returns:
        The share, from 0 to 1.
    """
    hits, sizes = (np.asarray(values, dtype=float) for values in (successes, trials))
    total = float(sizes.sum())
    if not total:
        return missing("nothing was asked")
    share = float(hits.sum() / total)
    low, high = (float(end) for end in proportion_confint(share * total, total, 1 - CONFIDENCE, method="wilson"))
    se, df, effective = (high - low) / (2 * _Z), math.inf, total
    groups = int((sizes > 0).sum())
    if clustered and groups > 1:
        spread = math.sqrt(float(((hits - share * sizes) ** 2).sum()) * groups / (groups - 1)) / total
        if spread > se:
            se, df, effective = spread, groups - 1, share * (1 - share) / spread**2
            reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, df)) * se
            low, high = max(0.0, min(low, share - reach)), min(1.0, max(high, share + reach))
    return Estimate(share, se, low, high, units=round(total), df=df, trials=effective)


def combined(estimates: Sequence[Estimate]) -> Estimate:
    """Combine estimates of one number under random effects, for few of them.

    The variance between them is Paule and Mandel's; error and interval are Hartung, Knapp, Sidik and Jonkman's, with
    Student's t of one degree of freedom less than there are estimates. Where these agree by luck, the error is not
    taken for smaller than the random-effects one (Röver et al. 2015, doi:10.1186/s12874-015-0091-1).

    Args:
        estimates: those without a standard error are left out; a single one is returned as it is.

    Returns:
        The combined estimate; `units` is the sum over all. The interval of shares is cut off at 0 and 1.
    """
    known = [one for one in estimates if math.isfinite(one.se) and one.se > 0]
    if not known:
        return missing("no model has an estimate", sum(one.units for one in estimates))
    if len(known) == 1:
        return known[0]
    values, variances = np.array([one.value for one in known]), np.array([one.se**2 for one in known])
    with np.errstate(divide="ignore"):  # in its I², when all estimates are equal
        effects = combine_effects(values, variances, method_re="iterated")
    value, df = float(effects.mean_effect_re), len(known) - 1
    se = float(max(effects.sd_eff_w_re, effects.sd_eff_w_re_hksj))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, df)) * se
    minimum, maximum = (0.0, 1.0) if all(one.trials for one in known) else (-math.inf, math.inf)
    low, high = max(minimum, value - reach), min(maximum, value + reach)
    return Estimate(value, se, low, high, units=sum(one.units for one in known), df=df)


def evidence(estimate: Estimate, side: str, bound: float) -> tuple[float, float]:
    """Compute one-sided p-values for a claim and against it.

    Args:
        estimate: the measure.
        side: where the claim has it: `above` or `below` the bound, or `within` −bound and bound (two one-sided tests).
        bound: the bound.

    Returns:
        For: the probability that chance alone puts the estimate on the claim's side. Against: the same for the other
        side. Both are nan for an estimate without a standard error above 0.
    """
    if not (math.isfinite(estimate.value) and math.isfinite(estimate.se) and estimate.se > 0):
        return math.nan, math.nan
    if side == "within":
        inside = max(_tail(estimate, -bound, "above"), _tail(estimate, bound, "below"))
        return inside, min(1.0, 2 * min(_tail(estimate, -bound, "below"), _tail(estimate, bound, "above")))
    other = "below" if side == "above" else "above"
    return _tail(estimate, bound, side), _tail(estimate, bound, other)


def _tail(estimate: Estimate, bound: float, side: str) -> float:
    """P-value of an estimate on this side of the bound, when the true value is the bound or lies beyond it."""
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
