"""A page's headings: each gets an anchor that can be linked to, and they make the page's table of contents."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

HEADING = re.compile(r"<h([1-6])\b([^>]*)>(.*?)</h\1>", re.DOTALL)
IDENTIFIER = re.compile(r'\sid="([^"]*)"')


@dataclass(frozen=True)
class Heading:
    """One entry of the contents: level 2 or 3, anchor, and the text as HTML without tags."""

    level: int
    anchor: str
    text: str


def with_anchors(body: str) -> tuple[str, list[Heading]]:
    """The body with an id at every heading and a link to itself at h2 and h3; and these headings, in order.

    A heading that has an id keeps it, unless something before it has the same. Headings that are links themselves,
    such as those of cards, are not part of the contents.
    """
    outside = HEADING.sub("", body)
    taken = set(IDENTIFIER.findall(outside))
    contents: list[Heading] = []

    def anchored(match: re.Match[str]) -> str:
        level, attributes, inner = int(match[1]), match[2], match[3]
        given = IDENTIFIER.search(attributes)
        anchor = next(name for name in _names(given[1] if given else _slug(inner)) if name not in taken)
        taken.add(anchor)
        attributes = f'{IDENTIFIER.sub("", attributes)} id="{anchor}"'
        if level not in (2, 3):
            return f"<h{level}{attributes}>{inner}</h{level}>"
        if "<a " not in inner:
            contents.append(Heading(level, anchor, _text(inner)))
        link = f'<a class="anchor" href="#{anchor}" aria-label="Link to this section">#</a>'
        return f"<h{level}{attributes}>{inner} {link}</h{level}>"

    return HEADING.sub(anchored, body), contents


def _names(name: str) -> Iterator[str]:
    """The name itself, then with 2, 3, ... behind it."""
    yield name
    number = 1
    while True:
        number += 1
        yield f"{name}-{number}"


def _text(inner: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", "", inner).split())


def _slug(inner: str) -> str:
    words = re.findall(r"\w+", html.unescape(_text(inner)).lower())
    return "-".join(words) or "section"
