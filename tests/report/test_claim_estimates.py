"""Estimates behind verdicts, compared with plain references; and how often chance alone leads to a verdict."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from kn_thesis.localization.summary import layers_by_task, number_similarity, similarity_difference
from kn_thesis.report.claims.estimates import Estimate, combined, difference_of, evidence, mean_of, missing, share_of
from kn_thesis.report.claims.measures import BY_CHANCE, layer_overlap, sites_evidence, two_sites
from kn_thesis.stats import holm


def test_a_mean_is_student_s() -> None:
    values = [0.3, 0.9, np.nan, 1.4, 0.2]
    known = np.array([0.3, 0.9, 1.4, 0.2])
    estimate = mean_of(values, 3, "task")
    interval = stats.t.interval(0.95, 3, known.mean(), stats.sem(known))
    assert (estimate.value, estimate.low, estimate.high, estimate.units) == pytest.approx((known.mean(), *interval, 4))
    for side, alternative in (("above", "greater"), ("below", "less")):
        expected = stats.ttest_1samp(known, 0.5, alternative=alternative).pvalue
        assert evidence(estimate, side, 0.5)[0] == pytest.approx(expected)
        assert sum(evidence(estimate, side, 0.5)) == pytest.approx(1)
    assert math.isnan(evidence(mean_of([1.0, 1.0, 1.0], 3, "task"), "above", 0)[0])
    assert mean_of([1.0, 2.0], 3, "paradigm").note == "2 paradigms: at least 3 are needed"


def test_a_difference_is_welch_s() -> None:
    first, second = [1.0, 2.0, 4.0, 3.5], [0.5, 0.1, 0.9]
    estimate = difference_of(first, second, 3, "task")
    expected = stats.ttest_ind(first, second, equal_var=False, alternative="greater")
    assert evidence(estimate, "above", 0)[0] == pytest.approx(expected.pvalue)
    assert estimate.df == pytest.approx(expected.df)
    shifted = stats.ttest_ind(np.array(first) + 0.7, second, equal_var=False, alternative="greater").pvalue
    assert evidence(estimate, "above", -0.7)[0] == pytest.approx(shifted)
    assert difference_of(first, [1.0], 3, "task").note == "4 against 1 task: at least 3 of each are needed"


def test_within_is_two_one_sided_tests() -> None:
    values = np.array([0.01, -0.02, 0.03, 0.0, 0.015])
    inside, outside = evidence(mean_of(values, 3, "task"), "within", 0.05)
    above = stats.ttest_1samp(values, -0.05, alternative="greater").pvalue
    below = stats.ttest_1samp(values, 0.05, alternative="less").pvalue
    assert inside == pytest.approx(max(above, below)) and outside == 1.0
    inside, outside = evidence(mean_of(values + 0.3, 3, "task"), "within", 0.05)
    assert inside > 0.99 and outside == pytest.approx(
        2 * stats.ttest_1samp(values + 0.3, 0.05, alternative="greater").pvalue
    )


def test_a_share_has_wilson_s_interval_and_the_score_test() -> None:
    estimate = share_of([3, 2], [20, 10], clustered=False)
    assert (estimate.low, estimate.high) == pytest.approx(proportion_confint(5, 30, 0.05, method="wilson"))
    score = (5 / 30 - 0.5) / math.sqrt(0.25 / 30)
    assert evidence(estimate, "below", 0.5)[0] == pytest.approx(stats.norm.cdf(score))
    none = share_of([0, 0], [20, 10], clustered=False)
    assert none.value == none.low == 0 and none.high > 0.1 and 0 < evidence(none, "below", 0.5)[0] < 1e-6
    assert share_of([], [], clustered=True).note == "nothing was asked"


def test_tasks_that_differ_widen_a_share() -> None:
    alike, apart = (share_of(hits, [100] * 4, clustered=True) for hits in ([20, 21, 19, 20], [80, 0, 0, 0]))
    assert (alike.low, alike.high) == pytest.approx(proportion_confint(80, 400, 0.05, method="wilson"))
    spread = np.array([60, -20, -20, -20])
    assert apart.se == pytest.approx(math.sqrt((spread**2).sum() * 4 / 3) / 400) and apart.df == 3
    assert apart.low == 0 and evidence(apart, "below", 0.3)[0] > 0.2 > evidence(alike, "below", 0.3)[0]


def test_models_are_combined_under_random_effects() -> None:
    values, errors = np.array([0.2, 0.9, 0.4]), np.array([0.1, 0.2, 0.15])
    estimate = combined([Estimate(value, se, 0, 0, 10) for value, se in zip(values, errors, strict=True)])

    def scatter(tau2: float) -> float:
        weights = 1 / (errors**2 + tau2)
        return float((weights * (values - (weights * values).sum() / weights.sum()) ** 2).sum())

    low, high = 0.0, 10.0
    for _ in range(200):  # Paule and Mandel: the variance at which the weighted scatter equals its expectation
        middle = (low + high) / 2
        low, high = (middle, high) if scatter(middle) > len(values) - 1 else (low, middle)
    weights = 1 / (errors**2 + low)
    assert estimate.value == pytest.approx((weights * values).sum() / weights.sum(), rel=1e-4)
    # Hartung and Knapp: the weighted scatter over its degrees of freedom, and Student's t. It is 1 at this variance.
    assert scatter(low) == pytest.approx(len(values) - 1) and estimate.df == 2 and estimate.units == 30
    assert estimate.se == pytest.approx(1 / math.sqrt(weights.sum()), rel=1e-3)
    reach = stats.t.ppf(0.975, 2) * estimate.se
    assert (estimate.low, estimate.high) == pytest.approx((estimate.value - reach, estimate.value + reach))
    alike = combined([Estimate(0.2, 0.1, 0, 0, 10), Estimate(0.2, 0.1, 0, 0, 10)])
    assert alike.se == pytest.approx(0.1 / math.sqrt(2)) and alike.df == 1  # agreement by luck is no certainty
    one = Estimate(0.2, 0.1, 0.0, 0.4, 10, df=4)
    assert combined([one, missing("none")]) is one
    assert combined([missing("few", 2), missing("none")]).units == 2
    shares = combined([share_of([0], [30], False), share_of([0], [40], False)])
    assert shares.low == 0 and shares.high > 0


def test_sites_are_counted() -> None:
    assert sites_evidence(Estimate(0, 0, 0, 0, 8, counts=(8, 0, 8))) == pytest.approx((1, 0.5**8))
    expected = sum(math.comb(8, k) * BY_CHANCE**k * (1 - BY_CHANCE) ** (8 - k) for k in range(3, 9))
    assert sites_evidence(Estimate(0, 0, 0, 0, 8, counts=(2, 3, 8)))[0] == pytest.approx(expected)
    rows = {"model": "m", "headline": True, "p_sites": [0.1, 0.1, 0.1, np.nan], "two_sites": [True, False, False, ""]}
    ends = {"early_contrast_high": [1, -1, 1, -1], "late_contrast_high": [1, -1, 1, -1]}
    assert two_sites({"tracing": pd.DataFrame(rows | ends)}, "m", 3).counts == (1, 1, 3)


def test_holm_is_the_library_s() -> None:
    random = np.random.default_rng(3)
    for size in (1, 2, 7, 40):
        p = np.round(random.uniform(0, 0.2, size), 3)
        assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert np.isnan(holm(np.array([np.nan, 0.01])))[0] and holm(np.array([np.nan, 0.01]))[1] == 0.01
    assert len(holm(np.zeros(0))) == 0


def test_overlap_by_hand() -> None:
    shares = {"paradigm": [(0.8, 0.2), (0.6, 0.4), (0.7, 0.3)], "relation": [(0.1, 0.9), (0.3, 0.7), (0.2, 0.8)]}
    rows = [
        {"model": "m", "task": f"{kind}{task}", "kind": kind, "layer": layer, "share": share}
        for kind, tasks in shares.items()
        for task, both in enumerate(tasks)
        for layer, share in enumerate(both)
    ]
    estimate = layer_overlap({"layers_by_task": pd.DataFrame(rows)}, "m", 3)
    assert estimate.value == pytest.approx(0.2 + 0.3) and estimate.low < estimate.value < estimate.high


def neurons(task: str, groups: dict[str, tuple[str, list[float]]]) -> pd.DataFrame:
    rows = [
        {"model": "m", "task": task, "group": group, "number": number, "layer": i % 2, "neuron": i}
        | {"mean_relative_score": score, "selected": score > 0.5}
        for group, (number, scores) in groups.items()
        for i, score in enumerate(scores)
    ]
    return pd.DataFrame(rows)


def test_likeness_by_hand() -> None:
    groups = {
        "this": ("singular", [1.0, 0.0, 0.0]),
        "that": ("singular", [1.0, 1.0, 0.0]),
        "these": ("plural", [0.0, 0.0, 1.0]),
        "those": ("plural", [0.0, 0.0, 2.0]),
    }
    row = number_similarity(neurons("t", groups)).iloc[0]
    assert (row["words"], row["groups"], row["pairs_within"], row["pairs_across"]) == ("determiner", 4, 2, 4)
    assert row["within"] == pytest.approx((math.sqrt(0.5) + 1) / 2) and row["across"] == 0
    assert row["difference"] == pytest.approx(row["within"])
    assert number_similarity(neurons("t", {"cat": ("singular", [1.0]), "dog": ("singular", [1.0])})).empty
    nouns = neurons("t", {"cat": ("singular", [1.0, 0.0]), "cats": ("plural", [0.0, 1.0])})
    assert number_similarity(nouns)["words"].iloc[0] == "noun" and math.isnan(
        number_similarity(nouns)["difference"].iloc[0]
    )
    assert math.isnan(similarity_difference({"a": np.zeros(2), "b": np.ones(2)}, {"a": "singular", "b": "plural"}))


def test_layers_by_task_by_hand() -> None:
    rows = neurons("t", {"cat": ("", [1.0, 0.6, 0.9]), "dog": ("", [0.1, 0.2, 0.9])})
    estimate = layers_by_task(rows, {"t": "paradigm"}, {"m": 3})
    assert estimate["neurons"].tolist() == [3, 1, 0] and estimate["share"].tolist() == [0.75, 0.25, 0.0]
    none = layers_by_task(rows.assign(selected=False), {"t": "paradigm"}, {"m": 3})
    assert none["share"].isna().all() and len(none) == 3


@pytest.mark.parametrize("kind", ["mean", "difference", "share", "clustered share", "relations", "models"])
def test_at_the_bound_chance_alone_seldom_makes_a_verdict(kind: str) -> None:
    """If the true value is the bound, each side is favoured in at most about 5 % of studies."""
    random = np.random.default_rng(7)
    calls = []
    for _ in range(2000):
        if kind == "mean":
            estimate, bound = mean_of(random.normal(0.5, 1, 6), 3, "task"), 0.5
        elif kind == "difference":
            estimate, bound = difference_of(random.normal(0, 1, 8), random.normal(0.1, 2, 5), 3, "task"), -0.1
        elif kind == "share":
            estimate, bound = share_of(random.binomial(30, 0.5, 3), [30] * 3, clustered=False), 0.5
        elif kind == "relations":  # few, and their edits succeed at very different rates
            estimate, bound = share_of(random.binomial(30, random.beta(2, 2, 4)), [30] * 4, clustered=True), 0.5
        elif kind == "models":  # of one family each, on the same four tasks
            estimate, bound = combined([mean_of(random.normal(0, 1, 4), 3, "task") for _ in range(3)]), 0.0
        else:  # tasks differ: their own shares vary around the bound
            own = random.beta(2, 18, 8)
            estimate, bound = share_of(random.binomial(50, own), [50] * 8, clustered=True), 0.1
        calls.append([p < 0.05 for p in evidence(estimate, "above", bound)])
    above, below = np.mean(calls, axis=0)
    assert above < 0.07 and below < 0.07, (above, below)
    assert above + below > 0.02
