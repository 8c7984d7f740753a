"""|KN|, τ, R²₁, their bootstrap intervals and the residuals, by hand and against slow versions of the definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from kn_thesis.errors import UserError
from kn_thesis.localization.statistics import (
    cosine_gram,
    localization_statistics,
    neuron_table,
    say_residuals,
    select_in_task,
    shared_direction,
)
from kn_thesis.localization.tables import Attribution


def attribution_of(scores: Any, residuals: Any = None, probability: Any = None) -> Attribution:
    """Scores (prompts, width) of one layer, or (prompts, layers, width); the rest is 0.5 and 0 unless given."""
    scores = np.asarray(scores, dtype=np.float32)
    scores = scores[:, None] if scores.ndim == 2 else scores
    prompts, layers, _ = scores.shape
    residuals = np.zeros((prompts, layers)) if residuals is None else residuals
    probability = np.full(prompts, 0.5) if probability is None else probability
    fields = (residuals, probability, np.zeros((prompts, layers)))
    return Attribution(scores, *(np.asarray(field, dtype=np.float32) for field in fields))


def r2_1(rows: Any) -> float:
    """R²₁ of prompts (prompts, width), each once."""
    gram, scored = cosine_gram(np.asarray(rows, dtype=np.float32)[:, None])
    return float(shared_direction(gram, scored[None].astype(float))[0])


# ------------------------------------------------------------------------------------------------ R²₁ by hand
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # Two prompts whose cosine is c: the Gram matrix [[1, c], [c, 1]] has the eigenvalues 1 ± c, so R²₁ = |c|.
        ([[3, 4], [4, 3]], 24 / 25),
        ([[30, 40], [0.4, 0.3]], 24 / 25),  # lengths do not count
        ([[3, 4], [-4, -3]], 24 / 25),
        ([[1, 0], [0, 5]], 0),
        # n prompts in one direction: s₀² = n, (n - 1) / (n - 1) = 1. Orthogonal ones: s₀² = 1.
        ([[1, 2], [2, 4], [3, 6], [4, 8]], 1),
        ([[1, 0, 0], [0, 2, 0], [0, 0, 3]], 0),
        # Two in one direction, one orthogonal: s₀² = 2, (2 - 1) / (3 - 1).
        ([[1, 0], [2, 0], [0, 1]], 1 / 2),
        # A prompt without any score is no prompt: not (2 - 1) / (4 - 1).
        ([[1, 0], [2, 0], [0, 1], [0, 0]], 1 / 2),
        # Three at 120°: the Gram matrix has -1/2 beside its diagonal and the eigenvalues 0, 3/2, 3/2; 1/2 / 2.
        ([[1, 0], [-0.5, 3**0.5 / 2], [-0.5, -(3**0.5) / 2]], 1 / 4),
    ],
)
def test_the_part_of_scores_in_one_direction(rows, expected):
    assert r2_1(rows) == pytest.approx(expected, abs=1e-6)  # scores are float32


@pytest.mark.parametrize("rows", [[[1, 2]], [[1, 2], [0, 0]], [[0, 0], [0, 0]]])
def test_fewer_than_two_prompts_with_scores_share_no_direction(rows):
    assert np.isnan(r2_1(rows))


def test_copies_of_a_resampled_prompt_are_not_compared():
    """By hand, for two prompts with the cosine 0.6 that a sample holds a and b times.

    Beside the diagonal and pairs of copies, the matrix over all a + b holds only 0.6 between the two blocks; its
    largest eigenvalue is 0.6·√(ab). Each prompt has (a + b) - (a² + b²)/(a + b) others on average.
    """
    gram, _ = cosine_gram(np.array([[[1.0, 0.0]], [[0.6, 0.8]]], dtype=np.float32))
    times = np.array([[1, 1], [2, 2], [2, 1], [1, 4], [2, 0], [0, 0]])
    # (2, 1): 0.6·√2 / (3 - 5/3). (1, 4): 0.6·2 / (5 - 17/5). One prompt, however often, has no others.
    expected = [0.6, 0.6, 0.6 * 2**0.5 * 3 / 4, 0.6 * 2 * 5 / 8, np.nan, np.nan]
    assert shared_direction(gram, times) == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_many_samples_are_taken_in_parts():
    gram, _ = cosine_gram(np.array([[[1.0, 0.0]], [[0.6, 0.8]]], dtype=np.float32))
    values = shared_direction(gram, np.tile([[1, 1], [2, 0]], (333, 1)))
    assert values[::2] == pytest.approx(np.full(333, 0.6), abs=1e-6) and np.isnan(values[1::2]).all()


# ------------------------------------------------------------------------------------------------ one task by hand
# Group x: two prompts, both with the neurons 0, 1, 2 of 8; group y: one prompt with all 8. All scores are 1 or 0, so
# coarse is whatever is 1, and all shares are 0 or 1.
#
#   group   |KN|   τ
#   x       3      0.7    three neurons remain
#   y       8      0.95   eight up to 0.95, none at 1; the lower of the two
#
# The cosine between a prompt of x and that of y is c = 3/√(3·8), c² = 3/8. The Gram matrix without its diagonal,
# [[0, 1, c], [1, 0, c], [c, c, 0]], has the largest eigenvalue (1 + √(1 + 8c²))/2 = 3/2, so R²₁ = 1.5/(3 - 1).
#
# A bootstrap sample of two groups is one of
#
#   sample   chance   |KN|   τ       R²₁
#   x, x     1/4      3      0.7     1      two prompts twice each, all of one direction
#   x, y     1/2      5.5    0.825   0.75
#   y, y     1/4      8      0.95    nan    one prompt and its copy
TASK = attribution_of([[1, 1, 1, 0, 0, 0, 0, 0], [1] * 8, [1, 1, 1, 0, 0, 0, 0, 0]])
GROUPS = ["x", "y", "x"]


def test_the_measures_of_a_task():
    row = localization_statistics(TASK, GROUPS)
    assert {key: row[key] for key in ("layers", "neurons", "prompts", "groups")} == {
        "layers": 1,
        "neurons": 8,
        "prompts": 3,
        "groups": 2,
    }
    assert row["KN"] == 5.5
    assert row["tau"] == pytest.approx(0.825)
    assert row["R2_1"] == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("confidence", "intervals"),
    [
        # The outer quantiles are the extremes; those of R²₁ are over two thirds of 0.75 and one of 1.
        (0.95, {"KN": (3, 8), "tau": (0.7, 0.95), "R2_1": (0.75, 1)}),
        # Quantiles 0.4 and 0.6 both fall on x, y, which covers 0.25 to 0.75, and for R²₁ 0 to 0.67.
        (0.2, {"KN": (5.5, 5.5), "tau": (0.825, 0.825), "R2_1": (0.75, 0.75)}),
        # Quantiles 0.2 and 0.8: x, x and y, y again; for R²₁ 0.75 and 1.
        (0.6, {"KN": (3, 8), "tau": (0.7, 0.95), "R2_1": (0.75, 1)}),
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_intervals_are_quantiles_of_resampled_groups(confidence, intervals, seed):
    row = localization_statistics(TASK, GROUPS, confidence=confidence, seed=seed, resamples=2000)
    for measure, (low, high) in intervals.items():
        assert row[f"{measure}_low"] == pytest.approx(low), measure
        assert row[f"{measure}_high"] == pytest.approx(high), measure


def test_settings_reach_the_measures():
    # With 8 to 8 neurons wanted, three are too few for x down to a threshold of 0.
    assert localization_statistics(TASK, GROUPS, adaptive={"low": 8, "high": 8})["tau"] == pytest.approx((0 + 0.7) / 2)
    # One neuron is coarse in both prompts, another in one: in more than 0.4 of them, not in more than 0.5.
    half = attribution_of([[1, 1], [1, 0]])
    assert [localization_statistics(half, ["x", "x"], share=share)["KN"] for share in (0.4, 0.5)] == [2, 1]
    # In a prompt with the scores 1 and 0.5, both are coarse at 0.2, one at 0.5 (a tie).
    one = attribution_of([[1, 0.5]])
    assert localization_statistics(one, ["x"])["KN"] == 2
    assert localization_statistics(one, ["x"], coarse=0.5)["KN"] == 1


def test_groups_without_coarse_neurons_count_for_kn_and_not_for_tau():
    # Two neurons in group x and none in y: |KN| = (2 + 0)/2, τ = 0.7 from x alone; samples y, y have no τ.
    row = localization_statistics(attribution_of([[1, 1, 0], [-1, -1, -1]]), ["x", "y"])
    assert (row["KN"], row["KN_low"], row["KN_high"]) == (1, 0, 2)
    assert (row["tau"], row["tau_low"], row["tau_high"]) == pytest.approx((0.7, 0.7, 0.7))


def test_sharing_at_random():
    """Two prompts of group x have neuron 0, two of y have neuron 1: one neuron in each group.

    Dealt out at random, two prompts of one group stay together in a third of the deals, else no neuron is shared by
    more than 0.7 of a group. The mean of ten deals is a number of tenths, about 1/3 over many seeds.
    """
    task = attribution_of([[1, 0], [1, 0], [0, 1], [0, 1]])
    rows = [localization_statistics(task, list("xxyy"), seed=seed, resamples=1) for seed in range(40)]
    shuffled = np.array([row["KN_shuffled"] for row in rows])
    assert all(row["KN"] == 1 for row in rows)
    assert 10 * shuffled == pytest.approx(np.round(10 * shuffled))
    assert 0.2 < shuffled.mean() < 0.47 and shuffled.min() < shuffled.max()
    single = localization_statistics(attribution_of([[1, 0], [1, 1]]), ["x", "y"])  # deals change nothing here
    assert single["KN_shuffled"] == single["KN"] == 1.5


def test_residuals_are_of_the_worst_layer_of_each_prompt():
    # Absolute residuals: prompt 0 has 0.01 and 0.03, prompt 1 has 0.02 and 0. Their mean is 0.06/4, the largest 0.03.
    # The worst layers' mean, (0.03 + 0.02)/2, over the mean probability (0.4 + 0.1)/2 is a tenth.
    task = attribution_of(np.ones((2, 2, 1)), residuals=[[0.01, -0.03], [0.02, 0.0]], probability=[0.4, 0.1])
    row = localization_statistics(task, ["x", "x"])
    assert row["residual_mean"] == pytest.approx(0.015)
    assert row["residual_max"] == pytest.approx(0.03)
    assert row["residual_relative"] == pytest.approx(0.1)


def test_a_task_without_prompts_has_no_measures():
    row = localization_statistics(attribution_of(np.zeros((0, 2, 4))), [])
    assert list(row) == list(localization_statistics(TASK, GROUPS))
    assert [row.pop(key) for key in ("layers", "neurons", "prompts", "groups")] == [2, 8, 0, 0]
    assert len(row) == 13 and all(np.isnan(value) for value in row.values())


def test_residuals_above_a_twentieth_are_said_by_model():
    table = pd.DataFrame(
        [("m", "a", 0.06), ("n", "a", 0.05), ("m", "b", 0.2), ("m", "c", 0.01), ("n", "b", np.nan)],
        columns=["model", "task", "residual_relative"],
    )
    (line,) = say_residuals(table)
    assert line.startswith("m: ") and "a (6%), b (20%)" in line and "c (" not in line


# ------------------------------------------------------------------------------------------------ slow definitions
def plain_shares(rows: list[list[float]], coarse: float) -> list[float]:
    """Share of the rows in which each column is above `coarse` × the row's largest score."""
    return [
        sum(max(row) > 0 and row[column] > coarse * max(row) for row in rows) / len(rows)
        for column in range(len(rows[0]))
    ]


