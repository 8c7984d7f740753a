"""Selection of knowledge neurons, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from kn_thesis.errors import UserError
from kn_thesis.localization.selection import adaptive_threshold, group_shares, passes, select_neurons

# Three prompts, two layers of three neurons, of which the last is always 0. With coarse = 0.2, a score is coarse above
# a fifth of the prompt's largest:
#
#   prompt   largest   a fifth   (0,0)       (0,1)       (1,0)       (1,1)
#   0        1.0       0.2       1.0 coarse  0.3 coarse  0.2 (tie)   -0.5
#   1        0.5       0.1       0.5 coarse  0.1 (tie)   0.4 coarse  0.05
#   2        2.0       0.4       2.0 coarse  1.0 coarse  0.3         0.0
#
#   share                        3/3         2/3         1/3         0
#   mean score                   3.5/3       1.4/3       0.9/3       -0.45/3
#   score / largest              1, 1, 1     .3, .2, .5  .2, .8, .15 -.5, .1, 0
#   mean of it                   1           1/3         1.15/3      -0.4/3
SCORES = np.array(
    [[[1.0, 0.3, 0], [0.2, -0.5, 0]], [[0.5, 0.1, 0], [0.4, 0.05, 0]], [[2.0, 1.0, 0], [0.3, 0.0, 0]]],
    dtype=np.float32,
)


def one_prompt(*scores: float) -> np.ndarray:
    return np.array(scores, dtype=np.float32).reshape(1, 1, -1)


def places(shares) -> list[tuple[int, int]]:
    return list(zip(shares.layer.tolist(), shares.neuron.tolist(), strict=True))


def test_coarse_neurons_and_their_shares():
    (group,) = group_shares(SCORES, ["a", "a", "a"], coarse=0.2)
    assert (group.group, group.prompts) == ("a", 3)
    assert places(group) == [(0, 0), (0, 1), (1, 0)]  # (1, 1) is coarse in no prompt
    assert group.share == pytest.approx([1, 2 / 3, 1 / 3])
    assert group.mean_score == pytest.approx([3.5 / 3, 1.4 / 3, 0.9 / 3])
    assert group.mean_relative_score == pytest.approx([1, 1 / 3, 1.15 / 3])


@pytest.mark.parametrize(
    ("coarse", "expected"),
    [
        (0.0, [(0, 0), (0, 1), (1, 0), (1, 1)]),  # every positive score: (1, 1) has one of 0.05
        (0.5, [(0, 0), (1, 0)]),  # 1.0 of prompt 2 ties with half of its 2.0; 0.4 of prompt 1 is above 0.25
        (0.99, [(0, 0)]),
    ],
)
def test_the_coarse_threshold_is_a_part_of_each_prompt_s_own_largest_score(coarse, expected):
    (group,) = group_shares(SCORES, ["a", "a", "a"], coarse=coarse)
    assert places(group) == expected


def test_neurons_are_refined_by_their_share_of_the_group():
    table = select_neurons(SCORES, ["a", "a", "a"], coarse=0.2, share=0.5)
    assert table.columns.tolist() == ["group", "layer", "neuron", "share", "mean_score", "mean_relative_score"]
    assert table[["group", "layer", "neuron"]].to_numpy().tolist() == [["a", 0, 0], ["a", 0, 1]]
    assert table["share"].tolist() == pytest.approx([1, 2 / 3])
    assert table["mean_score"].tolist() == pytest.approx([3.5 / 3, 1.4 / 3])
    assert table["mean_relative_score"].tolist() == pytest.approx([1, 1 / 3])
    assert select_neurons(SCORES, ["a", "a", "a"])["neuron"].tolist() == [0]  # 2/3 is not above 0.7
    assert select_neurons(SCORES, ["a", "a", "a"], share=0.3)["layer"].tolist() == [0, 0, 1]
    assert select_neurons(np.eye(2)[:, None], ["a", "a"], share=0.5).empty  # each neuron in one of two prompts


def test_groups_stand_in_order_of_first_appearance_and_do_not_mix():
    # Group b holds prompts 0 and 2, where (0, 0) and (0, 1) are coarse both times; group a holds prompt 1 alone, where
    # (0, 0) and (1, 0) are.
    table = select_neurons(SCORES, ["b", "a", "b"])
    assert table[["group", "layer", "neuron"]].to_numpy().tolist() == [
        ["b", 0, 0],
        ["b", 0, 1],
        ["a", 0, 0],
        ["a", 1, 0],
    ]
    assert table["mean_score"].tolist() == pytest.approx([1.5, 0.65, 0.5, 0.4])
    assert table["mean_relative_score"].tolist() == pytest.approx([1, 0.4, 1, 0.8])


@pytest.mark.parametrize(("prompts", "selected"), [(6, 0), (7, 0), (8, 1)])
def test_seven_of_ten_prompts_are_not_more_than_a_share_of_seven_tenths(prompts, selected):
    scores = np.zeros((10, 1, 2), dtype=np.float32)
    scores[:prompts, 0, 1] = 1
    assert len(select_neurons(scores, ["a"] * 10, share=0.7)) == selected


def test_last_bits_of_shares_and_thresholds_do_not_decide():
    assert 0.1 + 0.2 > 0.3  # as floats
    assert not passes(np.array([0.1 + 0.2]), 0.3)[0]
    assert not passes(np.array([0.3]), 0.1 + 0.2)[0]
    assert passes(np.array([0.25, 0.31, 1.0]), 0.3).tolist() == [False, True, True]


def test_prompts_without_a_positive_score_have_no_coarse_neuron_but_count():
    # One prompt has (0, 0); in the others no score is positive. The share is 1/3, mean score (4 - 1 + 0) / 3 and mean
    # relative score (1 + 0 + 0) / 3: -1 relative to a largest score of -1 does not count as 1.
    scores = np.array([[[4, 0]], [[-1, -2]], [[0, 0]]], dtype=np.float32)
    (group,) = group_shares(scores, ["a", "a", "a"])
    assert places(group) == [(0, 0)]
    assert group.share == pytest.approx([1 / 3])
    assert group.mean_score == pytest.approx([1]) and group.mean_relative_score == pytest.approx([1 / 3])
    assert select_neurons(scores[1:], ["a", "a"]).empty


def test_no_prompts_give_an_empty_table_with_the_same_columns():
    empty = select_neurons(np.zeros((0, 2, 2), dtype=np.float32), [])
    assert empty.empty and empty.columns.tolist() == select_neurons(SCORES, ["a"] * 3).columns.tolist()


@pytest.mark.parametrize(
    ("scores", "groups", "options", "message"),
    [
        (SCORES, ["a", "a"], {}, r"2 groups"),
        (SCORES[0], ["a", "a"], {}, r"\(prompts, layers, width\)"),
        (SCORES, ["a"] * 3, {"coarse": 1.0}, "coarse must be"),
        (SCORES, ["a"] * 3, {"share": -0.1}, "share must be"),
        (one_prompt(1, np.nan), ["a"], {}, "not finite"),
    ],
)
def test_what_cannot_be_selected_from_is_named(scores, groups, options, message):
    with pytest.raises(UserError, match=message):
        select_neurons(scores, groups, **options)


# τ starts at 0.7. With more than 5 neurons above it the next threshold is 0.05 higher, with fewer than 2 it is lower.
@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([0.8] * 2, 0.7),  # 2 and 5 are within the range,
        ([0.8] * 5 + [0.7] * 9, 0.7),  # and shares of 0.7 are not above 0.7
        ([0.74] * 7 + [1.0] * 3, 0.75),  # 10 remain at 0.7, 3 at 0.75
        ([0.84] * 3 + [1.0] * 3, 0.85),  # 6 remain at 0.7, 0.75 and 0.8, 3 at 0.85
        ([0.9, 0.62, 0.62, 0.1], 0.6),  # 1 remains at 0.7 and 0.65, 3 at 0.6
        # Between two neighbours the count jumps over the range, upwards or downwards: the lower one is taken.
        ([0.9] + [0.7] * 6, 0.65),  # 1 at 0.7, 7 at 0.65
        ([0.9] + [0.72] * 8, 0.7),  # 9 at 0.7, 1 at 0.75
        ([1.0] * 6, 0.95),  # 6 up to 0.95, none at 1
        ([0.01] * 6, 0.0),  # none down to 0.05, 6 at 0
        ([1.0], 0.0),  # 1 down to 0: no threshold leaves 2
    ],
)
def test_the_adaptive_threshold_leaves_two_to_five_neurons(shares, expected):
    assert adaptive_threshold(np.array(shares)) == expected


def test_a_group_without_coarse_neurons_has_no_adaptive_threshold():
    assert np.isnan(adaptive_threshold(np.zeros(0)))


def test_settings_of_the_adaptive_threshold():
    shares = np.array([0.35, 0.45, 0.55, 0.65, 0.75, 0.85])
    assert adaptive_threshold(shares) == 0.7  # 2 remain
    assert adaptive_threshold(shares, low=3) == 0.6  # 2 at 0.65 too, since 0.65 is not above itself; 3 at 0.6
    assert adaptive_threshold(shares, high=1, low=1) == 0.75
    assert adaptive_threshold(shares, start=0.2) == 0.35  # 6 at 0.2, 0.25 and 0.3, 5 at 0.35
    assert adaptive_threshold(shares, step=0.1, low=5) == 0.4  # 2, 3 (0.6), 4 (0.5), 5 (0.4)
    # One neuron is too few at every threshold. Three steps do not go far; without a limit they end at 0.
    assert 0.55 <= adaptive_threshold(np.ones(1), steps=3) <= 0.6
