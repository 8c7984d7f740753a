"""Draw the line figures of the tracing chapter: effects over layers at the two sites, and the sites' contrasts."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from kn_thesis.report.style import empty_figure, layer_ticks, wrap_text
from kn_thesis.tracing.prose import KIND_WORDS, MEASURE_WORDS, RESTORED_WORDS, ROLE_WORDS, averages, rows_of_models
from kn_thesis.tracing.tables import SITES, measures_of

# Purple, green and red are Meng et al.'s (2022); these shades of them can be told apart by colour-blind readers.
STATE_COLOURS = {"hidden": "#54278F", "mlp": "#00795A", "attention": "#C4500A"}
STATE_COLOURS |= {f"severed_{name}": STATE_COLOURS[name] for name in ("mlp", "attention")}
MARKERS = {"hidden": "o", "mlp": "s", "attention": "^", "severed_mlp": "s", "severed_attention": "^"}
# Contrast: where it stands in a task's line, marker, colour, what it is.
CONTRAST_STYLES = {
    "early_contrast": (-0.17, "s", STATE_COLOURS["mlp"], "early: MLPs − attention, cue's last token, lower layers"),
    "late_contrast": (0.17, "^", STATE_COLOURS["attention"], "late: attention − MLPs, blank, upper layers"),
}
LETTERS = 26  # of a task's name in a line
NOTE_LETTERS = 30
LINE = 0.27  # of text, where the line of a task is 1
HEAD = 0.75  # height of the strip above the lines of one kind of task


def plot_lines(roles: pd.DataFrame, models: Sequence[str]) -> Figure:
    """Draw mean effects over layers at the cue's last token and at the blank, a row of panels per model.

    Each kind of task is shown in its headline measure, averaged over tasks. Bands are intervals.

    Args:
        roles: tracing_roles.csv.
        models: The models to draw, in order.

    Returns:
        The figure, facts on the left and syntax on the right.
    """
    rows = rows_of_models(roles, models)
    traced = [model for model in models if len(rows) and (rows["model"] == model).any()]
    kinds = [kind for kind in RESTORED_WORDS if len(rows) and (rows["restored"] == kind).any()]
    if not kinds:
        return empty_figure("nothing was traced")
    columns = [(kind, site) for kind in KIND_WORDS for site in SITES]
    figure, axes = plt.subplots(len(traced), len(columns), figsize=(12, 1.1 + 2.5 * len(traced)), squeeze=False)
    for line, model in zip(axes, traced, strict=True):
        for start in (0, len(SITES)):  # both sites of one kind of task have one scale
            line[start + 1].sharey(line[start])
            line[start + 1].tick_params(labelleft=False)
        for axis, (kind, site) in zip(line, columns, strict=True):
            part = averages(rows, model, kind)[0]
            axis.set_title(f"{model} · {KIND_WORDS[kind]}\n{ROLE_WORDS[SITES[site]]}", fontsize=10)
            if site == "early":
                axis.set_ylabel(f"indirect effect\n{MEASURE_WORDS[measures_of(kind)[0]]}", fontsize=9)
            _lines(axis, part[part["role"] == SITES[site]], kinds)
            axis.set_xlabel("layer", fontsize=9, labelpad=1)
    handles = [
        Line2D([], [], color=STATE_COLOURS[kind], marker=MARKERS[kind], markersize=5, label=RESTORED_WORDS[kind])
        for kind in kinds
    ]
    for handle, kind in zip(handles, kinds, strict=True):
        handle.set(**_style(kind))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(kinds), frameon=False, fontsize=10)
    return figure


def _style(kind: str) -> dict[str, object]:
    """Severed lines are dashed and hollow."""
    severed = kind.startswith("severed")
    return {
        "linestyle": (0, (4, 2)) if severed else "-",
        "markerfacecolor": "white" if severed else STATE_COLOURS[kind],
        "linewidth": 1.3 if severed else 1.8,
    }


def _lines(axis: Axes, rows: pd.DataFrame, kinds: Sequence[str]) -> None:
    if rows["effect"].isna().all():
        axis.text(0.5, 0.5, "nothing was traced", transform=axis.transAxes, ha="center", color="#777777", fontsize=9)
        axis.set_axis_off()
        return
    axis.axhline(0, color="#777777", linewidth=0.8)
    axis.grid(axis="x", visible=False)
    axis.tick_params(labelsize=8.5)
    layers = int(rows["layer"].max()) + 1
    for kind in kinds:
        part = rows[rows["restored"] == kind].sort_values("layer")
        colour, marker = STATE_COLOURS[kind], MARKERS[kind] if layers <= 16 else ""
        if layers == 1:  # a band of one layer has no width
            axis.vlines(part["layer"], part["low"], part["high"], color=colour, linewidth=1.2)
        axis.fill_between(part["layer"], part["low"], part["high"], color=colour, alpha=0.14, linewidth=0)
        axis.plot(part["layer"], part["effect"], marker=marker, markersize=4.5, color=colour, **_style(kind))
    axis.set_xlim(-0.3 - 0.01 * layers, layers - 0.7 + 0.01 * layers)
    axis.set_xticks(layer_ticks(layers, 8))


def plot_sites(tracing: pd.DataFrame, models: Sequence[str]) -> Figure:
    """Draw both contrasts of each task with their intervals, a panel per model, facts above syntax.

    Filled markers and a star mean that two sites can be told apart. A task without a value shows the reason instead.

    Args:
        tracing: tracing.csv; only headline measures are drawn.
        models: The models to draw, in order.

    Returns:
        The figure.
    """
    rows = rows_of_models(tracing, models)
    rows = rows[rows["headline"].astype(bool)] if len(rows) else rows
    traced = [model for model in models if len(rows) and (rows["model"] == model).any()]
    if not traced:
        return empty_figure("nothing was traced")
    tasks = {kind: list(dict.fromkeys(rows.loc[rows["kind"] == kind, "task"])) for kind in KIND_WORDS}
    tasks = {kind: names for kind, names in tasks.items() if names}
    figure, axes = plt.subplots(
        len(tasks),
        len(traced),
        figsize=(3.2 + 2.8 * len(traced), 1.7 + 0.5 * sum(len(names) + HEAD for names in tasks.values())),
        sharex="col",
        squeeze=False,
        height_ratios=[len(names) + HEAD for names in tasks.values()],
    )
    for line, (kind, names) in zip(axes, tasks.items(), strict=True):
        for axis, model in zip(line, traced, strict=True):
            part = rows[(rows["model"] == model) & (rows["kind"] == kind)].drop_duplicates("task").set_index("task")
            _forest(axis, part, names)
            axis.set_yticks([])
        head = f"{KIND_WORDS[kind]}:\n{MEASURE_WORDS[measures_of(kind)[0]]}"
        _name_lines(line[0], head, [wrap_text(name, LETTERS) for name in names])
    for axis, model in zip(axes[0], traced, strict=True):
        axis.set_title(model, fontsize=12)
    for axis in axes[-1]:
        low, high = axis.get_xlim()
        axis.set_xlim(low, high + 0.09 * (high - low))  # space for stars
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.set_xlabel("difference of mean indirect effects", fontsize=9)
    columns = 2 if len(traced) > 1 else 1
    figure.legend(handles=_site_legend(), loc="outside lower center", ncols=columns, frameon=False, fontsize=9.5)
    return figure


def _name_lines(axis: Axes, head: str, names: Sequence[str]) -> None:
    """Name the lines. Each line of text is a label of its own, so that it ends at the axis whatever the font."""
    entries = [(-0.5 - HEAD / 2, head), *enumerate(names)]
    labels = [
        (at + LINE * (number - text.count("\n") / 2), part)
        for at, text in entries
        for number, part in enumerate(text.split("\n"))
    ]
    axis.set_yticks([at for at, _ in labels], [part for _, part in labels], parse_math=False)
    axis.tick_params(axis="y", labelsize=8.5, length=0)
    for label in axis.get_yticklabels()[: head.count("\n") + 1]:
        label.set_weight("bold")


def _forest(axis: Axes, part: pd.DataFrame, names: Sequence[str]) -> None:
    axis.axvline(0, color="#555555", linewidth=0.9)
    axis.grid(axis="y", visible=False)
    axis.set_ylim(len(names) - 0.5, -0.5 - HEAD)
    axis.axhspan(-0.5 - HEAD, -0.5, color="#f0f0f0", zorder=2.5)  # the head of this kind's lines
    axis.tick_params(labelsize=8.5)
    for at, name in enumerate(names):
        if at:
            axis.axhline(at - 0.5, color="#e3e3e3", linewidth=0.8)
        if name not in part.index:
            _note(axis, at, "not asked of this model")
            continue
        row = part.loc[name]
        note = str(row["note"]) if pd.notna(row["note"]) and row["note"] else ""
        note = note or ("no test" if pd.isna(row["p_sites"]) else "")
        known = [contrast for contrast in CONTRAST_STYLES if pd.notna(row[contrast])]
        for contrast in known:
            shift, marker, colour, _ = CONTRAST_STYLES[contrast]
            axis.plot([row[f"{contrast}_low"], row[f"{contrast}_high"]], [at + shift] * 2, color=colour, linewidth=1.6)
            face = colour if row["two_sites"] else "white"
            axis.plot(row[contrast], at + shift, marker, color=colour, markerfacecolor=face, markersize=6)
        if row["two_sites"]:
            axis.text(0.985, at, "★", transform=axis.get_yaxis_transform(), ha="right", va="center", fontsize=11)
        if note:
            _note(axis, at + 0.37 * bool(known), note, small=bool(known))


def _note(axis: Axes, at: float, text: str, small: bool = False) -> None:
    """Write in a task's line why there is no value; small, below the values, if there are some."""
    text = text if small else wrap_text(text, NOTE_LETTERS, " ")
    axis.text(
        *(0.5, at, text),
        transform=axis.get_yaxis_transform(),
        ha="center",
        va="center",
        fontsize=6.5 if small else 8,
        color="#777777",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        in_layout=False,
    )


def _site_legend() -> list[Line2D]:
    handles = [
        Line2D([], [], color=colour, marker=marker, label=label)
        for _, marker, colour, label in CONTRAST_STYLES.values()
    ]
    style = {"linestyle": "none", "color": "#555555", "markersize": 6}
    return [
        *handles,
        Line2D([], [], marker="o", label="filled, ★: two sites can be told apart", **style),
        Line2D([], [], marker="o", markerfacecolor="white", label="hollow: they cannot, or no test", **style),
    ]