def plain_kn(rows: list[list[float]], coarse: float, share: float) -> int:
    return sum(value > share + 1e-7 for value in plain_shares(rows, coarse))


def plain_tau(rows: list[list[float]], coarse: float) -> float:
    """Walk along the grid 0, 0.05, … 1 from 0.7 until 2 to 5 neurons remain, the counts pass over that, or it ends.

    In whole hundredths; a passage over the range ends at the lower threshold.
    """
    shares = [value for value in plain_shares(rows, coarse) if value > 0]
    if not shares:
        return float("nan")

    def remaining(hundredths: int) -> int:
        return sum(100 * value > hundredths + 1e-5 for value in shares)

    place = 70
    while remaining(place) > 5 and place < 100:
        place += 5
        if remaining(place) < 2:
            return (place - 5) / 100
    while remaining(place) < 2 and place > 0:
        place -= 5
    return place / 100


def plain_r2_1(items: list[tuple[int, list[float]]]) -> float:
    """R²₁ of (prompt, scores): the largest eigenvalue of the cosines between different prompts.

    A prompt that comes more than once has a row for each copy, and is not compared with its copies. Without copies this
    is (s₀² - 1)/(n - 1).
    """
    items = [(prompt, np.array(row, dtype=float)) for prompt, row in items if any(row)]
    pairs = np.zeros((len(items), len(items)))
    others = 0
    for i, (first, one) in enumerate(items):
        for j, (second, other) in enumerate(items):
            if first != second:
                pairs[i, j] = sum(one * other) / (sum(one * one) ** 0.5 * sum(other * other) ** 0.5)
                others += 1
    if not others:
        return float("nan")
    return max(np.linalg.eigvals(pairs).real) / (others / len(items))


