"""Pages as HTML, without a browser: cells, anchors, contrast of colours, and the markup of a finished study's pages."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd
import pytest

from kn_thesis.report.pages import Chapter, Heading, page, with_anchors
from kn_thesis.report.show import cell_texts, holds_numbers, table_html
from tests.helpers.page_looks import contrast

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "workflow/report/page.html.j2"
PAPERS = {"card": ("ink", "soft", "accent", "code-keyword", "code-string", "code-comment", "code-number")}
PAPERS |= {"paper": ("ink", "soft", "accent")}
PAPERS |= {f"{name}-card": (name,) for name in ("supported", "not-supported", "undecided", "not-asked")}
EMPTY = {"meta", "link", "img", "br", "hr", "input", "wbr", "col", "source", "area", "base", "embed", "track"}


class Markup(HTMLParser):
    """The tags of a page in order, and whether each is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()}")

    def all(self, attribute: str) -> list[str]:
        return [attributes[attribute] or "" for _, attributes in self.tags if attribute in attributes]


@pytest.fixture(scope="module")
def pages(finished_study: Path) -> dict[str, Markup]:
    files = sorted((finished_study / "results/report").glob("*.html"))
    return {file.name: Markup(file.read_text(encoding="utf-8")) for file in files}


def test_tags_are_closed_and_ids_are_unique(pages: dict[str, Markup]) -> None:
    for name, markup in pages.items():
        ids = markup.all("id")
        assert not markup.wrong and not markup.open, (name, markup.wrong, markup.open)
        assert len(ids) == len(set(ids)), (name, sorted(one for one in set(ids) if ids.count(one) > 1))


def test_headings_leave_no_level_out(pages: dict[str, Markup]) -> None:
    for name, markup in pages.items():
        levels = [int(tag[1]) for tag, _ in markup.tags if re.fullmatch(r"h[1-6]", tag)]
        assert levels[0] == 1 and levels.count(1) == 1, (name, levels)
        assert all(after <= before + 1 for before, after in pairwise(levels)), (name, levels)


def test_pages_load_nothing_from_elsewhere(pages: dict[str, Markup], finished_study: Path) -> None:
    for name, markup in pages.items():
        loaded = [
            attributes.get("href" if tag == "link" else "src") or ""
            for tag, attributes in markup.tags
            if tag in ("script", "img", "link", "iframe", "source", "embed", "video", "audio")
            and {"src", "href"} & set(attributes)
        ]
        assert all(address.startswith("data:") for address in loaded), name
        text = (finished_study / "results/report" / name).read_text(encoding="utf-8")
        assert not re.search(r"@import|url\(\s*[\"']?(?!data:)|mathjax|require\.js|srcset", text, re.IGNORECASE), name
        assert dict(markup.tags[0][1])["lang"] == "en", name
        policy = next(a["content"] for tag, a in markup.tags if tag == "meta" and "http-equiv" in a) or ""
        assert policy.startswith("default-src 'none'; img-src data:"), name


def test_links_lead_somewhere(pages: dict[str, Markup], finished_study: Path) -> None:
    folder = finished_study / "results/report"
    for name, markup in pages.items():
        for link in markup.all("href"):
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "mailto", "data"):
                continue
            target = unquote(parts.path) or name
            assert (folder / target).is_file(), (name, link)
            if parts.fragment:
                assert unquote(parts.fragment) in pages[target].all("id"), (name, link)


def test_colours_meet_the_guidelines_in_both_schemes() -> None:
    css = (TEMPLATE.parent / "page.css").read_text(encoding="utf-8")
    pairs = dict(re.findall(r"--([\w-]+): light-dark\((#\w{6}, #\w{6})\)", css))
    named = {name: value.split(", ") for name, value in pairs.items()}
    texts = {ink for inks in PAPERS.values() for ink in inks}
    assert set(named) - texts - set(PAPERS) == {"line"}, "a colour that no test looks at"
    for paper, inks in PAPERS.items():
        for ink in inks:
            for scheme in (0, 1):
                ratio = contrast(named[ink][scheme], named[paper][scheme])
                assert ratio >= 4.5, (ink, paper, ("light", "dark")[scheme], round(ratio, 2))


