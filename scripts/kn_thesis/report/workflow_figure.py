"""The picture of the workflow: rules in words, a column per chapter, lines from what is made to what it is made for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path

from kn_thesis.report.graph import places, without_shortcuts
from kn_thesis.report.routes import HALF_HIGH, HALF_WIDE, HIGH, WIDE, Box, Point, boxes_of, routes

CHAPTERS = ("corpora", "models", "localization", "suppression", "tracing", "editing", "report")
COLOURS = ("#56B4E9", "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#D55E00", "#6B7280")
LINE, INK = "#7A8594", "#1D2330"
ACROSS, DOWN = 0.125, 0.1  # inches from one grid point to the next
HEAD = 6.0  # room above the first row, for the chapters' names, in grid points
ROUND = 0.9  # radius of a line's corner
SIZE, LONG = 9.2, 18  # points of a rule's name, and how many of its characters fit a box at that size
MARGIN = (0.5, -0.2)  # by how much a box is drawn wider, and higher, than the room that lines keep free of it


def chapter_colours(others: Iterable[str] = ()) -> dict[str, str]:
    """A colour for each chapter, in the report's order; `others` follow in grey."""
    return dict(zip(CHAPTERS, COLOURS, strict=True)) | {name: COLOURS[-1] for name in others if name not in CHAPTERS}


def plot_workflow(jobs: Mapping[str, Any]) -> Figure:
    """Draw `jobs` (see `job_table`): rules below what they wait for, and how many jobs each has.

    A chapter without rules in the study gets no column. Edges that a longer path stands for are not drawn.
    """
    rules = {rule["name"]: rule for rule in jobs["rules"]}
    colours = chapter_colours(rule["chapter"] for rule in jobs["rules"])
    columns = {chapter: [name for name, rule in rules.items() if rule["chapter"] == chapter] for chapter in colours}
    columns = {chapter: names for chapter, names in columns.items() if names}
    edges = without_shortcuts((before, after) for before, after in jobs["edges"])
    boxes = boxes_of(places(columns, edges))
    right, low = (len(columns) - 0.5) * WIDE, max(box.y for box in boxes.values()) + HIGH / 2 + 1
    left, high = -WIDE / 2, -HIGH / 2 - HEAD + 1.5
    figure, axis = plt.subplots(figsize=((right - left) * ACROSS, (low - high) * DOWN))
    axis.set(xlim=(left, right), ylim=(low, high))
    axis.axis("off")
    for number, chapter in enumerate(columns):
        _draw_column(axis, number * WIDE, high, low, chapter, colours[chapter])
    for line in routes(boxes, edges).values():
        _draw_line(axis, line)
    for name, box in boxes.items():
        _draw_box(axis, box, name, rules[name]["jobs"], colours[rules[name]["chapter"]])
    return figure


def _tint(colour: str, share: float) -> tuple[float, float, float]:
    """A colour mixed with white; `share` of it stays."""
    red, green, blue = (1 - share + share * part for part in to_rgb(colour))
    return red, green, blue


def _draw_column(axis: Axes, x: float, high: float, low: float, chapter: str, colour: str) -> None:
    """A chapter's ground and its name."""
    axis.add_patch(
        FancyBboxPatch(
            (x - WIDE / 2 + 0.15, high + 0.2),
            WIDE - 0.3,
            low - high - 0.4,
            boxstyle="round,pad=0,rounding_size=0.6",
            facecolor=_tint(colour, 0.09),
            edgecolor="none",
        )
    )
    axis.text(
        x, high + HEAD / 2 - 0.6, chapter, ha="center", va="center", fontsize=12, weight="bold", color=_shade(colour)
    )


def _shade(colour: str) -> tuple[float, float, float]:
    """A colour dark enough for text."""
    red, green, blue = (0.62 * part for part in to_rgb(colour))
    return red, green, blue


def _draw_box(axis: Axes, box: Box, name: str, jobs: int, colour: str) -> None:
    """A rule: its name in words, and the number of its jobs."""
    wide, high = HALF_WIDE + MARGIN[0], HALF_HIGH + MARGIN[1]
    axis.add_patch(
        FancyBboxPatch(
            (box.x - wide, box.y - high),
            2 * wide,
            2 * high,
            boxstyle="round,pad=0,rounding_size=0.7",
            facecolor=_tint(colour, 0.22),
            edgecolor=colour,
            linewidth=1.3,
            zorder=3,
        )
    )
    words = name.replace("_", " ")
    size = SIZE * min(1, LONG / len(words))
    axis.text(box.x, box.y - 0.42, words, ha="center", va="center", fontsize=size, color=INK, zorder=4)
    count = f"{jobs} job{'s' * (jobs != 1)}"
    axis.text(box.x, box.y + 0.88, count, ha="center", va="center", fontsize=7, color="#4A5261", zorder=4)


def _draw_line(axis: Axes, corners: Sequence[Point]) -> None:
    """A line with round corners and a head at its end."""
    (x, y), inset = corners[-1], -MARGIN[1]
    start = (corners[0][0], corners[0][1] - inset)
    points = [start, *corners[1:-1], (x, y - 0.2)]
    steps, codes = [points[0]], [Path.MOVETO]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        steps += [_towards(here, before), here, _towards(here, after)]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    steps.append(points[-1])
    codes.append(Path.LINETO)
    axis.add_patch(PathPatch(Path(steps, codes), facecolor="none", edgecolor=LINE, linewidth=1.3, zorder=2))
    tip = y + inset - 0.05
    axis.add_patch(
        Polygon([(x, tip), (x - 0.45, tip - 0.95), (x + 0.45, tip - 0.95)], facecolor=LINE, edgecolor="none", zorder=2)
    )


def _towards(here: tuple[float, float], there: tuple[float, float]) -> tuple[float, float]:
    """The point where a corner's curve begins: half of the way at most."""
    way = ((there[0] - here[0]), (there[1] - here[1]))
    length = abs(way[0]) + abs(way[1])
    share = min(ROUND / length, 0.5) if length else 0.0
    return here[0] + share * way[0], here[1] + share * way[1]