def plain_interval(values: list[float], confidence: float) -> tuple[float, float]:
    """Quantiles with linear interpolation between ordered values, those that exist."""
    values = sorted(value for value in values if value == value)
    ends = []
    for quantile in ((1 - confidence) / 2, (1 + confidence) / 2):
        at = quantile * (len(values) - 1)
        below = int(at)
        above = min(below + 1, len(values) - 1)
        ends.append(values[below] + (at - below) * (values[above] - values[below]))
    return ends[0], ends[1]


def plain_mean(values: list[float]) -> float:
    known = [value for value in values if value == value]
    return sum(known) / len(known) if known else float("nan")


def plain_statistics(scores: np.ndarray, groups: list[str], resamples: int, seed: int) -> dict[str, float]:
    """|KN|, τ and R²₁ of a task with 95 % intervals over resampled groups, and |KN| of shuffled groups."""
    rows = scores.reshape(len(scores), -1).astype(float).tolist()
    names = list(dict.fromkeys(groups))
    members = [[i for i, group in enumerate(groups) if group == name] for name in names]
    kn = [plain_kn([rows[i] for i in group], 0.2, 0.7) for group in members]
    tau = [plain_tau([rows[i] for i in group], 0.2) for group in members]
    result = {"KN": plain_mean(kn), "tau": plain_mean(tau), "R2_1": plain_r2_1(list(enumerate(rows)))}
    random = np.random.default_rng(seed)
    samples: dict[str, list[float]] = {"KN": [], "tau": [], "R2_1": []}
    for sample in random.integers(len(names), size=(resamples, len(names))).tolist():
        samples["KN"].append(plain_mean([kn[group] for group in sample]))
        samples["tau"].append(plain_mean([tau[group] for group in sample]))
        samples["R2_1"].append(plain_r2_1([(i, rows[i]) for group in sample for i in members[group]]))
    for measure, values in samples.items():
        result[f"{measure}_low"], result[f"{measure}_high"] = plain_interval(values, 0.95)
    counts = []
    for _ in range(10):
        dealt = random.permutation(np.array(groups, dtype=object)).tolist()
        counts += [plain_kn([rows[i] for i, name in enumerate(dealt) if name == group], 0.2, 0.7) for group in names]
    return result | {"KN_shuffled": sum(counts) / len(counts)}


