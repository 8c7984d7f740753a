"""What can be read in a figure."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.text import Text


def written(figure: Figure) -> list[str]:
    """All texts that can be seen, ticks' and legends' among them."""
    figure.canvas.draw()
    return [text.get_text() for text in seen(figure)]


def seen(figure: Figure) -> list[Text]:
    """Texts of the figure and its axes, with the labels of ticks that lie in an axis' range."""
    texts = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        texts += [*axes.texts, axes.title, axes._left_title, axes._right_title]
        for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            texts += [axis.label, *(label for tick in ticks for label in (tick.label1, tick.label2))]
    return [text for text in texts if text.get_visible() and text.get_text().strip()]


def check_readable(figure: Figure) -> None:
    """Fail when a text leaves the figure, or two texts lie upon each other."""
    figure.canvas.draw()
    texts = seen(figure)
    for text in texts:
        box = text.get_window_extent()
        low, high = figure.bbox.min, figure.bbox.max
        assert (box.min >= low - 1).all() and (box.max <= high + 1).all(), text.get_text()
    boxes = [(text.get_text(), text.get_window_extent().shrunk(0.96, 0.8)) for text in texts]
    for number, (said, box) in enumerate(boxes):
        for other, another in boxes[number + 1 :]:
            assert not box.overlaps(another), (said, other)
