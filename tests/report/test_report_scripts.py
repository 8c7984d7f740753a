"""What a reader can do with a page: sort, filter, enlarge figures, choose colours, use the keyboard, print."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from kn_thesis.report.pages import Chapter, page
from kn_thesis.report.show import MAX_ROWS, figure_html, table_html
from tests.helpers.browser import Browser, Tab

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "workflow/report/page.html.j2"
CHAPTERS = [Chapter("first", "First", ""), Chapter("second", "Second", ""), Chapter("third", "Third", "")]
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="1600" height="400"><rect width="9" height="9"/></svg>'
ENTER = ("Enter", 13, "\r")
# Pairs of a column's texts as the table has them, and the same texts sorted by the numbers in them.
COLUMNS = {
    "interval": (
        ["0.68 [0.50, 0.82]", "", "-0.10 [-0.20, 0.00]", "10.00 [9.00, 11.00]", "0.70 [0.1, 0.9]"],
        ["-0.10 [-0.20, 0.00]", "0.68 [0.50, 0.82]", "0.70 [0.1, 0.9]", "10.00 [9.00, 11.00]", ""],
    ),
    "percent": (["68%", "7 %", "–", "100%", "0%"], ["0%", "7 %", "68%", "100%", "–"]),
    "p": (["2e-07", "< 0.001", "0.04", "1", ""], ["2e-07", "< 0.001", "0.04", "1", ""]),
    "count": (["1,204", "56,224", "3", "", "999"], ["3", "999", "1,204", "56,224", ""]),
    "signed": (["+0.2", "−0.3", "+0.1", "0", "-0.4"], ["-0.4", "−0.3", "0", "+0.1", "+0.2"]),
    "word": (["layer 10", "layer 9", "Anna", "", "bert"], ["Anna", "bert", "layer 9", "layer 10", ""]),
    "mixed": (["3", "none", "12", "", "a"], ["3", "12", "a", "none", ""]),
}


def opened(tab: Tab, folder: Path, body: str, current: str = "second") -> None:
    """Open a page with this body in a tab."""
    file = folder / f"{current}.html"
    file.write_text(page(TEMPLATE, CHAPTERS, current, "tiny", body), encoding="utf-8")
    tab.open(file.as_uri())


def cells(tab: Tab, column: int) -> list[str]:
    return tab.value(
        f"[...document.querySelectorAll('tbody tr:not([hidden])')].map((r) => r.cells[{column}].textContent)"
    )


def shown(tab: Tab, selector: str) -> list[str]:
    """The tags of the visible elements that match a selector."""
    found = f"[...document.querySelectorAll('{selector}')].filter((part) => part.checkVisibility())"
    return tab.value(f"{found}.map((part) => part.tagName)")


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_sorts_by_the_first_number_with_empty_cells_last(browser: Browser, tmp_path: Path, name: str) -> None:
    given, ordered = COLUMNS[name]
    body = table_html(pd.DataFrame({"row": list("abcde"), "value": given}), "t", "Rows.", download=False)
    blank = [cell for cell in ordered if cell in ("", "–")]
    with browser.tab(800) as tab:
        opened(tab, tmp_path, body)
        tab.value("document.querySelectorAll('thead button')[1].click()")
        assert cells(tab, 1) == ordered
        tab.value("document.querySelectorAll('thead button')[1].focus()")
        tab.press(*ENTER)
        assert cells(tab, 1) == [*[cell for cell in ordered if cell not in ("", "–")][::-1], *blank]
        assert tab.value("document.querySelectorAll('thead th')[1].getAttribute('aria-sort')") == "descending"
        tab.press(*ENTER)
        assert cells(tab, 1) == given and not tab.problems()


def test_rows_can_be_filtered_in_long_tables_only(browser: Browser, tmp_path: Path) -> None:
    long = pd.DataFrame({"model": ["bert", "gpt2"] * 7, "task": [f"task {number}" for number in range(14)]})
    body = table_html(long, "long", "Long.", download=False) + table_html(long[:12], "short", "Short.", download=False)
    with browser.tab(400) as tab:
        opened(tab, tmp_path, body)
        assert tab.value("document.querySelectorAll('#table-short .filter').length") == 0
        tab.value(
            "(() => { const box = document.querySelector('#table-long .filter'); box.value = 'BERT task 1';"
            " box.dispatchEvent(new Event('input')); })()"
        )
        tab.value("document.querySelector('#table-short').remove()")
        assert cells(tab, 1) == ["task 10", "task 12"]
        assert tab.value("document.querySelector('#table-long .count').textContent") == "2 of 14 rows"


COUNTED = """
(() => {
  const text = Object.getOwnPropertyDescriptor(Node.prototype, "textContent");
  const append = Element.prototype.append;
  window.counts = { read: 0, put: 0 };
  const get = function () { counts.read++; return text.get.call(this); };
  Object.defineProperty(Node.prototype, "textContent", { ...text, get });
  Element.prototype.append = function (...children) { counts.put++; return append.apply(this, children); };
  document.querySelectorAll("thead button")[3].click();
  return counts;
})()
"""


def test_a_long_table_is_sorted_in_one_go(browser: Browser, tmp_path: Path) -> None:
    """Each cell of the column is read once, whatever the number of comparisons, and rows are put back at once."""
    data = pd.DataFrame({f"column_{number}": range(MAX_ROWS, 0, -1) for number in range(20)})
    with browser.tab(1280) as tab:
        opened(tab, tmp_path, table_html(data, "many", "Many."))
        assert tab.value(COUNTED) == {"read": MAX_ROWS, "put": 1}
        assert cells(tab, 3) == [str(number) for number in range(1, MAX_ROWS + 1)]


def test_a_page_says_what_it_leaves_out_of_a_long_table() -> None:
    data = pd.DataFrame({"a": range(3000)})
    assert "first 1,000 of 3,000 rows; the file has all of them" in table_html(data, "t", "")
    assert table_html(data, "t", "").count("<tr>") == 1001
    assert table_html(data, "t", "", download=False).count("<tr>") == 3001


def test_captions_and_header_stay_in_sight_beside_a_wide_table(browser: Browser, tmp_path: Path) -> None:
    wide = pd.DataFrame({f"a long name {number}": ["some text here"] * 40 for number in range(30)})
    with browser.tab(400) as tab:
        opened(
            tab,
            tmp_path,
            table_html(wide, "wide", "A caption of many words " * 9, download=False) + "<p>" + "x " * 4000,
        )
        assert tab.value("document.documentElement.scrollWidth") == 400
        assert tab.value("document.querySelector('.frame').className") == "frame more-right"
        box = "document.querySelector('%s').getBoundingClientRect()"
        tab.value("(() => { const s = document.querySelector('.scroll'); s.scrollLeft = 500; s.scrollTop = 300; })()")
        tab.value("new Promise((done) => setTimeout(done, 100))")
        assert tab.value("document.querySelector('.frame').className") == "frame more-right more-left"
        for part in ("thead th:first-child", "tbody tr:last-child th"):
            assert tab.value(f"{box % part}.left - {box % '.scroll'}.left") == pytest.approx(0, abs=1), part
        assert tab.value(f"{box % 'thead'}.top - {box % '.scroll'}.top") < 0
        assert tab.value(f"{box % 'thead th'}.top - {box % '.scroll'}.top") == pytest.approx(1, abs=1)
        caption = tab.value(f"(({{ left, right }}) => [left, right])({box % 'figcaption'})")
        assert caption[0] >= 0 and caption[1] <= 400
        tab.value("scrollTo(0, 2000)")
        assert tab.value(f"{box % '.chapters'}.top") >= 0, "the chapters stay in sight"


def test_a_figure_opens_large_and_can_be_kept(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "wide.svg").write_text(SVG)
    with browser.tab(400) as tab:
        opened(tab, tmp_path, figure_html(tmp_path / "wide.svg", "A wide one", "Wide."))
        assert tab.value("document.querySelector('.picture img').getBoundingClientRect().width") <= 400
        tab.value("document.querySelector('.zoom').focus()")
        tab.press(*ENTER)
        tab.value("document.querySelector('dialog img').decode().then(() => true)")
        assert tab.value("[document.querySelector('dialog').open, document.querySelector('dialog img').alt]") == [
            True,
            "A wide one",
        ]
        assert tab.value("document.querySelector('dialog img').getBoundingClientRect().width") >= 1000
        tab.press("Escape", 27)
        assert tab.value("document.querySelector('dialog').open") is False
        link = tab.value(
            "(({ download, href }) => [download, atob(href.split(',')[1])])(document.querySelector('[download]'))"
        )
        assert link == ["wide.svg", SVG]
        assert not tab.problems()


@pytest.mark.parametrize("storage", [True, False])
def test_colours_are_chosen_and_remembered_where_that_is_allowed(
    browser: Browser, tmp_path: Path, storage: bool
) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    with browser.tab(800, scheme="dark") as tab:
        if not storage:
            deny = "get() { throw new DOMException('no', 'SecurityError') }"
            deny = f"Object.defineProperty(window, 'localStorage', {{ {deny} }})"
            tab.call("Page.addScriptToEvaluateOnNewDocument", source=deny)
        opened(tab, tmp_path, "<h1>Colours</h1>")
        seen = [(tab.value("document.querySelector('.theme').textContent"), tab.value(paper))]
        for _ in range(3):
            tab.value("document.querySelector('.theme').click()")
            seen.append((tab.value("document.querySelector('.theme').textContent"), tab.value(paper)))
        dark, light = "rgb(19, 23, 30)", "rgb(255, 255, 255)"
        assert [paper for _, paper in seen] == [dark, light, dark, dark]
        assert [text for text, _ in seen] == [f"Colours: {name}" for name in ("auto", "light", "dark", "auto")]
        tab.value("document.querySelector('.theme').click()")
        assert not tab.problems()
        opened(tab, tmp_path, "<h1>Again</h1>")
        assert tab.value(paper) == (light if storage else dark)
        tab.value("document.documentElement.dataset.theme === 'light' && localStorage.clear()")
        assert not tab.problems()


def test_print_has_no_frame_and_no_dark_paper(browser: Browser, tmp_path: Path) -> None:
    data = pd.DataFrame({"a": range(60)})
    with browser.tab(800, scheme="dark") as tab:
        opened(tab, tmp_path, "<h2>One</h2><h2>Two</h2>" + table_html(data, "t", "Rows."))
        tab.call(
            "Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}]
        )
        assert shown(tab, ".site, .turn, .contents, .tools, .skip") == []
        assert tab.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert (
            tab.value(
                "(({ scrollHeight, clientHeight }) => scrollHeight - clientHeight)(document.querySelector('.scroll'))"
            )
            == 0
        )


def test_contents_stand_at_the_side_or_above(browser: Browser, tmp_path: Path) -> None:
    body = "<h1>T</h1>" + "".join(f"<h2>Part {number}</h2><h3>Detail</h3><p>text</p>" for number in range(3))
    for width, tag in ((1280, "NAV"), (1099, "DETAILS"), (400, "DETAILS")):
        with browser.tab(width) as tab:
            opened(tab, tmp_path, body)
            assert shown(tab, ".contents") == [tag], width
            links = tab.value("[...document.querySelectorAll('nav.contents a')].map((link) => link.hash)")
            assert links == ["#part-0", "#detail", "#part-1", "#detail-2", "#part-2", "#detail-3"]


def test_a_page_can_be_read_without_scripts(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "wide.svg").write_text(SVG)
    body = figure_html(tmp_path / "wide.svg", "Wide", "Wide.") + table_html(pd.DataFrame({"a": [1, 2]}), "t", "Rows.")
    with browser.tab(400) as tab:
        tab.call("Emulation.setScriptExecutionDisabled", value=True)
        opened(tab, tmp_path, body)
        assert tab.value("document.querySelectorAll('button:not([hidden]), input').length") == 0, (
            "nothing that does nothing"
        )
        assert tab.value("document.images[0].naturalWidth") == 1600
        assert tab.value("document.querySelector('table').innerText.split(/\\s+/)") == ["a", "1", "2"]
        assert tab.value("document.documentElement.scrollWidth") == 400
