"""The checks of pages report every fault of a faulty page, and none of a correct one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.browser import Browser, BrowserError
from tests.helpers.page_looks import COLOURS, contrast, faults, low_contrast

GOOD = """<!doctype html><html lang="en"><title>a page</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<a class="skip" href="#content">Skip</a><header>above</header><nav aria-label="Chapters"></nav>
<main id="content"><h2 id="two">Two <a class="anchor" href="#two">#</a></h2>FAULT</main><footer>below</footer></html>"""
FAULTS = {
    "<img alt='gone' src='data:image/png;base64,AAAA'>": "picture not shown",
    '<img alt=\' \' src=\'data:image/svg+xml,<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>\'>': (
        "picture without a text"
    ),
    "<p style='width:900px'>wide</p>": "the page is 9",
    "<div class='scroll'><table><caption>cut</caption><tr><td>1</table></div>": "caption cut off",
    "<a href='#nowhere'>x</a>": "link to nothing: #nowhere",
    "<h3>no anchor</h3>": "no anchor",
    "<script>addEventListener('load', () => document.querySelector('footer').remove())</script>": "missing: footer",
    "<script>console.warn('careful')</script>": "console: careful",
    "<script>setTimeout(() => nothing.here)</script>": "console: ReferenceError",
    "<img alt='far' src='http://example.invalid/x.png'>": "asked for: http://example.invalid/x.png",
}


@pytest.mark.parametrize("fault", ["", *FAULTS])
@pytest.mark.parametrize("width", [1280, 400])
def test_each_fault_is_found(browser: Browser, tmp_path: Path, fault: str, width: int) -> None:
    page = tmp_path / "page.html"
    page.write_text(GOOD.replace("FAULT", fault), encoding="utf-8")
    with browser.tab(width) as tab:
        tab.open(page.as_uri())
        found = faults(tab, page, width)
    if not fault or (width == 1280 and "900px" in fault):
        assert not found
    else:
        assert any(line.startswith(FAULTS[fault]) for line in found), found


def test_faint_text_is_found(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "<body style='background:#fff;color:#000'><p>clear</p><p style='color:#999'>faint</p>"
        "<p style='color:#949494;font-size:30px'>large</p>"
        "<div style='background:#333'><i style='color:#777'>dim</i></div>"
    )
    with browser.tab(800) as tab:
        tab.open(page.as_uri())
        assert [line.split(":")[0] for line in low_contrast(tab.value(COLOURS))] == ["'faint'", "'dim'"]


def test_contrast_is_that_of_the_guidelines() -> None:
    assert contrast("#000000", "rgb(255, 255, 255)") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_a_tab_has_the_width_it_was_given_and_says_what_failed(browser: Browser, tmp_path: Path) -> None:
    with browser.tab(400) as tab:
        with pytest.raises(BrowserError, match="FILE_NOT_FOUND"):
            tab.open((tmp_path / "absent.html").as_uri())
        (tmp_path / "page.html").write_text("<meta name=viewport content='width=device-width'>narrow")
        tab.open((tmp_path / "page.html").as_uri())
        assert tab.value("innerWidth") == 400
        with pytest.raises(BrowserError, match="nothing is not defined"):
            tab.value("nothing.here")