@pytest.mark.parametrize(
    ("groups", "width"), [("aaabbbbcdd", 5), ("abcabcabc", 12), ("aaaa", 4), ("abcde", 3)], ids=lambda value: str(value)
)
def test_equal_to_the_slow_definitions(groups, width):
    """Scores of a group have a direction in common, so that all measures vary; one prompt has no score at all."""
    random = np.random.default_rng([width, len(groups)])
    directions = {name: random.exponential(size=(2, width)) ** 2 for name in sorted(set(groups))}
    noise = random.normal(scale=0.5, size=(len(groups), 2, width))
    scores = (np.stack([directions[name] for name in groups]) + noise).astype(np.float32)
    scores[1] = 0
    row = localization_statistics(attribution_of(scores), list(groups), resamples=40, seed=7)
    expected = plain_statistics(scores, list(groups), 40, 7)
    assert {key: row[key] for key in expected} == pytest.approx(expected, rel=1e-6, nan_ok=True)


def test_r2_1_is_the_largest_singular_value_s():
    scores = np.random.default_rng(3).normal(loc=0.4, size=(9, 2, 6)).astype(np.float32)
    rows = scores.reshape(9, -1).astype(float)
    s = np.linalg.svd(np.stack([row / sum(row * row) ** 0.5 for row in rows]), compute_uv=False)[0]
    assert localization_statistics(attribution_of(scores), list("aaabbbccc"))["R2_1"] == pytest.approx(
        (s**2 - 1) / 8, rel=1e-9
    )


def test_a_seed_gives_the_same_numbers_again():
    scores = np.random.default_rng(5).normal(loc=0.4, size=(12, 2, 6)).astype(np.float32)
    first, again, other = (
        localization_statistics(attribution_of(scores), list("abcd" * 3), seed=seed, resamples=50) for seed in (1, 1, 2)
    )
    assert first == again
    assert (first["R2_1_low"], first["KN_shuffled"]) != (other["R2_1_low"], other["KN_shuffled"])


