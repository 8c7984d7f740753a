"""Draw the claims: every part in every model with its interval, bound and published value, and all verdicts at once."""

from __future__ import annotations

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from kn_thesis.report.claims.labels import OVER_MODELS, SYMBOLS, bound, models_phrase, number, published, verdict_of
from kn_thesis.report.style import FAMILY_COLOURS

WIDTH = 5.4  # inches: on a page 400 px wide the text is still legible
SIDE_COLOUR = "#DCEBF7"
VERDICT_COLOURS = {"supported": "#0072B2", "not supported": "#D55E00", "undecided": "#BBBBBB", "not asked": "#FFFFFF"}


def plot_claim(parts: pd.DataFrame, models: list[str]) -> Figure:
    """Draw one claim: a panel per part, with a row over models and one per model.

    Shaded: the claim's side of the bound. Hollow diamond: the published value.

    Args:
        parts: the claim's rows of claim_parts.csv.
        models: the models to draw, in order.

    Returns:
        The figure.
    """
    rows = parts[parts["headline"].astype(str).eq("True") & parts["model"].isin([OVER_MODELS, *models])]
    names = list(dict.fromkeys(rows["part"]))
    by_part = {name: _ordered(rows[rows["part"] == name], models) for name in names}
    heights = [0.55 + 0.3 * len(part) for part in by_part.values()]
    figure, axes = plt.subplots(
        len(names), 1, figsize=(WIDTH, sum(heights) + 0.75 * len(names)), height_ratios=heights, squeeze=False
    )
    for axis, part in zip(axes[:, 0], by_part.values(), strict=True):
        _panel(axis, part)
    return figure


def _ordered(rows: pd.DataFrame, models: list[str]) -> pd.DataFrame:
    order = {name: number for number, name in enumerate([OVER_MODELS, *models])}
    return rows.sort_values("model", key=lambda names: names.map(order), kind="stable")


def _panel(axis: Axes, rows: pd.DataFrame) -> None:
    first, count = rows.iloc[0], len(rows)
    known = [value for value in rows[["effect", "low", "high", "published"]].to_numpy().ravel() if np.isfinite(value)]
    ends = [-first["bound"], first["bound"]] if first["side"] == "within" else [first["bound"]]
    minimum, maximum = min([*known, *ends, 0]), max([*known, *ends, 0])
    margin = 0.06 * (maximum - minimum or 1)
    left, right = minimum - margin, maximum + margin
    low, high = {"above": (ends[0], right), "below": (left, ends[-1]), "within": (ends[0], ends[-1])}[first["side"]]
    axis.axvspan(low, high, color=SIDE_COLOUR, linewidth=0, zorder=0)
    for end in ends:
        axis.axvline(end, color="#444444", linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    for place, (_, row) in enumerate(rows.iterrows()):
        over = row["model"] == OVER_MODELS
        colour = "black" if over else FAMILY_COLOURS.get(row["family"], "#555555")
        if np.isfinite(row["effect"]):
            if np.isfinite(row["low"]):
                axis.hlines(place, row["low"], row["high"], color=colour, linewidth=2.4 if over else 1.8)
            axis.plot(row["effect"], place, "D" if over else "o", color=colour, markersize=7)
        else:
            axis.text((left + right) / 2, place, "no estimate", color="#666666", fontsize=9, ha="center", va="center")
    if np.isfinite(first["published"]):
        axis.plot(first["published"], count, "D", mfc="white", mec="black", markersize=7)
    labels = [models_phrase(row).replace(", ", "\n", 1) if count else "" for _, row in rows.iterrows()]
    with_published = bool(published(first))
    axis.set_yticks(range(count + with_published), labels + ["published"] * with_published, fontsize=9)
    if with_published and not np.isfinite(first["published"]):
        words = textwrap.shorten(published(first), 44, placeholder=" …")
        axis.text((left + right) / 2, count, words, fontsize=9, ha="center", va="center", style="italic")
    axis.set_ylim(count - 0.5 + with_published, -0.6)
    axis.set_xlim(left, right)
    axis.xaxis.set_major_locator(plt.MaxNLocator(5))
    axis.xaxis.set_major_formatter(lambda value, _: number(round(value, 12), first["form"]))
    axis.tick_params(axis="x", labelsize=9)
    axis.grid(axis="y", visible=False)
    says = "\n".join(textwrap.wrap(f"{first['says']}, claimed {bound(first)}", 66))
    says = says[0].upper() + says[1:] if says[0].isascii() else says  # a capital τ would read as T
    axis.set_title(says, fontsize=9.5, fontweight="normal", linespacing=1.3)


def plot_claims(claims: pd.DataFrame, models: list[str]) -> Figure:
    """Draw all verdicts at once: a row per claim, a column over models and one per model.

    Args:
        claims: claims.csv; only the leading variants are drawn.
        models: the models to draw, in order.

    Returns:
        The figure.
    """
    rows = claims[claims["headline"].astype(str) == "True"]
    columns = [OVER_MODELS, *models]
    numbers = list(dict.fromkeys(rows["claim"]))
    figure, axis = plt.subplots(figsize=(5.6 + 1.15 * len(columns), 0.9 + 0.5 * len(numbers)))
    for place, claim in enumerate(numbers):
        part = rows[rows["claim"] == claim].set_index("model")
        for column, model in enumerate(columns):
            verdict = verdict_of(part.loc[model]) if model in part.index else "not asked"
            box = plt.Rectangle((column - 0.46, place - 0.4), 0.92, 0.8, color=VERDICT_COLOURS[verdict])
            axis.add_patch(box)
            dark = verdict in ("supported", "not supported")
            axis.text(
                column, place, verdict.replace("not ", "not\n"), ha="center", va="center", fontsize=8.5,
                color="white" if dark else "#333333", linespacing=1.0,
            )  # fmt: skip
    texts = dict(zip(rows["claim"], rows["says"], strict=True))
    labels = ["\n".join(textwrap.wrap(f"{claim}. {texts[claim]}", 58)) for claim in numbers]
    axis.set_yticks(range(len(numbers)), labels, fontsize=9)
    axis.set_xticks(range(len(columns)), ["over models", *models], fontsize=9.5)
    axis.xaxis.tick_top()
    axis.set_xlim(-0.5, len(columns) - 0.5)
    axis.set_ylim(len(numbers) - 0.5, -0.5)
    axis.grid(visible=False)
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
    handles = [
        Patch(facecolor=colour, edgecolor="#999999", label=f"{SYMBOLS[name]} {name}")
        for name, colour in VERDICT_COLOURS.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure
