"""Figures of the chapter on editing: criteria, edited layers, and the directions that training states.

`editor_styles` gives each editor a colour and a marker, so that colour alone tells nothing.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Iterator, Sequence
from itertools import count

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kn_thesis.editing.labels import (
    POOLED,
    criterion_words,
    editor_words,
    editors_of,
    method_of,
    models_of,
    peak,
    select_rows,
)
from kn_thesis.editing.prose import MIN_FACTS, PEAKS, enough, with_inverse
from kn_thesis.editing.tables import AGREEMENT_CRITERIA, RELATION_CRITERIA
from kn_thesis.report.style import empty_figure, layer_ticks, wrap_text
from kn_thesis.tracing.figures import STATE_COLOURS
from kn_thesis.tracing.prose import RESTORED_WORDS, rows_of_models

Marker = str | tuple[int, int, int]
# Okabe and Ito's colours, some of them darker. A method that is not listed gets the next further colour and marker.
METHOD_STYLES = {"rome": ("#0072B2", "o"), "knowledge_neuron": ("#D55E00", "s"), "fine_tuning": ("#009E73", "^")}
FURTHER_COLOURS = ("#B2387F", "#555555", "#B8860B", "#54278F", "#8C510A")
FURTHER_MARKERS = ("D", "v", "P", "X", "*", "p", "<", ">", "h", "d", "8")
LIGHTEST, DARKEST = 0.4, 0.6  # largest share of white or black in a shade
SWEEP_STYLES = {
    "reliability": ("#0072B2", "o", "-"),
    "generality": ("#E69F00", "s", (0, (7, 1.5))),
    "symmetry_new": ("#B2387F", "^", (0, (4, 2))),
    "locality": ("#555555", "D", (0, (1, 1.5))),
}
TRACE_MARKERS = {"mlp": "s", "hidden": "o"}
PEAK_LINES = {"mlp": (0, (5, 3)), "hidden": (0, (1, 2))}
WORLD_STYLES = {
    "both": ("#0072B2", "o", "training states both directions"),
    "one_way": ("#D55E00", "s", "training states one direction"),
}
DIRECTIONS = ("symmetry_new", "symmetry_old", "reliability", "generality")
WIDTH = 6.4  # inches: text stays readable when the figure is 400 pixels wide
LETTERS = 34  # in a line of a title
SOFT = "#777777"
LANE = 0.15  # height of one point, in inches
GAP = 0.24  # between two criteria


def plot_criteria(editing: pd.DataFrame, shown: Sequence[str]) -> Figure:
    """Plot the share of edits of facts that meet each criterion, a panel per model.

    Hollow markers show the share before the edit, lines the intervals; editors stand below each other.

    Args:
        editing: editing.csv; its rows of all tasks taken together are shown.
        shown: models, in order.
    """
    return _criteria(editing, shown, "relation", RELATION_CRITERIA, "no fact was edited")


def plot_agreement(editing: pd.DataFrame, shown: Sequence[str]) -> Figure:
    """Plot the same as `plot_criteria` for agreement edits and the rows of the authors' poster."""
    return _criteria(editing, shown, "paradigm", AGREEMENT_CRITERIA, "no agreement was edited")


def _criteria(editing: pd.DataFrame, shown: Sequence[str], kind: str, criteria: Sequence[str], why: str) -> Figure:
    rows = select_rows(rows_of_models(editing, shown), kind=kind, task=POOLED)
    there = models_of(rows, shown)
    if not there:
        return empty_figure(why)
    editors = {model: editors_of(select_rows(rows, model=model)) for model in there}
    styles = editor_styles(editors_of(editing))  # of all editors, so that both figures agree
    heights = [len(criteria) * (GAP + LANE * len(editors[model])) for model in there]
    figure, axes = _stacked(there, heights, legend=1.0)
    for axis, model in zip(axes, there, strict=True):
        part = select_rows(rows, model=model)
        _share_axis(axis, [criterion_words(name) for name in criteria])
        _title(axis, model)
        for at, criterion in enumerate(criteria):
            lines = select_rows(part, criterion=criterion)
            known = lines[lines["share"].notna()]
            if known.empty:
                _not_asked(axis, at)
                continue
            _count(axis, at, known["edits"])
            for editor, place in _dodged(at, editors[model]):
                for _, row in select_rows(known, editor=editor).iterrows():
                    _point(axis, place, row[["share", "low", "high"]], *styles[editor], row["share_before"])
    axes[-1].set_xlabel("share of edits", fontsize=11)
    handles = [_handle(*styles[name], label=editor_words(name)) for name in editors_of(rows)]
    handles.append(_handle(SOFT, "o", "hollow: before the edit", markerfacecolor="white", linestyle="none"))
    _legend(figure, handles)
    return figure


def plot_directions(directions: pd.DataFrame) -> Figure:
    """Plot the share of facts whose edit meets each criterion, where training states both directions and where one.

    There is a panel for each pair of models, editor and task that has an inverse and enough facts. Intervals are
    Wilson's; a star marks criteria in which the models differ.

    Args:
        directions: editing_directions.csv.
    """
    rows = enough(directions)
    rows = rows[rows["criterion"].isin(DIRECTIONS)] if len(rows) else rows
    if not len(rows):
        few = len(with_inverse(directions)) > 0
        return empty_figure(f"fewer than {MIN_FACTS} facts" if few else "no pair of worlds: nothing to compare")
    panels = list(rows.groupby(["both", "one_way", "editor", "task"], sort=False))
    figure, axes = _stacked(panels, [len(DIRECTIONS) * (GAP + 2 * LANE) + 0.2] * len(panels), legend=0.7)
    for axis, ((both, one_way, editor, task), part) in zip(axes, panels, strict=True):
        _share_axis(axis, [criterion_words(name) for name in DIRECTIONS])
        _title(axis, f"{editor_words(editor)}, {task}", f"{both} against {one_way}")
        for at, name in enumerate(DIRECTIONS):
            tested = select_rows(part, criterion=name)
            tested = tested[tested["facts"] > 0]
            if tested.empty:
                _not_asked(axis, at)
                continue
            row = tested.iloc[0]
            _count(axis, at, tested["facts"])
            for world, place in _dodged(at, list(WORLD_STYLES)):
                colour, marker, _ = WORLD_STYLES[world]
                _point(axis, place, row[[f"share_{world}", f"low_{world}", f"high_{world}"]], colour, marker)
            if str(row["differs"]) == "True":
                axis.text(-0.035, at, "★", ha="center", va="center", fontsize=11)
    axes[-1].set_xlabel("share of facts", fontsize=11)
    handles = [_handle(colour, marker, label) for colour, marker, label in WORLD_STYLES.values()]
    handles.append(_handle("black", "$★$", "they differ (McNemar, Holm)", linestyle="none"))
    _legend(figure, handles, columns=1)
    return figure


def _stacked(names: Sequence[object], heights: Sequence[float], legend: float) -> tuple[Figure, list[Axes]]:
    """A figure with panels of these heights, in inches, below each other."""
    total = sum(heights) + 0.35 * len(names) + 0.6 + legend
    figure, axes = plt.subplots(
        len(names), 1, figsize=(WIDTH, total), sharex=True, squeeze=False, height_ratios=list(heights)
    )
    return figure, list(axes[:, 0])


def _title(axis: Axes, *lines: str) -> None:
    """Set a title whose long lines are broken between words, then after hyphens."""
    short = [part for line in lines for part in wrap_text(line, LETTERS, " ").split("\n")]
    axis.set_title("\n".join(wrap_text(part, LETTERS, "-") for part in short), fontsize=12)


def _share_axis(axis: Axes, labels: Sequence[str]) -> None:
    """Set up an axis with a row per criterion, and shares from 0 to 100 % with one half marked."""
    axis.set_xlim(-0.06, 1.06)
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
    axis.set_yticks(range(len(labels)), labels)
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.tick_params(labelsize=10.5, length=0)
    axis.grid(axis="y", visible=False)
    axis.axvline(0.5, color="#999999", linewidth=1, linestyle=(0, (4, 3)))
    for at in range(1, len(labels)):
        axis.axhline(at - 0.5, color="#e3e3e3", linewidth=0.8)


def _dodged(at: int, names: Sequence[str]) -> list[tuple[str, float]]:
    """Vertical place of each of several points in the row of one criterion."""
    step = min(0.26, 0.78 / len(names))
    return [(name, at + step * (number - (len(names) - 1) / 2)) for number, name in enumerate(names)]


