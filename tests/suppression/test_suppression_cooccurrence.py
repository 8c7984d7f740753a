"""Effects against co-occurrence: textbook regressions, and simulated words whose slope is known."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from kn_thesis.suppression.regression import correct_slopes, log_ratios, number_effects, regressions
from kn_thesis.suppression.tables import CONTRAST
from tests.helpers.suppression_tables import Hand, asked_prompts

COLUMNS = ["operation", "set", "words", "n_words", "slope", "low", "high", "p", "r_squared", "prompts"]
COLUMNS += ["mixed_slope", "mixed_low", "mixed_high", "mixed_p", "note"]
# Anscombe (1973), The American Statistician 27: the first of his four data sets.
X = [10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5]
Y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68]
# Log-ratios such as words have: six of singular number, seven of plural number, 13 in between, and three neutral.
RATIOS = np.concatenate([np.full(6, -7.5), np.full(7, 7.3), np.linspace(-3.4, 2.5, 13), np.zeros(3)])
GROUPS = ["singular"] * 6 + ["plural"] * 7 + ["biased"] * 13 + ["neutral"] * 3


@pytest.fixture(autouse=True)
def frozen() -> Iterator[None]:
    gc.freeze()
    yield
    gc.unfreeze()


def names(n: int) -> list[str]:
    return [f"w{number:02}" for number in range(n)]


def long(effects: np.ndarray, groups: Sequence[str], operation: str = "erase") -> pd.DataFrame:
    """`effects` (prompts, words) as a table like number_effects'."""
    prompts, words = effects.shape
    return pd.DataFrame(
        {
            "prompt": np.repeat([f"p{number:03}" for number in range(prompts)], words),
            "operation": operation,
            "set": "plural",
            "word": names(words) * prompts,
            "word_group": list(groups) * prompts,
            "log_change": effects.ravel(),
        }
    )