# ------------------------------------------------------------------------------------------------ neurons of a task
# Two layers of three neurons, the last always 0; coarse above a fifth of the largest score:
#
#   group     prompt   (0,0)        (0,1)        (1,0)        (1,1)
#   these     0        1.0 coarse   0.5 coarse   0.1          0.0
#   these     1        2.0 coarse   0.2          0.0          -1.0
#   fish      2        0.0          0.1          0.4 coarse   0.1 coarse (above 0.08)
#
# Selected (share above 0.7): (0,0) for these, with share 1, while (0,1) has 1/2; (0,1), (1,0) and (1,1) for fish.
NEURONS = np.array(
    [[[1, 0.5, 0], [0.1, 0, 0]], [[2, 0.2, 0], [0, -1, 0]], [[0, 0.1, 0], [0.4, 0.1, 0]]], dtype=np.float32
)


def test_every_selected_neuron_in_every_group():
    table = neuron_table(NEURONS, ["these", "these", "fish"], {"these": "plural"})
    columns = ["group", "number", "layer", "neuron", "share", "mean_score", "mean_relative_score", "selected"]
    assert table.columns.tolist() == columns
    # Mean relative scores of these: (1/1 + 2/2)/2, (0.5/1 + 0.2/2)/2, (0.1/1 + 0/2)/2, (0/1 - 1/2)/2.
    expected = [
        ("these", "plural", 0, 0, 1.0, 1.5, 1.0, True),
        ("these", "plural", 0, 1, 0.5, 0.35, 0.3, False),
        ("these", "plural", 1, 0, 0.0, 0.05, 0.05, False),
        ("these", "plural", 1, 1, 0.0, -0.5, -0.25, False),
        ("fish", "", 0, 0, 0.0, 0.0, 0.0, False),
        ("fish", "", 0, 1, 1.0, 0.1, 0.25, True),
        ("fish", "", 1, 0, 1.0, 0.4, 1.0, True),
        ("fish", "", 1, 1, 1.0, 0.1, 0.25, True),
    ]
    exact = ["group", "number", "layer", "neuron", "selected"]
    by_hand = pd.DataFrame(expected, columns=columns)
    assert table[exact].to_numpy().tolist() == by_hand[exact].to_numpy().tolist()
    for column in ("share", "mean_score", "mean_relative_score"):
        assert table[column].tolist() == pytest.approx(by_hand[column].tolist(), abs=1e-7), column


def test_neurons_selected_in_no_group_are_left_out():
    # With coarse = 0.5 the only coarse neurons are (0,0) for these and (1,0) for fish.
    table = neuron_table(NEURONS, ["these", "these", "fish"], {}, coarse=0.5)
    assert table[["layer", "neuron"]].to_numpy().tolist() == [[0, 0], [1, 0]] * 2
    assert table["selected"].tolist() == [True, False, False, True]
    none = neuron_table(-np.abs(NEURONS), ["these", "these", "fish"], {})
    assert none.empty and none.columns.tolist() == table.columns.tolist()


SETTINGS = {"coarse": 0.2, "share": 0.7, "adaptive": {}, "bootstrap": {"resamples": 20, "confidence": 0.9, "seed": 3}}


def test_a_task_s_tables_name_model_and_task_and_follow_the_attributed_prompts():
    # The table of prompts stands in another order, and has a prompt more than was attributed.
    prompts = pd.DataFrame(
        [("r", "fish", "singular"), ("unused", "x", ""), ("q", "these", "plural"), ("p", "these", "plural")],
        columns=["prompt", "group", "number"],
    )
    about = {"model": "m", "task": "t"}
    task = attribution_of(NEURONS)
    neurons, measures = select_in_task(task, ["p", "q", "r"], prompts, about, SETTINGS, "paradigm")
    assert neurons.columns.tolist()[:4] == ["model", "task", "group", "number"]
    groups = neurons.drop_duplicates(["model", "task", "group", "number"])[["model", "task", "group", "number"]]
    assert groups.to_numpy().tolist() == [["m", "t", "these", "plural"], ["m", "t", "fish", "singular"]]
    assert neurons["share"].tolist() == [1, 0.5, 0, 0, 0, 1, 1, 1]
    (row,) = measures.to_dict("records")
    assert list(row)[:3] == ["model", "task", "kind"] and row["kind"] == "paradigm"
    assert (row["KN"], row["groups"], row["prompts"]) == (2, 2, 3)
    alone = localization_statistics(task, ["these", "these", "fish"], resamples=20, confidence=0.9, seed=3)
    assert {key: row[key] for key in alone} == alone


def test_a_prompt_that_the_table_lacks_is_named():
    prompts = pd.DataFrame([("p", "x", "")], columns=["prompt", "group", "number"])
    with pytest.raises(UserError, match=r"^t: prompt q ") as caught:
        select_in_task(attribution_of([[1], [1]]), ["p", "q"], prompts, {"task": "t"}, SETTINGS, "relation")
    assert "\n" not in str(caught.value)
