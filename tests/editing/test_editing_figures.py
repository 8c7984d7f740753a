"""Figures of the chapter on editing: what they draw is what the tables hold, and it can be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle

from kn_thesis.editing.figures import (
    METHOD_STYLES,
    PEAK_LINES,
    SWEEP_STYLES,
    editor_styles,
    plot_agreement,
    plot_criteria,
    plot_directions,
    plot_layers,
)
from kn_thesis.report.style import save_figure, use_style
from tests.helpers.editing_csv_tables import (
    CRITERIA,
    ROME,
    criterion_row,
    direction_row,
    directions_table,
    editing_table,
    layers_table,
)
from tests.helpers.figure_texts import check_readable, written

MODELS = ("gpt2", "llama")
LONG = ("bert-base-multilingual-uncased-of-another-world", "gpt2-xl")


@pytest.fixture(autouse=True)
def _style() -> Iterator[None]:
    use_style()
    yield
    plt.close("all")


def points(axis: Axes, hollow: bool) -> list[Line2D]:
    """Markers that are drawn somewhere, filled or hollow ones."""
    single = [line for line in axis.lines if line.get_marker() not in ("None", "") and len(line.get_xdata()) == 1]
    single = [line for line in single if np.isfinite(line.get_xdata()[0])]
    return [line for line in single if (line.get_markerfacecolor() == "none") == hollow]


def bars(axis: Axes) -> list[tuple[float, float]]:
    """Both ends of each interval."""
    level = [line for line in axis.lines if len(set(line.get_ydata())) == 1 and len(line.get_xdata()) == 2]
    return [tuple(line.get_xdata()) for line in level if line.get_transform() == axis.transData]


def titles(figure: Figure) -> list[str]:
    return [axis.get_title(loc="left") for axis in figure.axes if axis.get_title(loc="left")]


def texts(axis: Axes) -> list[str]:
    return [text.get_text() for text in axis.texts]


@pytest.mark.parametrize(("plot", "kind"), [(plot_criteria, "relation"), (plot_agreement, "paradigm")])
def test_a_point_per_editor_and_criterion(plot: Callable[..., Figure], kind: str) -> None:
    table = editing_table(("llama", "gpt2"))
    table.loc[table["task"] != "all", ["share", "low", "high", "share_before"]] = 0.5  # one task alone is not drawn
    figure = plot(table.sample(frac=1, random_state=1), ["gpt2", "llama"])
    assert titles(figure) == ["gpt2", "llama"]
    for axis in figure.axes:
        names = CRITERIA[kind]
        filled = sorted(points(axis, hollow=False), key=lambda line: line.get_ydata()[0])
        before = sorted(points(axis, hollow=True), key=lambda line: line.get_ydata()[0])
        shares = [max(ROME[name][1] - 0.2 * number, 0) for name in names for number in range(3)]
        np.testing.assert_allclose([line.get_xdata()[0] for line in filled], shares)
        np.testing.assert_allclose(
            [line.get_xdata()[0] for line in before], [ROME[name][0] for name in names for _ in range(3)]
        )
        # Each editor has a marker and a colour of its own, and all of a criterion stand in its line.
        for line, (colour, marker) in zip(filled, list(METHOD_STYLES.values()) * len(names), strict=True):
            assert (line.get_color(), line.get_marker()) == (colour, marker)
        assert [round(line.get_ydata()[0]) for line in filled] == list(np.repeat(range(len(names)), 3))
        lows = [(max(share - 0.05, 0), min(share + 0.05, 1)) for share in shares]
        np.testing.assert_allclose(sorted(bars(axis)), sorted(lows))
        assert texts(axis).count("n = 40") == len(names)


def test_criteria_are_named_in_order_and_the_legend_says_what_is_hollow() -> None:
    figure = plot_criteria(editing_table(), MODELS)
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["ROME", "knowledge neurons", "fine-tuning", "hollow: before the edit"]
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    expected = ["reliability", "generality", "locality", "symmetry (new side)", "symmetry (old side)", "synonymy"]
    assert names == expected
    low, high = figure.axes[0].get_xlim()
    assert low < 0 and high > 1
    top, bottom = sorted(figure.axes[0].get_ylim())
    assert figure.axes[0].get_ylim()[0] > figure.axes[0].get_ylim()[1] and (top, bottom) == (-0.5, 5.5)


def test_what_was_not_asked_is_said() -> None:
    table = editing_table(("bert",), ("knowledge_neuron",), {"relation": ("P36",)})
    table.loc[table["criterion"] == "synonymy", ["share", "low", "high"]] = np.nan
    table = table[table["criterion"] != "symmetry_old"]
    table.loc[table["criterion"] == "locality", ["low", "high", "share_before"]] = np.nan
    figure = plot_criteria(table, ["bert"])
    (axis,) = figure.axes
    said = {text.get_position()[1]: text.get_text() for text in axis.texts}
    assert [said[number] for number in range(6)] == ["n = 40"] * 4 + ["not asked"] * 2
    assert len(points(axis, hollow=False)) == 4 and len(points(axis, hollow=True)) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "knowledge neurons",
        "hollow: before the edit",
    ]


def test_numbers_of_edits_that_differ_are_a_range() -> None:
    rows = [criterion_row("gpt2", "reliability"), criterion_row("gpt2", "reliability", editor="fine_tuning", edits=7)]
    assert "n = 7–40" in written(plot_criteria(pd.DataFrame(rows), ["gpt2"]))


def test_an_editor_that_nobody_named_is_drawn() -> None:
    rows = [criterion_row("gpt2", "reliability", editor="memit"), criterion_row("gpt2", "reliability")]
    figure = plot_criteria(pd.DataFrame(rows), ["gpt2"])
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == ["ROME", "memit"]
    assert len({line.get_marker() for line in points(figure.axes[0], hollow=False)}) == 2


def test_every_editor_has_a_colour_and_a_marker_of_its_own() -> None:
    known = ["rome", "rome-gap", "rome-covariance", "knowledge_neuron", "knowledge_neuron-half", "fine_tuning"]
    for names in (known, [*known, *(f"rome-{number}" for number in range(9)), *(f"m{number}" for number in range(30))]):
        styles = editor_styles(names)
        assert list(styles) == names
        assert len({colour for colour, _ in styles.values()}) == len(names)
        assert len({marker for _, marker in styles.values()}) == len(names)
        assert {name: styles[name] for name in METHOD_STYLES} == METHOD_STYLES
        for colour, marker in styles.values():  # matplotlib knows them, and they are seen on white
            MarkerStyle(marker)
            assert max(to_rgb(colour)[:2]) < 0.9
        # Shades: the channels of a variant stand in the same order as its method's.
        for name in ("rome-gap", "rome-covariance"):
            red, green, blue = to_rgb(styles[name][0])
            assert red < green < blue
    assert editor_styles(["rome-gap"])["rome-gap"][1] != "o" and editor_styles([]) == {}


def test_editors_look_alike_in_both_figures() -> None:
    table = editing_table(("gpt2",), ("rome", "rome-covariance", "rome-gap"))
    table = table[(table["kind"] == "relation") | (table["editor"] != "rome-covariance")]
    looks = []
    for plot in (plot_criteria, plot_agreement):
        handles = plot(table, ["gpt2"]).legends[0].legend_handles
        looks.append({line.get_label(): (line.get_color(), line.get_marker()) for line in handles})
    criteria, agreement = looks
    assert set(agreement) == {"ROME", "ROME (gap)", "hollow: before the edit"}
    assert all(criteria[name] == look for name, look in agreement.items())
    assert len(set(criteria.values())) == 4


def test_the_sweep_is_the_table_s() -> None:
    figure = plot_layers(layers_table().sample(frac=1, random_state=3), ["llama", "gpt2"])
    assert titles(figure) == ["llama", "gpt2"] and len(figure.axes) == 4
    for above, below in (figure.axes[:2], figure.axes[2:]):
        drawn = {line.get_color(): line for line in above.lines if len(line.get_xdata()) == 4}
        for criterion, (colour, marker, _) in SWEEP_STYLES.items():
            expected = [max(ROME[criterion][1] - 0.05 * abs(layer - 1), 0.01) for layer in range(4)]
            np.testing.assert_allclose(drawn[colour].get_ydata(), expected)
            assert drawn[colour].get_marker() == marker
        ends = above.collections[0].get_paths()[0].vertices[:, 1]
        assert (ends.min(), ends.max()) == (pytest.approx(0.83), pytest.approx(1.0))
        # The best layer is 1; traces peak in the first and in the last one, which both panels mark.
        (star,) = [text for text in above.texts if text.get_text() == "★"]
        assert star.get_position()[0] == 1
        for axis in (above, below):
            upright = [line.get_xdata()[0] for line in axis.lines if list(line.get_xdata()) in ([0, 0], [3, 3])]
            assert sorted(upright) == [0, 3]
        traces = [line.get_ydata() for line in below.lines if len(line.get_xdata()) == 4]
        np.testing.assert_allclose(traces[0], [0.6, 0.5, 0.4, 0.3])
        np.testing.assert_allclose(traces[1], [0.2 + 0.7 * layer / 4 for layer in range(4)])
        assert above.get_xlim() == below.get_xlim()
    for style in (1, 2):  # neither markers nor dashes are alike: nothing is told by colour alone
        assert len({value[style] for value in SWEEP_STYLES.values()}) == len(SWEEP_STYLES)
    assert len(set(PEAK_LINES.values())) == 2


def test_the_best_layer_is_that_of_the_largest_probability() -> None:
    table = layers_table(("gpt2",))
    table.loc[table["criterion"] == "reliability", "held"] = 1.0  # all alike: what is held does not tell
    at = (table["criterion"] == "reliability") & (table["layer"] == 2)
    table.loc[at, "p_after"] = 0.99
    table.loc[(table["criterion"] == "generality") & (table["layer"] == 3), "p_after"] = 1.0
    (star,) = [text for text in plot_layers(table, ["gpt2"]).axes[0].texts if text.get_text() == "★"]
    assert star.get_position()[0] == 2


def test_layers_that_were_not_traced_and_criteria_that_were_not_asked() -> None:
    table = layers_table(("gpt2",), criteria=("reliability", "generality"))
    table[["trace_mlp", "trace_hidden"]] = np.nan
    table.loc[table["criterion"] == "generality", ["held", "low", "high"]] = np.nan
    above, below = plot_layers(table, ["gpt2"]).axes
    assert texts(below) == ["not traced"]
    assert len([line for line in above.lines if len(line.get_xdata()) == 4]) == 1
    table["trace_mlp"] = 0.1 * table["layer"]
    above, below = plot_layers(table, ["gpt2"]).axes
    upright = [line for line in above.lines if len(set(line.get_xdata())) == 1]
    assert [line.get_xdata()[0] for line in upright] == [3]


def test_directions_are_drawn_side_by_side() -> None:
    table = directions_table(("fine_tuning", "rome"))
    other = [direction_row(name, task="P101") for name in ("reliability", "generality")]
    other.append(direction_row("symmetry_new", task="P101", facts=0, share_both=np.nan, share_one_way=np.nan))
    figure = plot_directions(pd.concat([table, pd.DataFrame(other)]))
    # A relation without an inverse has no panel.
    assert titles(figure) == [f"{name}, P36\ngpt2 against gpt2-one-way" for name in ("fine-tuning", "ROME")]
    for axis in figure.axes:
        assert [text.get_text() for text in axis.get_yticklabels()][::2] == ["symmetry (new side)", "reliability"]
        drawn = {(line.get_marker(), round(line.get_ydata()[0])): line.get_xdata()[0] for line in points(axis, False)}
        expected = {("o", 0): 0.3, ("s", 0): 0.05, ("o", 1): 0.3, ("s", 1): 0.05}
        assert drawn == expected | {("o", 2): 0.95, ("s", 2): 0.9, ("o", 3): 0.95, ("s", 3): 0.9}
        assert (0.18, 0.45) in bars(axis) and (0.77, 0.96) in bars(axis)
        assert [text.get_position()[1] for text in axis.texts if text.get_text() == "★"] == [0, 1]


def test_tasks_with_few_facts_have_no_panel() -> None:
    few = pd.DataFrame([direction_row("symmetry_new", task="P1376", facts=9)])
    figure = plot_directions(pd.concat([directions_table(("rome",)), few]))
    assert titles(figure) == ["ROME, P36\ngpt2 against gpt2-one-way"]
    assert written(plot_directions(few)) == ["fewer than 10 facts"]


def test_a_direction_that_was_not_asked() -> None:
    (axis,) = plot_directions(pd.DataFrame([direction_row("symmetry_new")])).axes
    assert texts(axis).count("not asked") == 3 and len(points(axis, hollow=False)) == 2


@pytest.mark.parametrize("plot", [plot_criteria, plot_agreement, plot_layers])
def test_nothing_to_draw(plot: Callable[..., Figure]) -> None:
    full = layers_table() if plot is plot_layers else editing_table()
    for table, shown in ((pd.DataFrame(), ["gpt2"]), (full.iloc[:0], ["gpt2"]), (full, []), (full, ["bert"])):
        assert len(written(plot(table, shown))) == 1
    other = full.assign(kind="paradigm" if plot is not plot_agreement else "relation")
    assert len(written(plot(other, MODELS))) == 1


def test_one_world_has_nothing_to_compare() -> None:
    table = directions_table()
    alone = table[~table["criterion"].str.startswith("symmetry")]
    for rows in (pd.DataFrame(), table.iloc[:0], alone):
        assert written(plot_directions(rows)) == ["no pair of worlds: nothing to compare"]


def drawn(name: str, size: int) -> Figure:
    """A figure of one model, or of two with long names."""
    models = LONG[:size]
    if name == "layers":
        return plot_layers(layers_table(models, layers=48 if size == 2 else 1), models)
    if name == "directions":
        table = directions_table(("rome", "knowledge_neuron")[:size])
        return plot_directions(table.assign(both=LONG[0], one_way=f"{LONG[0]}-one-way", task="complaint_specialist"))
    plot = plot_criteria if name == "criteria" else plot_agreement
    table = editing_table(models, ("knowledge_neuron", "rome", "fine_tuning")[:size])
    table.loc[table["criterion"] == "synonymy", "share"] = np.nan
    return plot(table, models)


NAMES = ("criteria", "agreement", "layers", "directions")


@pytest.mark.parametrize(("name", "size"), [(name, size) for name in NAMES for size in (1, 2)])
def test_everything_that_is_written_can_be_read(name: str, size: int) -> None:
    figure = drawn(name, size)
    check_readable(figure)
    # Letters of 9.5 points in 6.4 inches are 8 pixels high where the figure is 400 wide.
    smallest = min(text.get_fontsize() for axis in figure.axes for text in (*axis.texts, *axis.get_yticklabels()))
    assert smallest / 72 / figure.get_figwidth() * 400 >= 8


@pytest.mark.parametrize("name", NAMES)
def test_the_same_bytes_twice(name: str, tmp_path: Path) -> None:
    for number in range(2):
        save_figure(drawn(name, 2), tmp_path / f"{number}.svg", tmp_path / f"{number}.png")
    for suffix in ("svg", "png"):
        assert (tmp_path / f"0.{suffix}").read_bytes() == (tmp_path / f"1.{suffix}").read_bytes()