def _point(axis: Axes, at: float, values: pd.Series, colour: str, marker: Marker, before: float = float("nan")) -> None:
    """Draw a share with its interval and, larger and hollow, the share before."""
    share, low, high = values
    axis.plot(before, at, marker=marker, markersize=9, markerfacecolor="none", markeredgecolor=colour, clip_on=False)
    axis.plot([low, high], [at, at], color=colour, linewidth=1.8, solid_capstyle="butt", clip_on=False)
    axis.plot(share, at, marker=marker, markersize=6.5, color=colour, markeredgewidth=0, clip_on=False)


def _not_asked(axis: Axes, at: float) -> None:
    box = {"facecolor": "white", "edgecolor": "none", "pad": 2}
    axis.text(0.5, at, "not asked", ha="center", va="center", fontsize=10, color=SOFT, bbox=box)


def _count(axis: Axes, at: float, numbers: pd.Series) -> None:
    """Write the number of edits to the right of a row."""
    low, high = int(numbers.min()), int(numbers.max())
    text = f"n = {high}" if low == high else f"n = {low}–{high}"
    axis.text(1.02, at, text, transform=axis.get_yaxis_transform(), va="center", fontsize=9.5, color=SOFT)


def plot_layers(layers: pd.DataFrame, shown: Sequence[str]) -> Figure:
    """Plot edits of relations in each layer with ROME and, below, the traced effects of each layer.

    Vertical lines mark the layers with the largest traced effects, a star the best layer to edit, that of the largest
    P(new).

    Args:
        layers: editing_layers.csv; its rows of all tasks taken together are shown.
        shown: models, in order.
    """
    rows = select_rows(rows_of_models(layers, shown), kind="relation", task=POOLED)
    there = models_of(rows, shown)
    if not there:
        return empty_figure("no layer was edited in turn")
    figure, axes = plt.subplots(
        2 * len(there), 1, figsize=(WIDTH, 1.5 + 4.3 * len(there)), squeeze=False, height_ratios=[2, 1] * len(there)
    )
    for number, model in enumerate(there):
        above, below = axes[2 * number, 0], axes[2 * number + 1, 0]
        part = select_rows(rows, model=model)
        _title(above, model)
        _sweep(above, part)
        _traces(below, part)
        count = int(part["layer"].max()) + 1
        for axis in (above, below):
            axis.set_xlim(-0.4 - 0.01 * count, count - 0.6 + 0.01 * count)
            axis.set_xticks(layer_ticks(count, 12))
            axis.tick_params(labelsize=10.5)
            axis.grid(axis="x", visible=False)
            for kind, column in PEAKS.items():
                at = peak(part, column)
                if at is not None:
                    axis.axvline(at, color=STATE_COLOURS[kind], linestyle=PEAK_LINES[kind], linewidth=1.5, zorder=1)
        above.tick_params(labelbottom=False)
        below.set_xlabel("layer", fontsize=11)
    _legend(figure, _layer_handles())
    return figure


