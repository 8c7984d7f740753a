"""What the chapter's figures share: colours, ticks, lines of text, and the figure of nothing."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

# Purple, green and red are Meng et al.'s (2022); these shades of them can be told apart by colour-blind readers.
STATE_COLOURS = {"hidden": "#54278F", "mlp": "#00795A", "attention": "#C4500A"}
STATE_COLOURS |= {f"severed_{name}": STATE_COLOURS[name] for name in ("mlp", "attention")}


def layer_ticks(layers: int, most: int) -> list[int]:
    """Layers that are named on an axis: all, or every so many, from 0."""
    steps = (step for step in (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20) if -(-layers // step) <= most)
    return list(range(0, layers, next(steps, layers)))


def nothing(why: str) -> Figure:
    """A figure that says why it is empty."""
    figure, axis = plt.subplots(figsize=(6, 1.6))
    axis.text(0.5, 0.5, why, ha="center", va="center", color="#777777")
    axis.set_axis_off()
    return figure


def wrapped(text: str, letters: int, at: str = "_") -> str:
    """A text broken into lines of about so many letters, behind underscores (or what `at` says)."""
    lines = [""]
    pieces = text.split(at)
    for number, piece in enumerate(pieces):
        whole = piece + (at if number < len(pieces) - 1 else "")
        if lines[-1] and len(lines[-1]) + len(whole.rstrip()) > letters:
            lines.append("")
        lines[-1] += whole
    return "\n".join(line.rstrip(" ") for line in lines)
