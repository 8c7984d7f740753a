"""One look for every figure, saved so that the same data gives the same bytes."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
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
    """Set the study's theme before drawing: Okabe and Ito's colours, text in SVG files stays text."""
    import seaborn as sns  # late: it brings scipy and statsmodels, which figures and sentences do without

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
    """Make a figure of panels that share both axes.

    Args:
        count: number of panels.
        width: of a panel, in inches.
        height: of a panel, in inches.
        margin: room for the labels at the left, in inches.
        most: maximum number of panels in a row.

    Returns:
        The figure, and its panels in reading order.
    """
    across = min(most, max(1, count))
    rows = -(-max(1, count) // across)
    figure, axes = plt.subplots(
        rows, across, figsize=(margin + width * across, height * rows), sharex=True, sharey=True, squeeze=False
    )
    flat = list(axes.flat)
    for axis in flat[count:]:
        axis.set_visible(False)
    for axis in flat[max(0, count - across) : count]:  # the lowest panel of each column has the numbers
        axis.tick_params(labelbottom=True)
    return figure, flat[:count]


def layer_ticks(layers: int, max_ticks: int) -> list[int]:
    """Choose the layers that are named on an axis, at even distances from 0.

    Args:
        layers: Number of layers of the model.
        max_ticks: Maximum number of ticks.

    Returns:
        The layers.
    """
    steps = (step for step in (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20) if -(-layers // step) <= max_ticks)
    return list(range(0, layers, next(steps, layers)))


def empty_figure(why: str) -> Figure:
    """Draw a placeholder that says why there is nothing to draw."""
    figure, axis = plt.subplots(figsize=(6, 1.6))
    axis.text(0.5, 0.5, why, ha="center", va="center", color="#777777")
    axis.set_axis_off()
    return figure


def wrap_text(text: str, letters: int, at: str = "_") -> str:
    """Break a text into lines.

    Args:
        text: The text.
        letters: Maximum length of a line, unless a single piece is longer.
        at: The separator after which lines may break.

    Returns:
        The text with line breaks.
    """
    lines = [""]
    pieces = text.split(at)
    for number, piece in enumerate(pieces):
        whole = piece + (at if number < len(pieces) - 1 else "")
        if lines[-1] and len(lines[-1]) + len(whole.rstrip()) > letters:
            lines.append("")
        lines[-1] += whole
    return "\n".join(line.rstrip(" ") for line in lines)


def save_figure(figure: Figure, svg: str | Path, png: str | Path) -> None:
    """Write a figure as SVG and PNG without dates, each file whole or not at all, and close it."""
    _settle(figure)
    with whole_file(svg) as path:
        figure.savefig(path, metadata={"Date": None})
    with whole_file(png) as path:
        figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def _settle(figure: Figure) -> None:
    """Lay a figure out once for both files and round the positions of its axes.

    The layout solver's last digit differs from run to run. Nobody sees it, but SVG names its clip paths after it.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axis in figure.axes:
        axis.set_position(Bbox(np.round(axis.get_position(original=True).get_points(), 9)), which="original")
