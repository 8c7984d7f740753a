"""Figures of the chapter on localization: scores of determiners, neurons per layer, measures per task."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kn_thesis.localization.summary import DETERMINERS
from kn_thesis.report.style import FAMILY_COLOURS, KIND_COLOURS

DETERMINER_TASK = "determiner_noun_agreement_2"  # the target is the determiner
NOUN_TASK = "determiner_noun_agreement_1"  # the target is the noun
MARKERS = "os^Dv*PX"
MEASURE_LABELS = {"R2_1": "R²₁", "tau": "τ", "KN": "|KN|"}


def plot_determiner_neurons(neurons: pd.DataFrame, limit: int = 8) -> Figure:
    """Draw a heat map of determiners × neurons, a panel per model: the mean score as a share of the largest score.

    If a model's target can be the determiner, its panel has a row for each determiner. A causal model sees the
    determiner and predicts the noun; its rows are singular and plural nouns, means over their groups.

    Args:
        neurons: The tables of rule select_neurons, with the columns model, task, group, number, layer, neuron,
            selected and mean_relative_score.
        limit: Maximum number of neurons in a panel: the strongest that are knowledge neurons of any row.
    """
    parts = {model: _determiner_scores(rows, limit) for model, rows in neurons.groupby("model", sort=False)}
    widths = [max(3, table.shape[1]) for table in parts.values()] or [3]
    figure, axes = plt.subplots(
        1, max(1, len(parts)), figsize=(2.2 + 0.72 * sum(widths), 3.6), width_ratios=widths, squeeze=False
    )
    image = None
    for axis, (model, table) in zip(axes[0], parts.items(), strict=False):
        axis.set_title(model)
        axis.grid(visible=False)
        if table.empty:
            axis.text(0.5, 0.5, "no knowledge neuron", ha="center", va="center", transform=axis.transAxes)
            axis.set_xticks([])
            axis.set_yticks([])
            continue
        values = table.to_numpy()
        image = axis.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axis.set_yticks(range(len(table)), table.index)
        axis.set_xticks(range(table.shape[1]), [f"$w_{{{i}}}^{{({layer})}}$" for layer, i in table.columns])
        axis.set_xlabel("target: determiner" if table.index[0] in DETERMINERS else "target: noun")
        for (row, column), value in np.ndenumerate(values):
            axis.text(
                column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color="w" if value > 0.55 else "k"
            )
    if image is not None:
        figure.colorbar(image, ax=list(axes[0]), label="share of largest score", pad=0.01)
    return figure


def _determiner_scores(neurons: pd.DataFrame, limit: int) -> pd.DataFrame:
    """Return the rows of one model's panel, with columns (layer, neuron) in order; empty if there are none."""
    determiners = neurons[neurons["group"].isin(DETERMINERS)]
    if len(determiners):
        tasks = list(dict.fromkeys(determiners["task"]))
        task = DETERMINER_TASK if DETERMINER_TASK in tasks else tasks[0]
        rows, key, order = determiners[determiners["task"] == task], "group", list(DETERMINERS)
    else:
        rows = neurons[(neurons["task"] == NOUN_TASK) & neurons["number"].isin(["singular", "plural"])]
        rows = rows.assign(row=rows["number"] + " nouns")
        key, order = "row", ["singular nouns", "plural nouns"]
    selected = rows.groupby(["layer", "neuron"])["selected"].any()
    means = rows.groupby([key, "layer", "neuron"])["mean_relative_score"].mean().unstack(["layer", "neuron"])
    if means.empty:
        return pd.DataFrame()
    means = means[selected[selected].index].reindex([name for name in order if name in means.index])
    strongest = means.max().sort_values(ascending=False, kind="stable").index[:limit]
    return means[sorted(strongest)].clip(lower=0)


def plot_neurons_per_layer(table: pd.DataFrame) -> Figure:
    """Draw the share of knowledge neurons in each layer, paradigms against relations, a panel per model.

    Args:
        table: From `summary.layer_table`.
    """
    models = list(dict.fromkeys(table["model"]))
    figure, axes = plt.subplots(1, len(models), figsize=(1.5 + 3.2 * len(models), 3.4), sharey=True, squeeze=False)
    labels = {"paradigm": "syntactic (paradigms)", "relation": "factual (relations)"}
    for axis, model in zip(axes[0], models, strict=True):
        rows = table[table["model"] == model]
        depth = int(rows["layer"].max()) + 1
        for number, (kind, label) in enumerate(labels.items()):
            shares = rows.loc[rows["kind"] == kind, "share"].fillna(0)
            places = np.arange(depth) + (number - 0.5) * 0.4
            axis.bar(places, shares, width=0.38, color=KIND_COLOURS[kind], label=label)
        axis.set_title(model)
        axis.set_xlabel("layer (from 0)")
        axis.set_xticks(range(0, depth, max(1, depth // 8)))
        axis.grid(axis="x", visible=False)
    axes[0][0].set_ylabel("share of knowledge neurons")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def plot_localization_by_task(table: pd.DataFrame) -> Figure:
    """Draw R²₁, τ and |KN| per task with their intervals, and published values as hollow markers.

    Args:
        table: results/tables/localization.csv.
    """
    tasks = list(dict.fromkeys(table.sort_values("kind", kind="stable")["task"]))
    place = {task: number for number, task in enumerate(tasks)}
    models = list(dict.fromkeys(table["model"]))
    figure, axes = plt.subplots(1, 3, figsize=(14, 1.8 + 0.34 * len(tasks)), sharey=True)
    handles = []
    for number, model in enumerate(models):
        rows = table[table["model"] == model]
        colour, marker = FAMILY_COLOURS.get(rows["family"].iloc[0], "#555555"), MARKERS[number % len(MARKERS)]
        shift = 0.6 * ((number + 0.5) / len(models) - 0.5)
        at = rows["task"].map(place) + shift
        for axis, measure in zip(axes, MEASURE_LABELS, strict=True):
            axis.hlines(at, rows[f"{measure}_low"], rows[f"{measure}_high"], color=colour, linewidth=1.5, alpha=0.7)
            axis.plot(rows[measure], at, marker, color=colour, markersize=5, linestyle="none")
            axis.plot(rows[f"published_{measure}"], at, "D", mfc="none", mec="black", markersize=6, linestyle="none")
        handles.append(Line2D([], [], color=colour, marker=marker, label=model))
    for axis, (measure, label) in zip(axes, MEASURE_LABELS.items(), strict=True):
        axis.set_title(label)
        axis.set_xlim(left=0, right=1 if measure == "R2_1" else None)
        boundary = (table.drop_duplicates("task")["kind"] == "paradigm").sum()
        if 0 < boundary < len(tasks):
            axis.axhline(boundary - 0.5, color="#777777", linewidth=1)
    published = sorted(set(table["published_model"].dropna()) - {""})
    if published:
        label = f"published ({', '.join(published)})"
        handles.append(Line2D([], [], marker="D", mfc="none", mec="black", linestyle="none", label=label))
    axes[0].set_yticks(range(len(tasks)), tasks)
    axes[0].set_ylim(len(tasks) - 0.5, -0.5)
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure
