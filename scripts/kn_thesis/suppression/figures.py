"""Draw the figures of the suppression chapter: effects per word, against co-occurrence, on accuracy, across worlds.

Each figure is drawn from CSV tables of results. A figure without data says why it is empty.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from kn_thesis.localization.figures import DETERMINER_TASK, NOUN_TASK
from kn_thesis.report.style import FAMILY_COLOURS, NUMBER_COLOURS, empty_figure
from kn_thesis.suppression.prose import set_words
from kn_thesis.suppression.tables import CONTRAST, GROUPS, NUMBERS

LABELS = {"singular": "singular", "plural": "plural", "biased": "number-biased", "neutral": "neutral"}
RATIO_LABEL = "log(co-occurrence with plural / singular nouns)"
WORLD_MARKERS = {"baseline": "o", "flat": "s", "swapped": "D"}


def shown_task(tests: pd.DataFrame) -> str:
    """Choose the paradigm that represents a model in figures.

    A paradigm in which both numbers have neurons is preferred, then one whose target is the determiner, then the noun.

    Args:
        tests: The model's rows of suppression.csv for one operation.

    Returns:
        The name of the task.
    """
    numbers = tests[tests["neurons"] > 0].groupby("task", sort=False)["set"].nunique()
    tasks = [
        DETERMINER_TASK,
        NOUN_TASK,
        *(task for task in numbers.index if task.startswith("determiner_")),
        *numbers.index,
    ]
    candidates = [task for task in dict.fromkeys(tasks) if task in numbers.index]
    return max(candidates, key=lambda task: numbers[task]) if candidates else tests["task"].iloc[0]


def plot_words(tests: pd.DataFrame, operation: str = "erase") -> Figure:
    """Draw each word's mean change of log-probability under singular and plural neurons, a row of panels per model.

    Bars have bootstrap intervals over nouns. The grey band behind a bar is the range of the random sets. Filled bars
    are significant by our test; a cross marks significance as published.

    Args:
        tests: suppression.csv.
        operation: The operation to draw.

    Returns:
        The figure.
    """
    rows = tests[(tests["kind"] == "number") & (tests["operation"] == operation) & tests["set"].isin(NUMBERS)]
    if rows.empty:
        return empty_figure("no paradigm with both numbers")
    models = list(dict.fromkeys(rows["model"]))
    first = rows[rows["model"] == models[0]].drop_duplicates("word")
    words = [word for group in GROUPS for word in first.loc[first["word_group"] == group, "word"]]
    figure, axes = plt.subplots(
        len(models), 2, figsize=(15, 1.2 + 2.7 * len(models)), sharex=True, sharey="row", squeeze=False
    )
    for line, model in zip(axes, models, strict=True):
        of_model = rows[rows["model"] == model]
        task = shown_task(of_model)
        for axis, number in zip(line, NUMBERS, strict=True):
            part = of_model[(of_model["task"] == task) & (of_model["set"] == number)].set_index("word").reindex(words)
            neurons = int(part["neurons"].max()) if part["neurons"].notna().any() else 0
            axis.set_title(f"{model}: {neurons} {number} neuron{'' if neurons == 1 else 's'} off", fontsize=12)
            _bars(axis, part, words)
        line[0].set_ylabel("change of log P (nats)", fontsize=10)
        line[0].set_title(task, fontsize=8, color="#777777", fontweight="normal", loc="right")
    for axis in axes[-1]:
        axis.set_xticks(range(len(words)), words, rotation=60, ha="right", fontsize=9)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=4, frameon=False, fontsize=10)
    return figure


def _bars(axis: plt.Axes, part: pd.DataFrame, words: Sequence[str]) -> None:
    axis.axhline(0, color="#555555", linewidth=0.8)
    axis.grid(axis="x", visible=False)
    if part["log_change"].isna().all():
        note = next((note for note in part["note"].dropna() if note), "nothing to show")
        axis.text(0.5, 0.5, note, transform=axis.transAxes, ha="center", va="center", color="#777777")
        return
    for at, word in enumerate(words):
        row = part.loc[word]
        if pd.isna(row["log_change"]):
            axis.plot(at, 0, marker="_", color="#bbbbbb")
            continue
        colour = NUMBER_COLOURS[row["word_group"]]
        if not pd.isna(row["control_low"]):
            height = row["control_high"] - row["control_low"]
            axis.bar(at, height, 0.9, bottom=row["control_low"], color="#e4e4e4", linewidth=0)
        face = colour if row["significant"] else "white"
        axis.bar(at, row["log_change"], 0.56, color=face, edgecolor=colour, linewidth=1.3)
        if not pd.isna(row["low"]):
            axis.plot([at, at], [row["low"], row["high"]], color="#222222", linewidth=1)
        if row["significant_published"]:
            tip = np.nanmax([row["log_change"], row["high"], 0])
            axis.annotate("×", (at, tip), (0, 3), textcoords="offset points", ha="center", fontsize=9, color="#b00020")
    axis.margins(y=0.14)


def _legend() -> list[Patch | Line2D]:
    groups = [Patch(facecolor=NUMBER_COLOURS[group], label=LABELS[group]) for group in GROUPS]
    return [
        *groups,
        Patch(facecolor="white", edgecolor="#555555", label="hollow: not beyond chance and random sets"),
        Patch(facecolor="#e4e4e4", label="range of random sets"),
        Line2D([], [], marker="$×$", color="#b00020", linestyle="none", label="p < 0.05 as published"),
    ]


def plot_cooccurrence(tests: pd.DataFrame, slopes: pd.DataFrame, operation: str = "erase") -> Figure:
    """Draw effects against the log-ratio of plural to singular co-occurrence, a column per model, with both fits.

    Args:
        tests: suppression.csv.
        slopes: cooccurrence.csv.
        operation: The operation to draw.

    Returns:
        The figure.
    """
    rows = tests[(tests["kind"] == "number") & (tests["operation"] == operation) & tests["set"].isin(NUMBERS)]
    rows = rows[rows["log_ratio"].notna() & rows["log_change"].notna()] if len(rows) else rows
    if rows.empty:
        return empty_figure("no word with an effect and a known co-occurrence")
    models = list(dict.fromkeys(rows["model"]))
    figure, axes = plt.subplots(
        2, len(models), figsize=(1.5 + 3.9 * len(models), 7.4), sharex=True, sharey="row", squeeze=False
    )
    for column, model in enumerate(models):
        of_model = rows[rows["model"] == model]
        task = shown_task(of_model)
        for axis, number in zip(axes[:, column], NUMBERS, strict=True):
            part = of_model[(of_model["task"] == task) & (of_model["set"] == number)]
            axis.axhline(0, color="#bbbbbb", linewidth=0.8)
            _points(axis, part)
            fits = slopes[(slopes["model"] == model) & (slopes["task"] == task) & (slopes["set"] == number)]
            _fits(axis, part, fits[fits["operation"] == operation])
            axis.set_title(f"{model}: {number} neurons off", fontsize=11)
            if not len(part):
                axis.text(0.5, 0.5, "no neuron is selected", transform=axis.transAxes, ha="center", color="#777777")
        axes[1, column].set_xlabel(RATIO_LABEL, fontsize=10)
    for axis in axes[:, 0]:
        axis.set_ylabel("change of log P (nats)")
    handles = [
        Line2D([], [], marker="o", linestyle="none", color=NUMBER_COLOURS[g], label=LABELS[g]) for g in GROUPS
    ] + [
        Line2D([], [], color="#333333", label="all words"),
        Line2D([], [], color="#333333", linestyle="--", label="words without number"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False, fontsize=10)
    return figure


def _points(axis: plt.Axes, part: pd.DataFrame) -> None:
    for group in GROUPS:
        rows = part[part["word_group"] == group]
        axis.plot(rows["log_ratio"], rows["log_change"], "o", color=NUMBER_COLOURS[group], markersize=5, alpha=0.85)
    biased = part[part["word_group"] == "biased"]
    for _, row in biased.iterrows():
        axis.annotate(
            row["word"], (row["log_ratio"], row["log_change"]), (3, 2), textcoords="offset points", fontsize=6.5
        )


def _fits(axis: plt.Axes, part: pd.DataFrame, fits: pd.DataFrame) -> None:
    """Lines through the means of the points, with the slopes of the table."""
    for words, style in (("all", "-"), ("without number", "--")):
        slope = fits.loc[fits["words"] == words, "slope"]
        points = part if words == "all" else part[part["word_group"].isin(("biased", "neutral"))]
        points = points[~points["word"].str.startswith("(")]
        if slope.empty or slope.isna().all() or len(points) < 2:
            continue
        ends = np.array([points["log_ratio"].min(), points["log_ratio"].max()])
        middle = points["log_change"].mean() - slope.iloc[0] * points["log_ratio"].mean()
        axis.plot(ends, middle + slope.iloc[0] * ends, style, color="#333333", linewidth=1.4)


def plot_overturned(accuracy: pd.DataFrame, operation: str = "erase") -> Figure:
    """Draw accuracy before (hollow) and after (filled) the neurons of each prompt's number change, a panel per model.

    A tick is the mean accuracy under random sets; diamonds are published values.

    Args:
        accuracy: accuracy.csv.
        operation: The operation to draw.

    Returns:
        The figure.
    """
    rows = accuracy[(accuracy["operation"] == operation) & (accuracy["prompts"] > 0)]
    numbered = rows.groupby(["model", "task"])["kind"].transform(lambda kinds: bool((kinds == "number").any()))
    rows = rows[(rows["kind"] == "number") | ~numbered]
    if rows.empty:
        return empty_figure("no prompt whose own neurons were found")
    models, tasks = (list(dict.fromkeys(rows[name])) for name in ("model", "task"))
    place = {task: number for number, task in enumerate(tasks)}
    figure, axes = plt.subplots(
        1,
        len(models),
        figsize=(4.2 + 2.5 * len(models), 1.8 + 0.34 * len(tasks)),
        sharey=True,
        sharex=True,
        squeeze=False,
    )
    for axis, model in zip(axes[0], models, strict=True):
        for _, row in rows[rows["model"] == model].iterrows():
            at, colour = place[row["task"]], "#0072B2" if row["p_mcnemar"] < 0.05 else "#7F7F7F"
            axis.plot([row["accuracy_before"], row["accuracy_after"]], [at, at], color=colour, linewidth=2)
            axis.plot([row["low_after"], row["high_after"]], [at + 0.22] * 2, color=colour, linewidth=1, alpha=0.7)
            axis.plot(row["accuracy_before"], at, "o", mfc="white", mec=colour, markersize=7)
            axis.plot(row["accuracy_after"], at, "o", color=colour, markersize=5)
            axis.plot(row["control_accuracy"], at, "|", color="#D55E00", markersize=12, markeredgewidth=1.6)
            axis.plot(row["published_after"], at - 0.25, "D", mfc="none", mec="black", markersize=5)
        axis.set_title(model, fontsize=12)
        axis.set_xlabel("accuracy")
    axes[0][0].set_yticks(range(len(tasks)), tasks, fontsize=9)
    axes[0][0].set_ylim(len(tasks) - 0.4, -0.6)
    figure.legend(handles=_accuracy_legend(), loc="outside lower center", ncols=3, frameon=False, fontsize=10)
    return figure


def _accuracy_legend() -> list[Line2D]:
    return [
        Line2D([], [], marker="o", mfc="white", mec="#7F7F7F", linestyle="none", label="before"),
        Line2D([], [], marker="o", color="#7F7F7F", linestyle="none", label="after, with interval"),
        Line2D([], [], marker="o", color="#0072B2", label="changed (McNemar, p < 0.05)"),
        Line2D([], [], marker="|", color="#D55E00", linestyle="none", markersize=11, label="random sets instead"),
        Line2D([], [], marker="D", mfc="none", mec="black", linestyle="none", label="published, after"),
    ]


def plot_variants(effects: pd.DataFrame, tests: pd.DataFrame, operation: str = "erase") -> Figure:
    """Draw each number-biased word's effect against its co-occurrence in each world; lines join a word's worlds.

    Args:
        effects: variant_effects.csv.
        tests: variants.csv.
        operation: The operation to draw.

    Returns:
        The figure, with a row of panels per family and a panel per set.
    """
    rows = effects[effects["operation"] == operation] if len(effects) else effects
    if rows.empty:
        return empty_figure("only one world: nothing to compare")
    families = list(dict.fromkeys(rows["family"]))
    sets = [name for name in (*NUMBERS, CONTRAST) if (rows["set"] == name).any()]
    figure, axes = plt.subplots(
        len(families), len(sets), figsize=(1 + 4.6 * len(sets), 0.9 + 3.9 * len(families)), sharex=True, squeeze=False
    )
    for line, family in zip(axes, families, strict=True):
        for axis, name in zip(line, sets, strict=True):
            part = rows[(rows["family"] == family) & (rows["set"] == name)]
            _moves(axis, part, FAMILY_COLOURS.get(family, "#555555"))
            test = tests[(tests["family"] == family) & (tests["set"] == name) & (tests["operation"] == operation)]
            slope = f"slope {test['slope'].iloc[0]:.3f}, p = {test['p'].iloc[0]:.2g}" if test["p"].notna().any() else ""
            axis.set_title(f"{family}: {set_words(name)}", fontsize=11)
            axis.text(0.02, 0.02, slope, transform=axis.transAxes, fontsize=9)
        line[0].set_ylabel("change of log P (nats)")
    for axis in axes[-1]:
        axis.set_xlabel(RATIO_LABEL, fontsize=10)
    handles = [
        Line2D([], [], marker=marker, linestyle="none", color="#555555", label=f"world: {world}")
        for world, marker in WORLD_MARKERS.items()
        if (rows["world"] == world).any()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=10)
    return figure


def _moves(axis: plt.Axes, part: pd.DataFrame, colour: str) -> None:
    axis.axhline(0, color="#bbbbbb", linewidth=0.8)
    means = part.groupby(["word", "world"], sort=False)[["log_ratio", "log_change"]].mean()
    for word, worlds in means.groupby(level="word", sort=False):
        points = worlds.droplevel("word").sort_values("log_ratio")
        axis.plot(points["log_ratio"], points["log_change"], color=colour, alpha=0.35, linewidth=1)
        for world, point in points.iterrows():
            marker = WORLD_MARKERS.get(str(world), "^")
            axis.plot(point["log_ratio"], point["log_change"], marker, color=colour, markersize=5, alpha=0.85)
        last = points.iloc[-1]
        axis.annotate(
            str(word), (last["log_ratio"], last["log_change"]), (4, 0), textcoords="offset points", fontsize=7
        )
