"""The table of all tests of one task: what each row says, and why others say nothing."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from kn_thesis.suppression.statistics import WORD_COLUMNS, suppression_tests
from tests.helpers.suppression_tables import Hand, asked_prompts

WORDS = {"these": "plural", "this": "singular", "single": "biased", "the": "neutral"}
ERASE, ENHANCE, EMPTY = (
    ("number", "singular", "erase"),
    ("number", "singular", "enhance"),
    ("number", "plural", "erase"),
)
NOUNS = [noun for noun in "abcdef" for _ in range(2)]
UNSEEN = [number % 3 == 0 for number in range(12)]  # prompts that are not attributed


@pytest.fixture(autouse=True)
def frozen() -> Iterator[None]:
    gc.freeze()
    yield
    gc.unfreeze()


def hand(draws: int = 20, nouns: list[str] = NOUNS) -> Hand:
    """`these` and `this` move alike, but random sets move `this` as much; `single` is never asked; `the` hardly moves.

    Enhancing undoes erasing.
    """
    random = np.random.default_rng(2)
    n = len(nouns)
    before = np.exp(random.normal(-3, 1, (n, 4)))
    before[:, 2] = np.nan
    erase = random.normal([-1, 1, 0, 0], [0.1, 0.1, 1, 0.1], (n, 4))
    chance = random.uniform(-0.5, 0.5, (draws, 4)) * [1, 1, np.nan, 1]
    chance[:1, 1] = 3
    return Hand(
        asked_prompts(nouns, attributed=[not unseen for unseen in UNSEEN[:n]]),
        WORDS,
        before,
        {ERASE: erase, ENHANCE: -erase},
        {ERASE: chance, ENHANCE: chance} if draws else {},
        empty=[EMPTY, ("number", "plural", "enhance")],
        refined_over={"plural": 1},
    )


def table_of(made: Hand, **changes: object) -> pd.DataFrame:
    settings = {"resamples": 200} | changes
    return suppression_tests(*made.tables(), made.prompts, **settings)


def row(table: pd.DataFrame, key: tuple[str, str, str], word: str) -> pd.Series:
    chosen = table[(table[["kind", "set", "operation"]] == list(key)).all(axis=1) & (table["word"] == word)]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_every_combination_has_a_row() -> None:
    table = table_of(hand())
    assert list(table.columns) == WORD_COLUMNS
    rows = [tuple(values) for values in table[["kind", "set", "operation", "word"]].to_numpy()]
    wanted = [(*key, word) for key in (ERASE, ENHANCE, EMPTY, ("number", "plural", "enhance")) for word in WORDS]
    assert rows == wanted
    for count in ("neurons", "prompts", "nouns", "controls"):
        assert table[count].dtype.kind == "i", count
    for flag in ("beyond_controls", "significant", "significant_published"):
        assert table[flag].dtype == bool


def test_values_of_a_word_by_other_means() -> None:
    made = hand()
    found = row(table_of(made, confidence=0.9), ERASE, "these")
    before, change = made.before[:, 0], made.changes[ERASE][:, 0].astype("f4").astype(float)
    after = before * np.exp(made.changes[ERASE][:, 0])
    assert (found["neurons"], found["prompts"], found["nouns"], found["note"]) == (2, 12, 6, "")
    assert found["before"] == pytest.approx(before.mean(), rel=1e-6)
    fall = (after.mean() - before.mean()) / after.mean()
    assert found["relative_change"] == pytest.approx(fall, rel=1e-5) and fall < -1
    assert found["p_published"] == pytest.approx(stats.ttest_ind(before, after).pvalue, rel=1e-4)
    assert found["log_change"] == pytest.approx(change.mean(), rel=1e-6)
    assert found["log_change_unseen"] == pytest.approx(change[UNSEEN].mean(), rel=1e-6)
    assert found["d_z"] == pytest.approx(change.mean() / change.std(ddof=1), rel=1e-6)
    means = change.reshape(6, 2).mean(axis=1)
    t = means.mean() / (means.std(ddof=1) / np.sqrt(6))
    assert found["t"] == pytest.approx(t, rel=1e-6)
    assert found["p_paired"] == pytest.approx(2 * stats.t.sf(abs(t), 5), rel=1e-6)
    assert found["p_wilcoxon"] == pytest.approx(2 / 2**6)
    assert found["low"] < found["log_change"] < found["high"] < 0
    assert found["high"] - found["low"] < 0.2


def test_the_published_test_over_prompts_of_the_set_s_own_number() -> None:
    made = hand()
    made.prompts["number"] = ["singular" if number < 7 else "plural" for number in range(12)]
    whole, own = (table_of(made, published_over=over) for over in ("all", "own"))
    before = made.before[:7, 0]
    after = before * np.exp(made.changes[ERASE][:7, 0])
    found = row(own, ERASE, "these")
    assert found["p_published"] == pytest.approx(stats.ttest_ind(before, after).pvalue, rel=1e-4)
    assert found["relative_change"] == pytest.approx((after.mean() - before.mean()) / after.mean(), rel=1e-5)
    published = ["relative_change", "p_published", "significant_published", "disagreement"]
    pd.testing.assert_frame_equal(whole.drop(columns=published), own.drop(columns=published))
    # Of a target, its own prompts; of the neurons that both numbers share, all.
    made.prompts["group"] = ["this"] * 5 + ["that"] * 7
    for kind, name, number in (("target", "this", 5), ("number", "shared", 12)):
        made.changes = {(kind, name, "erase"): made.changes[next(iter(made.changes))]}
        after = made.before[:number, 0] * np.exp(next(iter(made.changes.values()))[:number, 0])
        p = stats.ttest_ind(made.before[:number, 0], after).pvalue
        found = row(table_of(made, published_over="own"), (kind, name, "erase"), "these")
        assert found["p_published"] == pytest.approx(p, rel=1e-4)


def test_correction_is_over_the_words_asked_of_one_set_and_operation() -> None:
    table = table_of(hand())
    part = table[(table["set"] == "singular") & (table["operation"] == "erase")].set_index("word")
    p = part["p_paired"].drop("single").sort_values()
    expected = np.maximum.accumulate(p * [3, 2, 1]).clip(upper=1)
    np.testing.assert_allclose(part.loc[p.index, "p_paired_holm"], expected, rtol=1e-9)
    assert np.isnan(part.loc["single", "p_paired_holm"])


def test_set_without_neurons_says_why_and_gives_no_number() -> None:
    table = table_of(hand())
    part = table[table["set"] == "plural"]
    assert set(part["note"]) == {"no neuron is selected over 1 prompt"}
    assert (part[["neurons", "prompts", "nouns", "controls"]] == 0).all(axis=None)
    numbers = part.loc[:, "before":"p_wilcoxon_holm"]
    assert numbers.isna().all(axis=None) and part["p_controls"].isna().all()
    assert not part[["significant", "significant_published", "beyond_controls"]].any(axis=None)
    made = hand()
    made.refined_over = {"singular": 1}
    single = table_of(made).query("set == 'singular' and prompts > 0")
    assert set(single["note"]) == {"neurons of 1 prompt"} and single["log_change"].notna().all()
    made.refined_over = {}
    assert set(table_of(made).query("set == 'plural'")["note"]) == {"no neuron is selected over 10 prompts"}


def test_word_left_out_says_why() -> None:
    found = row(table_of(hand()), ERASE, "single")
    assert found["note"] == "left out: word has too many tokens" and found["prompts"] == found["nouns"] == 0
    assert found.loc["before":"p_wilcoxon_holm"].isna().all() and np.isnan(found["p_controls"])
    assert not found["significant"] and not found["beyond_controls"]


def test_random_sets() -> None:
    made = hand()
    table = table_of(made)
    found = row(table, ERASE, "these")
    assert (found["controls"], found["p_controls"], found["beyond_controls"]) == (20, 1 / 21, True)
    chance = made.random[ERASE][:, 0]
    assert (found["control_low"], found["control_high"]) == (chance.min(), chance.max())
    assert found["significant"] and found["p_paired_holm"] < 0.05
    exceeded = row(table, ERASE, "this")
    assert (exceeded["p_controls"], exceeded["beyond_controls"]) == (2 / 21, False)
    assert exceeded["p_paired_holm"] < 0.001 and not exceeded["significant"]
    inside = row(table, ERASE, "the")
    share = (1 + (np.abs(made.random[ERASE][:, 3]) >= abs(inside["log_change"])).sum()) / 21
    assert inside["p_controls"] == pytest.approx(share) and not inside["beyond_controls"]


def test_beyond_all_random_sets_and_yet_chance() -> None:
    made = hand()
    made.random[ERASE][:, 3] = 0
    found = row(table_of(made), ERASE, "the")
    assert found["beyond_controls"] and found["p_paired_holm"] > 0.05 and not found["significant"]


@pytest.mark.parametrize("kept", ["own rows", "no rows", "no rows of this set"])
def test_without_random_sets_nothing_is_significant(kept: str) -> None:
    """A layer may have too few other neurons to draw from."""
    made = hand(draws=0)
    effects, controls, sets, words = made.tables()
    if kept != "own rows":
        controls = controls[(controls["operation"] != "erase") & (kept != "no rows")]
    table = suppression_tests(effects, controls, sets, words, made.prompts, resamples=50)
    assert list(table.columns) == WORD_COLUMNS
    assert table["controls"].dtype.kind == "i" and (table["controls"] == 0).all()
    assert table[["p_controls", "control_low", "control_high"]].isna().all(axis=None)
    assert table["beyond_controls"].dtype == bool
    assert not table["beyond_controls"].any() and not table["significant"].any()
    assert row(table, ERASE, "these")["p_paired_holm"] < 0.001


def test_disagreements() -> None:
    """`these` moves evenly, but less than probabilities differ between prompts; random sets move `this` as much."""
    table = table_of(hand())
    for one in table.itertuples():
        if one.significant_published == one.significant:
            assert one.disagreement == ""
        else:
            assert one.disagreement == ("published only" if one.significant_published else "paired only")
    assert row(table, ERASE, "these")["disagreement"] == "paired only"
    made = hand()
    made.before[:, 1] = 0.01  # now the unpaired test, too, sees that it moves, and random sets move it as much
    assert row(table_of(made), ERASE, "this")["disagreement"] == "published only"
    made.random[ERASE][0, 1] = 0
    found = row(table_of(made), ERASE, "this")
    assert found["significant"] and found["significant_published"] and found["disagreement"] == ""
    assert found["p_published"] < 1e-9 < found["p_paired_holm"]
    strict = row(table_of(made, level=1e-9), ERASE, "this")
    assert strict["significant_published"] and not strict["significant"]


@pytest.mark.parametrize("nouns", ["abcd", "aabbccdd", "ab", "a"])
def test_no_p_below_five(nouns: str) -> None:
    """Four nouns have no paired test; four prompts have no test at all."""
    table = table_of(hand(nouns=list(nouns)))
    part = table[(table["set"] == "singular") & (table["word"] != "single")]
    assert set(part["note"]) == {"fewer than 5 nouns: no test"}
    columns = [name for name in table.columns if name.startswith("p_")]
    assert len(columns) == 6
    given = part[columns].notna().any()
    assert list(given[given].index) == ([] if len(nouns) < 5 else ["p_published", "p_controls"])
    assert part[["low", "high"]].isna().all(axis=None) and part["log_change"].notna().all()
    assert not part["significant"].any()


def test_all_sets_empty() -> None:
    made = hand()
    made.empty, made.changes, made.random = [ERASE, EMPTY], {}, {}
    table = table_of(made)
    assert list(table.columns) == WORD_COLUMNS and len(table) == 8
    assert table["note"].str.startswith("no neuron is selected").all() and not table["significant"].any()
    assert (table["disagreement"] == "").all()


def test_nothing_changes_at_all() -> None:
    made = hand()
    made.changes = {ERASE: np.zeros((12, 4))}
    found = row(table_of(made), ERASE, "these")
    assert found[["t", "p_paired", "p_wilcoxon", "p_paired_holm"]].isna().all()
    assert found["log_change"] == found["low"] == found["high"] == 0
    assert not found["significant"] and found["p_controls"] == 1