def _sweep(axis: Axes, rows: pd.DataFrame) -> None:
    """Draw the share that holds over layers, a line per criterion, and a star at the best layer."""
    axis.set_ylim(-0.06, 1.14)
    axis.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
    axis.set_ylabel("share of edits", fontsize=11)
    count = rows["layer"].nunique()
    for criterion, (colour, marker, line) in SWEEP_STYLES.items():
        part = select_rows(rows, criterion=criterion).sort_values("layer")
        if part["held"].isna().all():
            continue
        if count == 1:  # a band of one layer has no width
            axis.vlines(part["layer"], part["low"], part["high"], color=colour, linewidth=1.6)
        axis.fill_between(part["layer"], part["low"], part["high"], color=colour, alpha=0.14, linewidth=0)
        look = {"color": colour, "marker": marker, "markersize": 5.5, "linestyle": line, "linewidth": 2}
        axis.plot(part["layer"], part["held"], markevery=-(-count // 16), **look)
    best = peak(select_rows(rows, criterion="reliability"), "p_after")
    if best is not None:
        axis.text(best, 1.035, "★", ha="center", va="bottom", fontsize=12)


def _traces(axis: Axes, rows: pd.DataFrame) -> None:
    """Draw the mean effects of restored states over layers; they are the same in the rows of every criterion."""
    traced = rows.drop_duplicates("layer").sort_values("layer")
    if traced[list(PEAKS.values())].isna().all(axis=None):
        axis.text(0.5, 0.5, "not traced", transform=axis.transAxes, ha="center", va="center", color=SOFT, fontsize=10)
        return
    axis.axhline(0, color=SOFT, linewidth=0.8)
    axis.set_ylabel("traced effect", fontsize=11)
    axis.margins(y=0.14)
    for kind, column in PEAKS.items():
        colour, at = STATE_COLOURS[kind], peak(traced, column)
        marker = TRACE_MARKERS[kind]
        axis.plot(traced["layer"], traced[column], color=colour, marker=marker, markersize=4, linewidth=1.6)
        if at is not None:
            top = traced.loc[traced["layer"] == at, column]
            axis.plot(at, top, marker, color=colour, markersize=9, clip_on=False)


def _layer_handles() -> list[Line2D]:
    edits = [
        Line2D([], [], color=colour, marker=marker, linestyle=line, label=criterion_words(name), markersize=5.5)
        for name, (colour, marker, line) in SWEEP_STYLES.items()
    ]
    peaks = [
        Line2D([], [], color=STATE_COLOURS[kind], linestyle=line, marker=TRACE_MARKERS[kind], label=label)
        for kind, line in PEAK_LINES.items()
        for label in [f"traced {RESTORED_WORDS[kind]}, their peak"]
    ]
    return [*edits, *peaks, _handle("black", "$★$", "best layer: largest P(new)", linestyle="none")]


def _handle(colour: str, marker: Marker, label: str, **changes: object) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, label=label, markersize=7, **changes)


def _legend(figure: Figure, handles: Sequence[Line2D], columns: int = 2) -> None:
    figure.legend(
        handles=list(handles), loc="outside lower center", ncols=columns, frameon=False, fontsize=10.5, handlelength=3
    )


def editor_styles(editors: Iterable[str]) -> dict[str, tuple[str, Marker]]:
    """Choose a colour and a marker for each editor, all different; variants of a method have shades of its colour.

    A method in METHOD_STYLES always has the same colour and marker; others take theirs from a list.
    """
    names = list(dict.fromkeys(editors))
    methods = list(dict.fromkeys(method_of(name) for name in names))
    known = {method: colour for method, (colour, _) in METHOD_STYLES.items()}
    rest = _further_colours()
    colours = {method: known[method] if method in known else next(rest) for method in methods}
    markers, styles = _further_markers(), {}
    for method in methods:
        variants = sorted((name for name in names if method_of(name) == method), key=lambda name: name != method)
        shades = _shades(colours[method], len(variants))
        for name, colour in zip(variants, shades, strict=True):
            styles[name] = (colour, METHOD_STYLES[name][1] if name in METHOD_STYLES else next(markers))
    return {name: styles[name] for name in names}


def _shades(colour: str, number: int) -> list[str]:
    """A colour, then alternately lighter and darker shades of it."""
    steps = number // 2  # of the shades that are more
    mixed = [
        (1.0, LIGHTEST * step / steps) if lighter else (0.0, DARKEST * step / steps)
        for step in range(1, steps + 1)
        for lighter in (False, True)
    ]
    return [colour, *(_mixed(colour, *mix) for mix in mixed)][:number]


def _mixed(colour: str, other: float, part: float) -> str:
    """A colour mixed with a share of white (1) or black (0)."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return _hex((1 - part) * channel + part * other for channel in channels)


def _hex(channels: Iterable[float]) -> str:
    return "#" + "".join(f"{round(255 * channel):02X}" for channel in channels)


def _further_colours() -> Iterator[str]:
    """A list, then hues a golden section apart, which never repeat."""
    yield from FURTHER_COLOURS
    for number in count():
        yield _hex(colorsys.hsv_to_rgb((0.09 + 0.618034 * number) % 1, 0.85, 0.65))


def _further_markers() -> Iterator[Marker]:
    """A list, then matplotlib's stars with more and more points."""
    yield from FURTHER_MARKERS
    for points in count(6):
        yield (points, 1, 0)
