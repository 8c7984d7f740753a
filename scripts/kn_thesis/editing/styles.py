"""Colours and markers of the chapter's figures: none twice, so that nothing is told by colour alone."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Iterator
from itertools import count

from kn_thesis.editing.words import METHOD_WORDS, method_of

Marker = str | tuple[int, int, int]

# Okabe and Ito's colours, some of them darker; each method that is known has a marker of its own, too.
METHOD_STYLES = {"rome": ("#0072B2", "o"), "knowledge_neuron": ("#D55E00", "s"), "fine_tuning": ("#009E73", "^")}
FURTHER_COLOURS = ("#B2387F", "#555555", "#B8860B", "#54278F", "#8C510A")
FURTHER_MARKERS = ("D", "v", "P", "X", "*", "p", "<", ">", "h", "d", "8")
LIGHTEST, DARKEST = 0.4, 0.6  # how much white or black is mixed in at most


def editor_styles(editors: Iterable[str]) -> dict[str, tuple[str, Marker]]:
    """Colour and marker of each editor, no two alike: variants of a method in shades of its colour.

    A method that is known keeps colour and marker whatever stands beside it; others take theirs from a list.
    """
    names = list(dict.fromkeys(editors))
    methods = list(dict.fromkeys(method_of(name) for name in names))
    known = {method: colour for method, (colour, _) in METHOD_STYLES.items()}
    rest = _further_colours()
    colours = {method: known[method] if method in known else next(rest) for method in methods}
    markers, found = _further_markers(), {}
    for method in methods:
        variants = sorted((name for name in names if method_of(name) == method), key=lambda name: name != method)
        shades = _shades(colours[method], len(variants))
        for name, colour in zip(variants, shades, strict=True):
            found[name] = (colour, METHOD_STYLES[name][1] if name in METHOD_WORDS else next(markers))
    return {name: found[name] for name in names}


def _shades(colour: str, number: int) -> list[str]:
    """A colour, then shades of it: lighter and darker ones in turn."""
    steps = number // 2  # in the direction that has more of them
    mixed = [
        (1.0, LIGHTEST * step / steps) if lighter else (0.0, DARKEST * step / steps)
        for step in range(1, steps + 1)
        for lighter in (False, True)
    ]
    return [colour, *(_mixed(colour, *mix) for mix in mixed)][:number]


def _mixed(colour: str, other: float, part: float) -> str:
    """A colour with a part of white (1) or black (0)."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return _hex((1 - part) * channel + part * other for channel in channels)


def _hex(channels: Iterable[float]) -> str:
    return "#" + "".join(f"{round(255 * channel):02X}" for channel in channels)


def _further_colours() -> Iterator[str]:
    """A list, then hues a golden section apart, which never come again."""
    yield from FURTHER_COLOURS
    for number in count():
        yield _hex(colorsys.hsv_to_rgb((0.09 + 0.618034 * number) % 1, 0.85, 0.65))


def _further_markers() -> Iterator[Marker]:
    """A list, then stars with ever more points, as matplotlib writes them."""
    yield from FURTHER_MARKERS
    for points in count(6):
        yield (points, 1, 0)
