"""The report in a browser, wide and narrow: every page of a finished study, without a network."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.browser import Browser
from tests.helpers.page_looks import COLOURS, FACTS, SORTED, faults, low_contrast

ROOT = Path(__file__).parents[2]
CHAPTERS = {
    "index": ([f"claim_{number}" for number in range(1, 13)], ["claims"]),
    "provenance": (["timings"], ["configuration", "seeds", "resources", "packages", "timings"]),
    "corpora": (["corpora"], ["corpora", "examples"]),
    "models": (["models"], ["models"]),
    "localization": (
        ["localization_by_task", "neurons_per_layer", "determiner_neurons"],
        ["localization", "layers"],
    ),
    "suppression": (
        ["suppression_words", "suppression_accuracy", "suppression_cooccurrence", "suppression_variants"],
        ["suppression", "significance", "accuracy", "cooccurrence", "variants"],
    ),
    "editing": (
        ["editing_criteria", "editing_agreement", "editing_layers", "editing_directions"],
        ["editing", "editing_tests", "editing_skipped"],
    ),
    "tracing": (
        ["tracing_sites", "tracing_roles", "tracing_lines", "tracing_examples"],
        ["tracing", "tracing_comparison", "tracing_skipped"],
    ),
}
NOTEBOOKS = sorted(path.stem for path in (ROOT / "workflow/notebooks").glob("*.ipynb"))
WIDTHS = (1280, 400)
HEAVIEST = 15_000_000  # bytes of one page


@dataclass(frozen=True)
class View:
    """A page at one width."""

    facts: dict[str, Any]
    faults: list[str]


@pytest.fixture(scope="module")
def pages(finished_study: Path) -> dict[str, Path]:
    """Every page of the report by name."""
    return {page.stem: page for page in sorted((finished_study / "results/report").glob("*.html"))}


@pytest.fixture(scope="module")
def views(
    pages: dict[str, Path], browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, int], View]]:
    """Every page at every width; a picture of each is kept where KN_SCREENSHOTS says, or in pytest's own folder."""
    folder = Path(os.environ.get("KN_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots")).resolve()
    found = {}
    for width in WIDTHS:
        with browser.tab(width) as tab:
            for name, page in pages.items():
                tab.open(page.as_uri())
                found[name, width] = View(tab.value(FACTS), faults(tab, page, width))
                tab.screenshot(folder / f"{name}-{width}.png")
    yield found


def test_every_page_of_the_report_is_there(pages: dict[str, Path]) -> None:
    assert set(CHAPTERS) <= set(pages)
    assert all(page.stat().st_size < HEAVIEST for page in pages.values())
    # The study has example edits, so the chapter has a section on them.
    assert 'id="example-edits"' in pages["editing"].read_text(encoding="utf-8")


@pytest.mark.parametrize("width", WIDTHS)
def test_a_browser_finds_nothing_wrong(views: dict[tuple[str, int], View], width: int) -> None:
    wrong = {name: view.faults for (name, at), view in views.items() if at == width and view.faults}
    assert not wrong, json.dumps(wrong, indent=1, ensure_ascii=False)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_each_chapter_shows_its_figures_and_tables(views: dict[tuple[str, int], View], chapter: str) -> None:
    figures, tables = CHAPTERS[chapter]
    for width in WIDTHS:
        facts = views[chapter, width].facts
        shown = {picture["figure"]: picture for picture in facts["pictures"]}
        for figure in figures:
            picture = shown[f"figure-{figure}"]
            assert picture["natural"] > 0 and picture["width"] > 300, (figure, picture)
        assert len(facts["pictures"]) >= 3 or chapter != "index"
        for table in tables:
            # The smoke study compares two worlds in one task: a row or two.
            assert facts["rows"][f"table-{table}"] > (0 if table == "variants" else 2), table


def test_every_table_sorts(pages: dict[str, Path], browser: Browser) -> None:
    """Ascending, descending, and back to the order of the file; numbers by value, empty cells last."""
    sorted_columns = 0
    with browser.tab(1280) as tab:
        for page in pages.values():
            tab.open(page.as_uri())
            for table in tab.value(SORTED):
                for column in table["columns"] if table["rows"] > 1 else []:
                    (start, up, down, back), said = column["states"], column["said"]
                    assert said == ["ascending", "descending", None], (page.name, table["id"])
                    assert back == start and sorted(up) == sorted(down) == sorted(start), (page.name, table["id"])
                    numbers = [first_number(cell) for cell in start if cell not in ("", "–")]
                    if numbers and None not in numbers:
                        ends = [cell for cell in start if cell in ("", "–")]
                        for state, backwards in ((up, False), (down, True)):
                            assert state[len(numbers) :] == ends, (page.name, table["id"], state)
                            order = [first_number(cell) for cell in state[: len(numbers)]]
                            assert order == sorted(numbers, reverse=backwards), (page.name, table["id"], state)
                        sorted_columns += len(set(numbers)) > 1
            assert not tab.problems()
    assert sorted_columns > 50


def first_number(cell: str) -> float | None:
    """The number that a cell starts with, parsed in a simple way."""
    word = cell.replace("−", "-").lstrip("<>≤≥≈~± ").split("[")[0].split("(")[0].replace(",", "").strip()
    word = word.removesuffix("%").split(" ")[0].split("–")[0]
    try:
        return float(word) if any(map(str.isdigit, word[:2])) else None
    except ValueError:
        return None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(pages: dict[str, Path], browser: Browser, scheme: str) -> None:
    with browser.tab(1280, scheme=scheme) as tab:
        for page in pages.values():
            tab.open(page.as_uri())
            tab.value("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
            pairs = tab.value(COLOURS)
            assert len(pairs) > 5 and not low_contrast(pairs), (page.name, low_contrast(pairs))
            papers = {paper for _, paper, _, _ in pairs}
            assert ("rgb(19, 23, 30)" in papers) == (scheme == "dark"), (page.name, papers)


def test_a_page_names_the_size_of_its_tables(pages: dict[str, Path]) -> None:
    for name in NOTEBOOKS:
        links = re.findall(r'href="tables/([\w.]+)"[^>]*>([^<]*)</a>', pages[name].read_text(encoding="utf-8"))
        assert links
        for file, text in links:
            assert re.fullmatch(rf"CSV: {file} \([\d.]+ (bytes|kB|MB)\)", text), (name, text)


def test_a_page_ends_with_the_code_that_made_it(pages: dict[str, Path], browser: Browser) -> None:
    with browser.tab(1280) as tab:
        for name in NOTEBOOKS:
            tab.open(pages[name].as_uri())
            text = tab.value("document.querySelector('main > details:last-child').textContent")
            cells = json.loads((ROOT / f"workflow/notebooks/{name}.ipynb").read_text(encoding="utf-8"))["cells"]
            parameters, *code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
            assert all(cell.strip() in text for cell in code), name
            # The parameters of the run replace the defaults.
            assert all(f"\n{line.partition('=')[0]}= " in text for line in parameters.splitlines()), name
            rest = tab.value(
                "[...document.querySelectorAll('main > :not(details:last-child)')].map((p) => p.textContent)"
            )
            assert not any("import pandas" in part for part in rest), name


def test_notebooks_in_the_repository_have_no_outputs() -> None:
    assert set(NOTEBOOKS) == set(CHAPTERS) - {"index", "provenance"}
    for name in NOTEBOOKS:
        for cell in json.loads((ROOT / f"workflow/notebooks/{name}.ipynb").read_text(encoding="utf-8"))["cells"]:
            assert not cell.get("outputs") and not cell.get("execution_count"), name
