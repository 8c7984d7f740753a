"""Where edits work: tables by layer against loops, and whether tracing tells, in worlds where it does and does not."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from kn_thesis.editing.statistics import LAYERS, LOCALIZATION, cue_effects, informed, layer_rows, localization_rows
from kn_thesis.stats import clustered_interval
from tests.helpers.editing_task_tables import sweep_of, traces_of

INTERVAL = {"resamples": 200, "confidence": 0.9, "seed": 1}
TESTED = {"level": 0.05, "permutations": 199, "seed": 1}
RELATION = {"task": "relation"}


def names(count: int) -> list[str]:
    return [f"fact {number:02}" for number in range(count)]


def simulated(
    seed: int, told: float, facts: int = 24, layers: int = 4, alike: float = 1.0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A sweep and effects, skewed as probabilities are; told: what effects tell; alike: a fact's layers."""
    random = np.random.default_rng(seed)
    profile = alike * random.normal(size=(facts, 1)) + random.normal(size=(facts, layers))
    logits = alike * random.normal(size=(facts, 1)) + random.normal(size=(facts, layers)) + np.arange(layers)
    p_after = 1 / (1 + np.exp(-2 * (logits + told * profile)))
    fact, layer = (index.ravel() for index in np.indices(profile.shape))
    about = np.array(names(facts))[fact]
    effects = {"prompt": about, "cluster": about, "layer": layer, "mlp": np.exp(profile).ravel() / 20, "hidden": np.nan}
    return sweep_of(p_after, names(facts)), pd.DataFrame(effects)


def test_effects_at_the_cues_last_token_alone() -> None:
    mlp, hidden = np.arange(12.0).reshape(3, 4), -np.arange(12.0).reshape(3, 4)
    tracing = traces_of(mlp, ["a", "b", "a"], hidden)
    found = cue_effects(tracing, "relation")
    assert len(found) == 12
    for row in found.itertuples():
        at = int(row.prompt[1:]), row.layer
        assert (row.cluster, row.mlp, row.hidden) == ("aba"[at[0]], mlp[at], hidden[at])
    agreement = cue_effects(tracing, "paradigm")  # there the effect on the preference is looked at
    np.testing.assert_array_equal(agreement["mlp"], -found["mlp"])
    assert cue_effects(traces_of(mlp[:0], []), "relation").empty


def test_layer_rows_against_a_loop() -> None:
    random = np.random.default_rng(1)
    clusters = [f"fact {number % 7}" for number in range(12)]
    sweeps, traced = [], []
    for task in ("P36", "P101"):
        for criterion in ("reliability", "symmetry_new"):
            of = random.random((12, 3))
            sweep = sweep_of(of, clusters, held=random.random((12, 3)), criterion=criterion)
            sweeps.append(sweep[sweep["edit"] != "e05"] if criterion == "symmetry_new" else sweep)
            sweeps[-1] = sweeps[-1].assign(task=task)
        traced.append(cue_effects(traces_of(random.random((5, 4)), names(5), random.random((5, 4))), "relation"))
    sweep, effects = pd.concat(sweeps), pd.concat(traced)
    found = layer_rows(sweep, effects, **INTERVAL)
    assert list(found) == LAYERS and len(found) == 6
    assert found["criterion"].tolist() == ["reliability", "symmetry_new"] * 3
    for row in found.itertuples():
        cells = [c for c in sweep.itertuples() if (c.layer, c.criterion) == (row.layer, row.criterion)]
        assert row.edits == len(cells) == (24 if row.criterion == "reliability" else 22)
        assert row.held == pytest.approx(sum(c.held for c in cells) / len(cells))
        assert row.p_after == pytest.approx(sum(c.p_after for c in cells) / len(cells))
        ends = clustered_interval(np.array([[c.held] for c in cells]), [c.cluster for c in cells], **INTERVAL)
        assert (row.low, row.high) == pytest.approx((ends[0][0], ends[1][0]))
        at = [c for c in effects.itertuples() if c.layer == row.layer]
        assert row.trace_mlp == pytest.approx(sum(c.mlp for c in at) / 10)
        assert row.trace_hidden == pytest.approx(sum(c.hidden for c in at) / 10)
    pd.testing.assert_frame_equal(
        found, layer_rows(sweep.sample(frac=1, random_state=1), effects, **INTERVAL), check_exact=True
    )
    untraced = layer_rows(sweep, None, **INTERVAL)
    assert untraced[["trace_mlp", "trace_hidden"]].isna().all(axis=None)
    pd.testing.assert_frame_equal(untraced[LAYERS[:7]], found[LAYERS[:7]])
    assert list(layer_rows(sweep[:0], None, **INTERVAL)) == LAYERS


def test_peaks_and_the_best_layer() -> None:
    p_after = np.tile([0.2, 0.6, 0.9, 0.1], (6, 1))
    mlp, hidden = np.tile([0.1, 0.2, 0.4, 0.3], (6, 1)), np.tile([0.5, 0.2, 0.4, 0.3], (6, 1))
    sweep = pd.concat([sweep_of(p_after, names(6)), sweep_of(p_after[:, ::-1], names(6), criterion="locality")])
    effects = {"task": cue_effects(traces_of(mlp, names(6), hidden), "relation")}
    row = localization_rows({"task": sweep}, effects, RELATION, **TESTED).iloc[0]
    assert row[["best_layer", "peak_mlp", "peak_hidden"]].tolist() == [2, 2, 0]
    assert row[["agrees_mlp", "agrees_hidden"]].tolist() == [True, False]
    assert row["facts"] == 6 and math.isnan(row["p"]) and row["note"] and not row["informs"]


def test_the_lowest_of_equal_layers_is_the_best() -> None:
    values = np.random.default_rng(2).random(9)
    p_after = np.stack([values * 0, values, values[::-1], np.roll(values, 4)], axis=1)
    effects = {"task": cue_effects(traces_of(p_after[:, [1, 0, 2, 3]], names(9)), "relation")}
    for flip in (1, -1):  # sums of the same numbers in another order
        row = localization_rows({"task": sweep_of(p_after[::flip], names(9))}, effects, RELATION, **TESTED).iloc[0]
        assert row[["best_layer", "peak_mlp", "agrees_mlp"]].tolist() == [1, 0, False]


@pytest.mark.parametrize("told", [0.0, 1.0])
def test_r2_is_that_of_least_squares_with_an_interaction(told: float) -> None:
    sweep, effects = simulated(3, told)
    extra = sweep[sweep["cluster"] == "fact 03"].assign(edit="another", p_after=0.5)
    sweep = pd.concat([sweep, extra, sweep[sweep["cluster"] == "fact 04"].assign(edit="more", cluster="untraced")])
    found = informed(sweep, effects, 99, 1)
    rows = sweep.merge(effects, on=["cluster", "layer"])
    assert found["facts"] == 24 and len(rows) == 25 * 4
    alone, both = (smf.ols(f"p_after ~ C(layer){term}", rows).fit() for term in ("", " * mlp"))
    assert found["r2_layer"] == pytest.approx(alone.rsquared, rel=1e-9)
    assert found["r2_both"] == pytest.approx(both.rsquared, rel=1e-9)
    assert found["gain"] == pytest.approx(both.rsquared - alone.rsquared, rel=1e-9)
    assert both.df_model - alone.df_model == 4


def test_a_fact_with_several_traced_prompts_has_their_mean() -> None:
    sweep, effects = simulated(4, 0.5)
    noise = np.random.default_rng(1).normal(size=len(effects))
    parts = (effects.assign(mlp=effects["mlp"] + d * noise, prompt=effects["prompt"] + str(d)) for d in (-1, 1))
    split = pd.concat(parts)
    assert informed(sweep, split, 50, 1) == pytest.approx(informed(sweep, effects, 50, 1))


def test_tracing_that_predicts_success_within_layers_informs() -> None:
    sweep, effects = simulated(5, 2.0)
    found = localization_rows({"task": sweep}, {"task": effects}, RELATION, **TESTED).iloc[0]
    assert found["p"] == 1 / 200 and found["gain"] > 0.1 and found["informs"]


def test_tracing_that_tells_nothing_informs_in_five_of_a_hundred_sweeps() -> None:
    sweeps = 400
    for facts, layers, alike in ((24, 4, 1.0), (8, 6, 4.0)):
        p = np.array([informed(*simulated(seed, 0.0, facts, layers, alike), 99, seed)["p"] for seed in range(sweeps)])
        # Three standard errors of a share of 5 % on both sides.
        assert abs((p <= 0.05).mean() - 0.05) < 3 * math.sqrt(0.05 * 0.95 / sweeps)
        assert abs(p.mean() - 0.5) < 3 / math.sqrt(12 * sweeps)


def test_an_effect_of_layers_alone_is_not_taken_for_one_of_facts() -> None:
    """All of P(new) follows from the layer's mean effect: the layer tells it, and a fact's own effect nothing more."""
    random = np.random.default_rng(6)
    by_layer = np.array([0.1, 0.5, 0.9, 0.3])
    p_after = by_layer + random.normal(0, 0.02, (24, 4))
    effects = {"task": cue_effects(traces_of(by_layer + random.normal(0, 0.02, (24, 4)), names(24)), "relation")}
    row = localization_rows({"task": sweep_of(p_after, names(24))}, effects, RELATION, **TESTED).iloc[0]
    assert row["r2_layer"] > 0.95 and row["agrees_mlp"] and row["p"] > 0.05 and not row["informs"]


def test_holm_over_the_tasks_of_a_model() -> None:
    worlds = {f"P{number}": simulated(number, told) for number, told in enumerate((1.0, 0.0, 0.4))}
    sweeps, effects = ({task: world[which] for task, world in worlds.items()} for which in (0, 1))
    table = localization_rows(sweeps, effects, dict.fromkeys(sweeps, "relation"), **TESTED)
    assert list(table) == LOCALIZATION and table["task"].tolist() == list(sweeps)
    expected, largest = {}, 0.0
    for rank, (row, p) in enumerate(table["p"].sort_values().items()):
        largest = max(largest, min(1.0, (3 - rank) * p))
        expected[row] = largest
    assert table["p_holm"].to_dict() == pytest.approx(expected)
    assert table["informs"].tolist() == [value < 0.05 for value in table["p_holm"]]
    turned = {task: sweep.sample(frac=1, random_state=1) for task, sweep in sweeps.items()}
    again = localization_rows(turned, effects, dict.fromkeys(sweeps, "relation"), **TESTED)
    pd.testing.assert_frame_equal(table, again, check_exact=True)


def test_designs_without_an_answer_say_so() -> None:
    sweep, effects = simulated(7, 1.0)
    flat, constant = sweep.assign(p_after=1.0), effects.assign(mlp=0.25)
    facts = sweep["cluster"].isin(names(4))
    cases = {
        "no P(new) differs": (flat, effects),
        "no effect differs": (sweep, constant),
        "fewer than 5 facts": (sweep[facts], effects),
        "not traced": (sweep, None),
        "not edited": (sweep[:0], effects),
        "fewer than 5 facts both": (sweep, effects.assign(mlp=np.nan)),
    }
    for note, (rows, traced) in cases.items():
        found = informed(rows, traced, 20, 1)
        assert note in found["note"]
        assert all(math.isnan(found[name]) for name in ("r2_layer", "r2_both", "gain", "p"))
    one = effects["mlp"].where(effects["layer"] != 2, 0.1)  # a layer in which tracing sees no difference
    assert informed(sweep, effects.assign(mlp=one), 99, 1)["p"] == 0.01
    by_layer = sweep.assign(p_after=sweep["layer"] / 4)  # nothing is left to tell
    told = informed(by_layer, effects, 99, 1)
    assert (told["r2_layer"], told["r2_both"], told["gain"], told["p"]) == pytest.approx((1, 1, 0, 1))
    table = localization_rows({"task": sweep[:0]}, {}, RELATION, **TESTED)
    assert table[["best_layer", "peak_mlp", "p_holm"]].isna().all(axis=None) and not table["agrees_mlp"].any()
    assert list(localization_rows({}, {}, {}, **TESTED)) == LOCALIZATION
