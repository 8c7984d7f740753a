"""What a browser finds on a page: pictures, tables, links and colours as the page itself measures them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.helpers.browser import Tab

FACTS = """({
  pictures: [...document.images].map((image) => ({
    figure: image.closest("figure")?.id ?? "", alt: image.alt, natural: image.naturalWidth,
    width: image.getBoundingClientRect().width,
  })),
  width: document.documentElement.scrollWidth,
  captions: [...document.querySelectorAll("figcaption, caption")].map((caption) => ({
    scrolls: Boolean(caption.closest(".scroll")), right: caption.getBoundingClientRect().right,
  })),
  rows: Object.fromEntries([...document.querySelectorAll("figure.table")].map(
    (figure) => [figure.id, figure.querySelectorAll("tbody tr").length]
  )),
  lost: [...document.querySelectorAll("a[href^='#']")].map((link) => decodeURIComponent(link.hash.slice(1)))
    .filter((name) => !document.getElementById(name)),
  bare: [...document.querySelectorAll("main h2, main h3, figure")].filter(
    (part) => !(part.id && part.querySelector(`a.anchor[href="#${CSS.escape(part.id)}"]`))
  ).map((part) => part.outerHTML.slice(0, 80)),
  landmarks: ["header", "main", "footer", "nav[aria-label]", "a.skip[href='#content']"].filter(
    (name) => !document.querySelector(name)
  ),
})"""

# Every pair of a text's colour and what is behind it, once each, with an example.
COLOURS = """(() => {
  const found = new Map();
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data).join("").trim();
    if (!text || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    const style = getComputedStyle(element);
    let behind = element, paper = "";
    while (behind && /^(|rgba\\(.*, 0\\))$/.test(paper)) {
      paper = getComputedStyle(behind).backgroundColor;
      behind = behind.parentElement;
    }
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const key = [style.color, paper, large].join("|");
    if (!found.has(key)) found.set(key, [style.color, paper, large, text.slice(0, 40)]);
  }
  return [...found.values()];
})()"""

# For each column of each table: the cells as they stand, and after one, two and three clicks on the column's head.
SORTED = """[...document.querySelectorAll("figure.table")].map((figure) => {
  const rows = () => [...figure.querySelector("tbody").rows];
  const cells = (column) => rows().map((row) => row.cells[column].textContent.trim());
  return {
    id: figure.id, rows: rows().length,
    columns: [...figure.querySelector("thead tr").cells].map((head, column) => {
      const states = [cells(column)], said = [];
      for (let click = 0; click < 3; click += 1) {
        head.querySelector("button")?.click();
        states.push(cells(column));
        said.push(head.getAttribute("aria-sort"));
      }
      return { states, said };
    }),
  };
})"""


def faults(tab: Tab, page: Path, width: int) -> list[str]:
    """What is wrong with a page that a tab has opened, a sentence each; nothing when all is well."""
    facts: dict[str, Any] = tab.value(FACTS)
    found = [f"picture not shown: {picture}" for picture in facts["pictures"] if not picture["natural"]]
    found += [f"picture without a text: {picture}" for picture in facts["pictures"] if not picture["alt"].strip()]
    found += [f"the page is {facts['width']} px wide"] if facts["width"] > width else []
    found += [f"caption cut off: {it}" for it in facts["captions"] if it["scrolls"] or it["right"] > width]
    found += [f"link to nothing: #{name}" for name in facts["lost"]]
    found += [f"no anchor: {part}" for part in facts["bare"]]
    found += [f"missing: {name}" for name in facts["landmarks"]]
    found += [f"console: {problem}" for problem in tab.problems()]
    home = page.parent.as_uri()
    return found + [f"asked for: {it[:100]}" for it in tab.requests() if not it.startswith(("data:", home))]


def low_contrast(pairs: Sequence[tuple[str, str, bool, str]]) -> list[str]:
    """The pairs below what WCAG AA asks for: 4.5, and 3 for large text."""
    ratios = [(contrast(ink, paper), large, text, ink, paper) for ink, paper, large, text in pairs]
    return [
        f"{text!r}: {ratio:.2f} ({ink} on {paper})"
        for ratio, large, text, ink, paper in ratios
        if ratio < (3 if large else 4.5)
    ]


def contrast(ink: str, paper: str) -> float:
    """WCAG's contrast ratio of two opaque colours, written as '#0b5c9e' or 'rgb(11, 92, 158)'."""
    light, dark = sorted(map(_luminance, (ink, paper)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)] if colour[0] == "#" else _numbers(colour)
    linear = [part / 255 / 12.92 if part / 255 <= 0.04045 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _numbers(colour: str) -> list[int]:
    numbers = re.fullmatch(r"rgba?\((\d+), (\d+), (\d+)(?:, 1)?\)", colour)
    assert numbers, f"not an opaque colour: {colour!r}"
    return [int(number) for number in numbers.groups()]