def plain_hc3(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and its HC3 error (MacKinnon & White 1985): residuals over one less leverage, in the sandwich."""
    design = np.column_stack([np.ones(len(x)), x])
    inverse = np.linalg.inv(design.T @ design)
    beta = inverse @ design.T @ y
    leverage = np.array([row @ inverse @ row for row in design])
    scaled = (y - design @ beta) / (1 - leverage)
    covariance = inverse @ (design.T * scaled**2) @ design @ inverse
    return beta[1], math.sqrt(covariance[1, 1])


def test_log_ratios_by_hand() -> None:
    """Half a count is added to both: 7.5/2.5 over two roles, 0.5/4.5, and nothing for a word without co-occurrence."""
    counts = [("all", "subject", "plural", 4), ("all", "object", "plural", 3), ("all", "object", "singular", 2)]
    counts += [("sole", "subject", "singular", 4), ("the", "subject", "plural", 0), ("the", "subject", "singular", 0)]
    found = log_ratios(pd.DataFrame(counts, columns=["word", "role", "number", "count"]))
    assert list(found.columns) == ["plural", "singular", "log_ratio"] and list(found.index) == ["all", "sole", "the"]
    np.testing.assert_array_equal(found[["plural", "singular"]], [[7, 2], [0, 4], [0, 0]])
    np.testing.assert_allclose(found["log_ratio"], [math.log(3), math.log(1 / 9), math.nan])
    one = log_ratios(pd.DataFrame(counts[:2], columns=["word", "role", "number", "count"]))
    assert one.loc["all", "log_ratio"] == pytest.approx(math.log(15))


def made_of(sets: Sequence[str]) -> Hand:
    change = np.arange(12.0).reshape(3, 4) / 8
    changes = {("number", name, "erase"): change * (1 + k) for k, name in enumerate(sets)}
    changes |= {("number", "shared", "erase"): change + 9, ("target", "these", "erase"): change + 9}
    words = {"these": "plural", "this": "singular", "all": "biased", "(plural form)": "plural"}
    before = np.full((3, 4), 0.1)
    before[1, 0] = np.nan
    return Hand(asked_prompts(["dog", "cat", "ox"]), words, before, changes)


def test_number_effects_and_their_contrast() -> None:
    found = number_effects(made_of(["singular", "plural"]).effects())
    assert list(found.columns) == ["prompt", "operation", "word", "word_group", "set", "log_change"]
    assert len(found) == 3 * (9 - 1)  # three sets, and a word that one prompt cannot be asked
    wide = found.pivot(index=["prompt", "word"], columns="set", values="log_change")
    assert set(wide.columns) == {"singular", "plural", CONTRAST}
    np.testing.assert_array_equal(wide[CONTRAST], wide["plural"] - wide["singular"])
    assert wide.loc[("p2", "all"), "singular"] == 10 / 8 and wide.loc[("p2", "all"), "plural"] == 20 / 8
    assert set(found["word"]) == {"these", "this", "all"}
    assert set(number_effects(made_of(["plural"]).effects())["set"]) == {"plural"}


def test_effect_known_under_one_set_only_has_no_contrast() -> None:
    effects = made_of(["singular", "plural"]).effects()
    lost = (effects["set"] == "plural") & (effects["word"] == "all") & (effects["prompt"] == "p0")
    found = number_effects(effects[~lost])
    part = found[(found["word"] == "all") & (found["prompt"] == "p0")]
    assert list(part["set"]) == ["singular"] and found["log_change"].notna().all()


@pytest.mark.parametrize("left", ["no rows", "no numbers"])
def test_nothing_gives_empty_tables(left: str) -> None:
    effects = made_of([]).effects()
    found = number_effects(effects[:0] if left == "no rows" else effects)
    assert list(found.columns) == ["prompt", "operation", "word", "word_group", "set", "log_change"] and found.empty
    table = regressions(found, pd.Series(dtype=float), [])
    assert list(table.columns) == COLUMNS and table.empty
    assert list(correct_slopes(table, ["operation", "set", "words"]).columns) == [*COLUMNS, "p_holm"]


def test_anscombes_first() -> None:
    """Slope 0.5001 and r² 0.667, as published; errors by a plain formula; two prompts around each word's mean."""
    y = np.array(Y)
    table = long(np.stack([y - 1, y + 1]), ["biased"] * 6 + ["neutral"] * 5)
    found = regressions(table, pd.Series(X, names(11), dtype=float), [], confidence=0.9)
    assert list(found["words"]) == ["all", "without number"] and list(found.columns) == COLUMNS
    row = found.iloc[0]
    assert row["slope"] == pytest.approx(0.5001, abs=5e-5) and row["r_squared"] == pytest.approx(0.6665, abs=5e-5)
    slope, error = plain_hc3(np.array(X, dtype=float), y)
    half = stats.t.ppf(0.95, 9) * error
    assert (row["low"], row["high"]) == (pytest.approx(slope - half), pytest.approx(slope + half))
    assert row["p"] == pytest.approx(2 * stats.t.sf(slope / error, 9))
    assert (row["n_words"], row["prompts"], row["note"]) == (11, 0, "")
    assert np.isnan(row["mixed_p"])


def test_mixed_model_of_balanced_data_has_the_slope_of_least_squares() -> None:
    """Each prompt has every word: prompts' levels leave the slope alone; they are taken out of its error."""
    random = np.random.default_rng(0)
    x = np.array(X, dtype=float)
    effects = 0.3 * x + random.normal(0, 2, (40, 1)) + random.normal(0, 0.5, (40, 11))
    table = long(effects, ["biased"] * 11)
    sample = sorted(set(table["prompt"]))[:25]
    row = regressions(table, pd.Series(x, names(11)), sample).iloc[0]
    assert row["prompts"] == 25
    inside = effects[:25] - effects[:25].mean(axis=1, keepdims=True)
    centred = x - x.mean()
    slope = (inside @ centred).sum() / (25 * (centred**2).sum())
    assert row["mixed_slope"] == pytest.approx(slope, rel=1e-4)
    residual = inside - slope * centred
    error = math.sqrt((residual**2).sum() / (25 * 10 - 1) / (25 * (centred**2).sum()))
    assert row["mixed_high"] - row["mixed_low"] == pytest.approx(2 * 1.959964 * error, rel=1e-3)
    assert row["mixed_low"] < 0.3 < row["mixed_high"] and row["mixed_p"] < 1e-6
    means = np.polyfit(x, effects.mean(axis=0), 1)[0]
    assert row["slope"] == pytest.approx(means)


def test_known_slope_is_found_among_words_with_cooccurrence() -> None:
    random = np.random.default_rng(1)
    effects = -0.2 * RATIOS + random.normal(0, 0.3, 29) + random.normal(0, 1, (60, 1)) + random.normal(0, 1, (60, 29))
    effects[:, 20:22] = 50  # words without co-occurrence, and moving wildly, are left out
    ratios = pd.Series(np.where(np.isin(np.arange(29), [20, 21]), np.nan, RATIOS), names(29)).iloc[:-1]
    found = regressions(long(effects, GROUPS), ratios, [f"p{number:03}" for number in range(20)]).set_index("words")
    assert list(found["n_words"]) == [26, 13]
    for row in found.itertuples():
        assert row.low < -0.2 < row.high and row.p < 0.005 and row.note == ""
        assert row.mixed_slope == pytest.approx(-0.2, abs=0.15)
    assert found.loc["all", "high"] - found.loc["all", "low"] < 0.06


def unmoved(random: np.random.Generator, prompts: int, experiments: int) -> pd.DataFrame:
    """Experiments (in place of operations) in which words have effects of their own, whatever their co-occurrence."""
    tables = [
        long(random.normal(0, 0.3, 29) + random.normal(0, 0.3, (prompts, 29)), GROUPS, f"e{number}")
        for number in range(experiments)
    ]
    return pd.concat(tables)


def test_words_that_do_not_follow_their_cooccurrence() -> None:
    """Null slopes over 200 simulated sets of words: p < 0.05 in about 5 % of 29 words, and of 16 without number."""
    found = regressions(unmoved(np.random.default_rng(2), 2, 200), pd.Series(RATIOS, names(29)), [])
    rates = (found["p"] < 0.05).groupby(found["words"]).mean()
    print(dict(rates))
    assert found["p"].notna().all() and len(found) == 400
    assert rates.between(0.015, 0.08).all()  # the rate of 200 has an error of 1.5 %


def test_mixed_model_takes_what_is_a_words_own_for_evidence() -> None:
    """As the docstring warns: more than a third of null slopes over twelve prompts."""
    effects, ratios = unmoved(np.random.default_rng(4), 12, 12), pd.Series(RATIOS, names(29))
    experiments = [part.assign(operation="erase") for _, part in effects.groupby("operation")]
    found = pd.concat([regressions(part, ratios, set(part["prompt"])) for part in experiments])
    print((found["mixed_p"] < 0.05).mean())
    assert found["mixed_p"].notna().all() and (found["mixed_p"] < 0.05).mean() > 1 / 3


@pytest.mark.parametrize("seed", [5, 9, 16])
def test_prompts_without_a_level_of_their_own(seed: int) -> None:
    """The fit of a variance of 0 may end in a singular matrix; the slope and its error are those of least squares."""
    random = np.random.default_rng([seed, 12])
    effects = random.normal(0, 0.3, 16) + random.normal(0, 0.3, (12, 16))
    table = long(effects, GROUPS[13:])
    row = regressions(table, pd.Series(RATIOS[13:], names(16)), set(table["prompt"])).iloc[0]
    plain = stats.linregress(np.tile(RATIOS[13:], 12), effects.ravel())
    assert row["mixed_slope"] == pytest.approx(plain.slope, rel=1e-6)
    assert row["mixed_high"] - row["mixed_low"] == pytest.approx(2 * 1.959964 * plain.stderr, rel=1e-3)


def test_what_cannot_be_regressed() -> None:
    effects = np.random.default_rng(3).normal(0, 1, (8, 6))
    groups = ["plural", "singular", "biased", "biased", "biased", "neutral"]
    ratios = pd.Series([7.0, -7, 1, 2, 3, 0], names(6))
    sample = [f"p00{number}" for number in range(8)]
    found = regressions(long(effects, groups), ratios, sample).set_index("words")
    few = found.loc["without number"]
    assert few["n_words"] == 4 and few["note"] == "fewer than 5 words with a co-occurrence of their own: no test"
    assert few[["slope", "p", "mixed_slope", "mixed_p"]].isna().all()
    assert found.loc["all", "note"] == "" and np.isfinite(found.loc["all", "mixed_p"])
    assert np.isnan(regressions(long(effects, groups), ratios, sample[:4])["mixed_p"]).all()
    alike = regressions(long(effects, groups), ratios * 0 + 1, sample)
    assert alike["p"].isna().all() and (alike["note"] != "").all()
    alone = regressions(long(effects, groups), pd.Series([7.0, 0, 0, 0, 0, 0], names(6)), sample).iloc[0]
    assert np.isnan(alone["p"]) and alone["note"] == "all words but one have the same co-occurrence: no test"
    still = regressions(long(effects * 0, groups), ratios, sample).iloc[0]
    assert np.isnan(still["p"]) and still["slope"] == 0 and still["note"] == "no word moves: no test"
    nowhere = regressions(long(effects, groups), pd.Series(dtype=float), sample)
    assert nowhere.empty and list(nowhere.columns) == COLUMNS


def test_correction_stays_within_its_group() -> None:
    table = pd.DataFrame({"set": ["a", "b", "a", "b", "b"], "p": [0.02, 0.01, 0.03, np.nan, 0.04]}, index=range(5, 10))
    found = correct_slopes(table, ["set"])
    np.testing.assert_allclose(found["p_holm"], [0.04, 0.02, 0.04, np.nan, 0.04])
    assert "p_holm" not in table and list(found.index) == list(table.index)


def test_the_mixed_model_is_fitted_for_the_published_operation_alone() -> None:
    tables = [unmoved(np.random.default_rng(5), 6, 1).assign(operation=name) for name in ("erase", "enhance")]
    found = regressions(pd.concat(tables), pd.Series(RATIOS, names(29)), {f"p{n:03}" for n in range(6)})
    fitted = found.groupby("operation")["mixed_p"].apply(lambda p: p.notna().all())
    assert fitted["erase"] and not fitted["enhance"] and found["p"].notna().all()