def test_cells_keep_their_format_and_lose_nothing() -> None:
    data = pd.DataFrame(
        {
            "share": [0.5, np.nan],
            "count": [12345.0, np.nan],
            "float": [0.123456, 1234.5],
            "text": ["x" * 300, None],
            "truth": [True, False],
            "whole": [10000, 2],
        }
    )
    assert cell_texts(data, {"share": ".0%"}) == [
        ["50%", ""],
        ["12345", ""],
        ["0.1235", "1234"],
        ["x" * 300, ""],
        ["True", "False"],
        ["10000", "2"],
    ]
    assert "x" * 300 in table_html(data, "t", "c")


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (["0.68 [0.50, 0.82]", ""], True),
        (["68 %", "+3%", "−4.1%"], True),
        (["< 0.001", "1e-07"], True),
        (["1,204 (of 9)", "3–5"], True),
        (["P36", "3"], False),
        (["3 of 5 facts"], False),
        (["", None], False),
        ([True, False], False),
        ([1, 2], True),
    ],
)
def test_columns_of_numbers_are_told_from_words(values: list[object], numbers: bool) -> None:
    column = pd.Series(values)
    assert holds_numbers(column, cell_texts(column.to_frame("a"), {})[0]) is numbers


def test_text_of_tables_is_escaped() -> None:
    text = table_html(pd.DataFrame({"<b>": ["<s> & more", "a"]}), "t", "<i>", download=False)
    assert "&lt;b&gt;" in text and "&lt;s&gt; &amp; more" in text and "&lt;i&gt;" in text
    assert not {"b", "s", "i"} & {tag for tag, _ in Markup(text).tags}


def test_only_columns_named_as_markup_are_taken_as_it_stands() -> None:
    chip = '<span class="verdict supported">supported</span>'
    text = table_html(pd.DataFrame({"claim": ["a < b"], "verdict": [chip]}), "t", "c", markup=["verdict"])
    assert f"<td>{chip}</td>" in text and "a &lt; b" in text
    assert chip not in table_html(pd.DataFrame({"claim": ["a"], "verdict": [chip]}), "t", "c")


def test_headings_get_anchors_that_stay_unique() -> None:
    body = "<h1>Über</h1><h2 id='x'>A</h2>".replace("'", '"')
    body += '<h2 id="x">B <em>b</em></h2><h3>What &amp; why?</h3><figure id="f"></figure>'
    body += '<h3><a href="y.html">Y</a></h3><h2>f</h2>'
    text, contents = with_anchors(body)
    assert contents == [
        Heading(2, "x", "A"),
        Heading(2, "x-2", "B b"),
        Heading(3, "what-why", "What &amp; why?"),
        Heading(2, "f-2", "f"),
    ]
    markup = Markup(text)
    assert markup.all("id") == ["über", "x", "x-2", "what-why", "f", "y", "f-2"]
    assert [link for link in markup.all("href") if link[0] == "#"] == ["#x", "#x-2", "#what-why", "#y", "#f-2"]


def test_pages_lead_to_their_neighbours() -> None:
    chapters = [Chapter("a", "A & a", ""), Chapter("b", "B", "")]
    turned = {}
    for current in ("index", "a", "b"):
        tags = Markup(page(TEMPLATE, chapters, current, "tiny", "<h1>t</h1>")).tags
        turned[current] = [(a.get("rel"), a["href"]) for tag, a in tags if tag == "a" and a.get("rel")]
        assert [a["href"] for tag, a in tags if a.get("aria-current")] == [f"{current}.html"]
    assert turned == {
        "index": [("next", "a.html")],
        "a": [("prev", "index.html"), ("next", "b.html")],
        "b": [("prev", "a.html")],
    }


def test_files_beside_a_page_are_named_with_their_size() -> None:
    body = table_html(pd.DataFrame({"a": [1]}), "one", "c") + table_html(pd.DataFrame({"a": [1]}), "two", "c")
    text = page(TEMPLATE, [], "index", "tiny", body, sizes={"one.csv": 2349818})
    assert ">CSV: one.csv (2.3 MB)</a>" in text and ">CSV: two.csv</a>" in text
