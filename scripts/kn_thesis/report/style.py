"""One look for every figure, and files that are the same bytes from the same data."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from kn_thesis.files import whole_file

FAMILY_COLOURS = {
    **{"bert": "#0072B2", "gpt2": "#D55E00", "llama": "#009E73"},
    **{"roberta": "#56B4E9", "gptj": "#E69F00", "mistral": "#882255", "qwen2": "#999933"},
}
KIND_COLOURS = {"paradigm": "#0072B2", "relation": "#E69F00"}
NUMBER_COLOURS = {"singular": "#CC79A7", "plural": "#0072B2", "biased": "#E69F00", "neutral": "#7F7F7F"}


def use_style() -> None:
    """Set the study's theme (Okabe and Ito's colours, text kept as text in SVG); call before drawing."""
    matplotlib.use("Agg")
    sns.set_theme(style="whitegrid", context="notebook", palette="colorblind")
    plt.rcParams.update(
        {
            "figure.dpi": 110,
            "savefig.dpi": 160,
            "figure.constrained_layout.use": True,
            "svg.fonttype": "none",
            "svg.hashsalt": "kn-thesis",
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
        }
    )


def panels(count: int, width: float, height: float, margin: float, most: int = 3) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels that share both axes, at most `most` in a row, and the panels in reading order.

    width and height of a panel, and the margin for the labels at the left, are in inches.
    """
    across = min(most, max(1, count))
    rows = -(-max(1, count) // across)
    figure, axes = plt.subplots(
        rows, across, figsize=(margin + width * across, height * rows), sharex=True, sharey=True, squeeze=False
    )
    flat = list(axes.flat)
    for axis in flat[count:]:
        axis.set_visible(False)
    for axis in flat[max(0, count - across) : count]:  # the lowest of its column has the numbers
        axis.tick_params(labelbottom=True)
    return figure, flat[:count]


def save_figure(figure: Figure, svg: str | Path, png: str | Path) -> None:
    """Write a figure as SVG and PNG without dates, whole or not at all, and close it."""
    _settle(figure)
    with whole_file(svg) as path:
        figure.savefig(path, metadata={"Date": None})
    with whole_file(png) as path:
        figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def _settle(figure: Figure) -> None:
    """Lay a figure out, once for both files, and round where its axes stand.

    The layout's solver leaves another last digit from run to run, which nobody sees, but SVG names its clips after it.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axis in figure.axes:
        axis.set_position(Bbox(np.round(axis.get_position(original=True).get_points(), 9)), which="original")
