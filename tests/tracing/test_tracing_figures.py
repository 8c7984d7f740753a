"""Figures of the chapter on tracing: what they draw is what the tables hold, and it can be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from kn_thesis.report.style import save_figure, use_style
from kn_thesis.tracing.figures import CONTRAST_STYLES, STATE_COLOURS, plot_lines, plot_sites, wrap_text
from kn_thesis.tracing.heatmaps import plot_examples, plot_roles
from kn_thesis.tracing.summary import HEADS
from tests.helpers.figure_texts import check_readable, written
from tests.helpers.tracing_csv_tables import (
    KINDS,
    TASKS,
    effect_of,
    examples_table,
    roles_table,
    site_row,
    untested,
    without_values,
)

PLOTS = {"examples": plot_examples, "roles": plot_roles, "lines": plot_lines, "sites": plot_sites}
LONG = "determiner_noun_agreement_with_adj_irregular_2"
TOKENS = ("[CLS]", "Ġtoken", "▁Anti", "##dis", "Antidisestablishmentarianism", *["a", "bcde"] * 7, "[MASK]", ".")


@pytest.fixture(autouse=True)
def _style() -> Iterator[None]:
    use_style()
    yield
    plt.close("all")


def maps(figure: Figure) -> list[tuple[str, Axes]]:
    """Heat maps in order, by what is written above them; bars are none."""
    return [
        (axis.get_title(loc="center"), axis) for axis in figure.axes if axis.get_title(loc="center") and axis.images
    ]


def sites_table_by_hand() -> pd.DataFrame:
    other = {"measure": "probability", "headline": False, "early_contrast": 99.0, "late_contrast": 99.0}
    rows = [
        site_row("bert", "relation", "P36"),
        site_row("bert", "relation", "P101", two_sites=False, late_contrast=-0.3, late_contrast_high=-0.2),
        site_row("bert", "paradigm", LONG, **other),
        site_row("bert", "paradigm", LONG),
        site_row("gpt2", "relation", "P36", **without_values("nothing was traced")),
        site_row("gpt2", "paradigm", LONG, **untested("fewer than 5 facts or nouns: no test")),
    ]
    return pd.DataFrame(rows)


def test_examples_show_tokens_and_effects() -> None:
    table = examples_table(models=("bert", "gpt2"))
    figure = plot_examples(table.sample(frac=1, random_state=1), ["gpt2", "bert"])
    said = written(figure)
    # The models' order is the caller's; facts go before syntax.
    heads = [text for text in said if " · " in text]
    assert heads == [f"{model} · {task}" for model in ("gpt2", "bert") for task in ("P36", "anaphor_number_agreement")]
    assert said.count("P(target): clean 0.91 → corrupted 0.13") == 2
    assert said.count("share of target against foil: clean 0.91 → corrupted 0.13") == 2
    for token in ("[CLS]", "the", "Ann*", "##ika*", "is", "[MASK]"):
        assert said.count(token) == 4, token
    found = maps(figure)
    assert [name for name, _ in found] == ["hidden states", "MLP outputs", "attention outputs"] * 4
    for number, kind in enumerate(("hidden", "mlp", "attention")):
        values = found[number][1].images[0].get_array()
        expected = [[effect_of(kind, role, n, 4) for n in range(4)] for role in [*["before"] * 3, "cue last", "before"]]
        np.testing.assert_allclose(values[:5], expected)
        np.testing.assert_allclose(values[5], [effect_of(kind, "gap", n, 4) for n in range(4)])
    assert "Antidisestablishm…" in written(plot_examples(examples_table(TOKENS), ["bert"]))
    labels = {label.get_text(): label.get_weight() for label in found[0][1].get_yticklabels()}
    assert {name for name, weight in labels.items() if weight == "bold"} == {"Ann*", "##ika*"}


def test_a_prompt_s_heat_maps_share_their_scale() -> None:
    table = examples_table()
    table.loc[table["task"] == "P36", "effect"] *= 0.1
    limits = [(axis.images[0].norm.vmin, axis.images[0].norm.vmax) for _, axis in maps(plot_examples(table, ["bert"]))]
    assert len(set(limits[:3])) == 1 and len(set(limits[3:])) == 1
    assert limits[0][1] == pytest.approx(0.079) and limits[3][1] == pytest.approx(0.79)
    # 0 is white, whatever the range: both sides have one length, and the bar shows what there is of them.
    assert limits[0][0] == -limits[0][1]
    for axis in plot_examples(table, ["bert"]).axes:
        if axis.get_title(loc="left") == "effect":
            assert axis.get_ylim() in [pytest.approx((-0.001, 0.079)), pytest.approx((-0.01, 0.79))]


def test_colours_are_a_state_s_own_above_0_and_grey_below() -> None:
    image = maps(plot_examples(examples_table(), ["bert"]))[1][1].images[0]
    assert image.cmap(1.0)[:3] == pytest.approx(to_rgb(STATE_COLOURS["mlp"]))
    red, green, blue, _ = image.cmap(0.0)
    assert red == green == blue < 0.5
    assert image.cmap(image.norm(0.0))[:3] == pytest.approx((1, 1, 1), abs=0.01)


def test_kinds_that_were_not_restored_have_no_column() -> None:
    kinds = ("attention", "mlp")
    assert [name for name, _ in maps(plot_examples(examples_table(kinds=kinds), ["bert"]))] == [
        "MLP outputs",
        "attention outputs",
    ] * 2
    assert len(maps(plot_roles(roles_table(kinds=kinds), ["bert"]))) == 4
    lines = plot_lines(roles_table(kinds=kinds), ["bert"])
    assert [text.get_text() for text in lines.legends[0].get_texts()] == ["MLP outputs", "attention outputs"]


def test_tokens_are_no_formulas() -> None:
    said = written(plot_examples(examples_table(("$a$", "$", "_b_", "^x", "$\\frac$", "end")), ["bert"]))
    assert {"$a$", "$", "_b_*", "^x*", "$\\frac$"} <= set(said)


def test_roles_are_averages_of_the_headline_measure() -> None:
    table = roles_table()
    table.loc[(table["kind"] == "paradigm") & (table["measure"] == "probability"), "effect"] = 77.0
    figure = plot_roles(table.sample(frac=1, random_state=2), ["gpt2"])
    said = written(figure)
    heads = ["gpt2 · facts", "P(target), 2 relations", "gpt2 · syntax", "share of target against foil, 2 paradigms"]
    assert [text for text in said if text in heads] == heads
    found = maps(figure)
    assert [label.get_text() for label in found[0][1].get_yticklabels()] == ["before", "cue last", "blank"]
    for number, (_, axis) in enumerate(found):
        kind = ("hidden", "mlp", "attention")[number % 3]
        expected = [[effect_of(kind, role, n, 4) for n in range(4)] for role in ("before", "cue last", "gap")]
        np.testing.assert_allclose(axis.images[0].get_array(), expected)


def test_a_single_task_stands_for_itself() -> None:
    table = roles_table(tasks={"relation": ("P36",), "paradigm": TASKS["paradigm"]})
    figure = plot_roles(table, ["bert"])
    assert "P(target), P36" in written(figure)
    value = maps(figure)[1][1].images[0].get_array()[1, 0]
    assert value == pytest.approx(effect_of("mlp", "cue last", 0, 4) / 2)


def test_what_is_not_there_is_said_or_hatched() -> None:
    table = roles_table()
    table = table[~((table["role"] == "before") & (table["kind"] == "relation"))]
    table = table[(table["model"] == "bert") | (table["kind"] == "paradigm")]
    figure = plot_roles(table, ["bert", "gpt2"])
    found = maps(figure)
    assert len(found) == 9 and written(figure).count("nothing was traced") == 1
    assert np.isnan(np.ma.filled(found[0][1].images[0].get_array(), np.nan)[0]).all()
    assert np.isfinite(np.ma.filled(found[3][1].images[0].get_array(), np.nan)).all()
    assert found[0][1].patch.get_hatch()
    lines = plot_lines(table, ["bert", "gpt2"])
    assert written(lines).count("nothing was traced") == 2


def test_lines_are_the_table_s() -> None:
    table = roles_table(("gpt2", "bert"))
    figure = plot_lines(table.sample(frac=1, random_state=3), ["bert", "gpt2"])
    assert len(figure.axes) == 8 and len(figure.legends) == 1
    assert [axis.get_title(loc="left") for axis in figure.axes[:4]] == [
        "bert · facts\ncue's last token",
        "bert · facts\nblank",
        "bert · syntax\ncue's last token",
        "bert · syntax\nblank",
    ]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(labels) == len(set(labels)) == 5
    for axis, role in zip(figure.axes, ["cue last", "gap"] * 4, strict=True):
        drawn = [line for line in axis.lines if len(line.get_xdata()) == 4]
        for line, kind in zip(drawn, KINDS, strict=True):
            np.testing.assert_allclose(line.get_ydata(), [effect_of(kind, role, n, 4) for n in range(4)])
            assert line.is_dashed() == kind.startswith("severed")
        ends = axis.collections[0].get_paths()[0].vertices[:, 1]
        assert ends.min() == pytest.approx(min(effect_of("hidden", role, n, 4) for n in range(4)) - 0.02)
    table.loc[table["role"] == "gap", ["effect", "low", "high"]] *= 3
    axes = plot_lines(table, ["bert"]).axes
    assert axes[0].get_ylim() == axes[1].get_ylim() and axes[2].get_ylim()[1] > 2
    assert figure.axes[2].get_ylabel() == "indirect effect\nshare of target against foil"


def test_one_layer_has_points_with_intervals() -> None:
    figure = plot_lines(roles_table(layers=1), ["bert"])
    axis = figure.axes[0]
    assert [tick for tick in axis.get_xticks() if axis.get_xlim()[0] < tick < axis.get_xlim()[1]] == [0]
    segments = [part.get_segments() for part in axis.collections if isinstance(part, LineCollection)]
    ends = [effect_of(kind, "cue last", 0, 1) + side for kind in KINDS for side in (-0.02, 0.02)]
    np.testing.assert_allclose(np.ravel([segment[0][:, 1] for segment in segments]), ends)
    assert all(line.get_marker() != "" for line in axis.lines if len(line.get_xdata()) == 1)


def test_sites_are_a_line_per_task() -> None:
    figure = plot_sites(sites_table_by_hand(), ["bert", "gpt2"])
    said = written(figure)
    assert len(figure.axes) == 4 and [axis.get_title(loc="left") for axis in figure.axes[:2]] == ["bert", "gpt2"]
    assert said.count("★") == 2
    assert [text for text in said if text in ("P36", "P101")] == ["P36", "P101"]
    assert "".join(wrap_text(LONG, 26).split("\n")) == LONG and set(wrap_text(LONG, 26).split("\n")) <= set(said)
    assert said.count("nothing was traced") == 1  # of gpt2 in P36
    assert said.count("not asked of this model") == 1  # of gpt2 in P101
    assert said.count("fewer than 5 facts or nouns: no test") == 1
    points = {}
    for line in figure.axes[0].lines:
        if line.get_marker() in ("s", "^"):
            points[line.get_marker(), round(float(line.get_ydata()[0]))] = line
    assert set(points) == {("s", 0), ("^", 0), ("s", 1), ("^", 1)}
    assert points["s", 0].get_xdata()[0] == 0.2 and points["^", 1].get_xdata()[0] == -0.3
    assert points["s", 0].get_markerfacecolor() == CONTRAST_STYLES["early_contrast"][2]
    assert points["s", 1].get_markerfacecolor() == "white"
    bars = sorted(tuple(line.get_xdata()) for line in figure.axes[0].lines if len(set(line.get_xdata())) == 2)[:-1]
    assert any(np.allclose(bar, (0.15, 0.25)) for bar in bars)
    (star,) = [text for text in figure.axes[0].texts if text.get_text() == "★"]
    assert star.get_window_extent().x0 > figure.axes[0].transData.transform((0.25, 0))[0]
    # The other measure of a pair is not drawn.
    assert max(axis.get_xlim()[1] for axis in figure.axes) < 1


def test_shown_models_alone_have_panels() -> None:
    table = sites_table_by_hand()
    assert [axis.get_title(loc="left") for axis in plot_sites(table, ["gpt2", "llama"]).axes] == ["gpt2", ""]
    assert "P101" not in written(plot_sites(table, ["gpt2"]))
    assert len(plot_lines(roles_table(), ["bert"]).axes) == 4


@pytest.mark.parametrize("name", PLOTS)
def test_nothing_to_draw(name: str) -> None:
    heads = {"lines": "roles", "sites": "tracing"}
    for table in (pd.DataFrame(), pd.DataFrame(columns=HEADS[heads.get(name, name)])):
        (text,) = written(PLOTS[name](table, ["bert"]))
        assert text.startswith("nothing was traced")
    full = {"examples": examples_table, "roles": roles_table, "lines": roles_table, "sites": sites_table_by_hand}[name]
    assert len(written(PLOTS[name](full(), []))) == 1


def drawn(name: str, layers: int) -> Figure:
    models = ("bert-base-cased", "gpt2-xl")
    if name == "sites":
        return plot_sites(sites_table_by_hand(), ["bert", "gpt2"][:layers])
    if name == "examples":
        table = examples_table(TOKENS, layers, models=models, tasks={"P36": "relation", LONG: "paradigm"})
        return plot_examples(table, models)
    if layers == 1:
        return PLOTS[name](roles_table(models, {"relation": ("P36",), "paradigm": (LONG,)}, 1, KINDS[1:]), models)
    return PLOTS[name](roles_table(models, layers=layers), models)


@pytest.mark.parametrize(("name", "layers"), [(name, layers) for name in PLOTS for layers in (1, 48)])
def test_everything_that_is_written_can_be_read(name: str, layers: int) -> None:
    figure = drawn(name, layers)
    check_readable(figure)
    if name != "sites":
        assert max(len(axis.get_xticks()) for axis in figure.axes) <= 8
    assert figure.get_figwidth() < 12.5


@pytest.mark.parametrize("name", PLOTS)
def test_the_same_bytes_twice(name: str, tmp_path: Path) -> None:
    for number in range(2):
        save_figure(drawn(name, 4), tmp_path / f"{number}.svg", tmp_path / f"{number}.png")
    for suffix in ("svg", "png"):
        assert (tmp_path / f"0.{suffix}").read_bytes() == (tmp_path / f"1.{suffix}").read_bytes()
