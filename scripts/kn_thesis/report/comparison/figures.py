"""Draw the values of one run against those of the other: points on the dashed line are equal in both."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from kn_thesis.report.comparison.tests import DIFFERS, IDENTICAL, INSIDE, OUTSIDE, UNTESTED, WITHIN
from kn_thesis.report.style import save_figure, use_style

# Verdicts that are drawn alike, their colour (Okabe and Ito's), and a mark that tells them apart without colour.
LOOKS = (
    ((IDENTICAL, UNTESTED), "#7F7F7F", "+"),
    ((WITHIN, INSIDE), "#0072B2", "o"),
    ((DIFFERS, OUTSIDE), "#D55E00", "D"),
)
MANY = 600  # more points are drawn as pixels inside the SVG, which would otherwise open slowly


def draw(rows: pd.DataFrame, measure: str, folder: Path, stem: str) -> Path | None:
    """Draw one measure as a scatter plot.

    Args:
        rows: from `judge_measures`.
        measure: the measure, as in `quantity`.
        folder: where the figure is written.
        stem: stem of the figure's files.

    Returns:
        The SVG file, or None when fewer than two rows are in both runs.
    """
    rows = rows[(rows["quantity"] == measure) & rows["A"].notna() & rows["B"].notna()]
    if len(rows) < 2:
        return None
    use_style()
    picture, axis = plt.subplots(figsize=(5, 5.5))
    pixels = len(rows) > MANY
    ends = _ends(rows)
    axis.plot(ends, ends, color="black", linestyle="--", linewidth=1, zorder=1)
    for verdicts, colour, mark in LOOKS:
        part = rows[rows["verdict"].isin(verdicts)]
        if not len(part):
            continue
        label = " or ".join(name for name in verdicts if (part["verdict"] == name).any())
        _intervals(axis, part, colour, pixels)
        face = colour if mark == "D" else "none"
        looks = {"facecolors": face, "edgecolors": colour} if mark != "+" else {"color": colour}
        axis.scatter(
            part["A"],
            part["B"],
            s=12 if pixels else 26,
            marker=mark,
            linewidths=1,
            zorder=3,
            rasterized=pixels,
            label=f"{label} ({len(part):,})",
            **looks,
        )
    axis.set(xlabel=f"{measure} in A", ylabel=f"{measure} in B", xlim=ends, ylim=ends)
    axis.set_aspect("equal")
    picture.legend(loc="outside lower center", fontsize=10, frameon=False, labelspacing=0.3)
    save_figure(picture, folder / f"{stem}.svg", folder / f"{stem}.png")
    return folder / f"{stem}.svg"


def _ends(rows: pd.DataFrame) -> tuple[float, float]:
    """One range for both axes: every value and most intervals, so that a few wide ones do not shrink the rest."""
    values = rows[["A", "B"]].to_numpy(float)
    around = rows[["A_low", "A_high", "B_low", "B_high"]].to_numpy(float)
    around = around[np.isfinite(around)]
    if len(around):
        values = np.append(values.ravel(), np.quantile(around, [0.02, 0.98]))
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * (high - low) or 0.06 * max(abs(high), 1.0)
    return low - margin, high + margin


def _intervals(axis: Axes, rows: pd.DataFrame, colour: str, pixels: bool) -> None:
    """Draw intervals as thin lines, A's horizontal and B's vertical."""
    for low, high, across in (("A_low", "A_high", True), ("B_low", "B_high", False)):
        there = rows[rows[low].notna() & rows[high].notna()]
        starts, stops = there[low].to_numpy(float), there[high].to_numpy(float)
        at = there["B" if across else "A"].to_numpy(float)
        points = [
            np.stack(pair, axis=1) for pair in (((starts, at), (stops, at)) if across else ((at, starts), (at, stops)))
        ]
        lines = LineCollection(
            np.stack(points, axis=1), colors=colour, linewidths=0.6, alpha=0.25 if pixels else 0.55, zorder=2
        )
        lines.set_rasterized(pixels)
        axis.add_collection(lines)
