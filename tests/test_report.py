"""The report as a reader's browser shows it: every chapter with its figures and tables, and no network."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHAPTERS = {
    "index": ([], []),
    "provenance": (["workflow", "timings"], ["configuration", "seeds", "resources", "packages", "timings"]),
    "corpora": (["corpora"], ["corpora", "examples"]),
    "models": (["models"], ["models"]),
    "localization": (
        ["localization_by_task", "neurons_per_layer", "determiner_neurons"],
        ["localization", "layers"],
    ),
    "suppression": (
        ["suppression_words", "suppression_accuracy", "suppression_company", "suppression_variants"],
        ["suppression", "significance", "accuracy", "company", "variants"],
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
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --host-resolver-rules=MAP * ~NOTFOUND"
)


@pytest.fixture(scope="session")
def chromium() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium on this machine: install it to have the report looked at (apt-get install chromium)")
    return found


def rendered(chromium: str, page: Path, profile: Path) -> str:
    """The page's DOM after its scripts have run; the browser can reach no host."""
    flags = [flag if flag.startswith("--") else f"--{flag}" for flag in FLAGS.split(" --")]
    command = [
        chromium,
        *flags,
        f"--user-data-dir={profile}",
        "--virtual-time-budget=5000",
        "--dump-dom",
        page.as_uri(),
    ]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_browser_shows_each_chapter(finished_study: Path, chromium: str, tmp_path: Path, chapter: str) -> None:
    page = tmp_path / f"{chapter}.html"
    # The page measures its pictures itself, as a reader's browser has laid them out.
    probe = (
        "<script>addEventListener('load', () => { document.body.dataset.pictures = JSON.stringify("
        "[...document.images].map(i => [i.closest('figure')?.id, i.naturalWidth, i.getBoundingClientRect().width]));"
        "document.body.dataset.overflow = document.documentElement.scrollWidth - innerWidth; });</script></body>"
    )
    text = (finished_study / "results/report" / f"{chapter}.html").read_text()
    page.write_text(text.replace("</body>", probe))
    dom = rendered(chromium, page, tmp_path / "profile")
    figures, tables = CHAPTERS[chapter]
    pictures = json.loads(re.search(r'data-pictures="(.*?)"', dom)[1].replace("&quot;", '"'))
    shown = {name: (natural, width) for name, natural, width in pictures}
    for figure in figures:
        natural, width = shown[f"figure-{figure}"]
        assert natural > 0 and width > 300, (figure, natural, width)
    assert len(pictures) >= 3 or chapter != "index"
    for table in tables:
        rows = re.search(rf'<table id="table-{table}">(.*?)</table>', dom, re.DOTALL)
        # The smoke study compares two worlds in one task: a row or two beside the head.
        assert rows and rows[1].count("<tr") > (1 if table == "variants" else 3), table
    assert int(re.search(r'data-overflow="(-?\d+)"', dom)[1]) <= 0, "the page is wider than the window"


def test_pages_need_nothing_from_elsewhere(finished_study: Path) -> None:
    for page in (finished_study / "results/report").glob("*.html"):
        text = page.read_text()
        loaded = re.findall(r'(?:<script[^>]*src|<img[^>]*src|<link[^>]*href|@import url)\s*[=(]\s*"?([^"\s>)]+)', text)
        assert all(address.startswith("data:") for address in loaded), page.name


def test_links_lead_somewhere(finished_study: Path) -> None:
    folder = finished_study / "results/report"
    for page in folder.glob("*.html"):
        for link in re.findall(r'<a [^>]*href="([^"#]+)', page.read_text()):
            if not link.startswith(("http", "mailto")):
                assert (folder / link).is_file(), (page.name, link)


def test_notebooks_in_the_repository_have_no_outputs() -> None:
    notebooks = sorted((ROOT / "workflow/notebooks").glob("*.ipynb"))
    assert {notebook.stem for notebook in notebooks} == set(CHAPTERS) - {"index", "provenance"}
    for notebook in notebooks:
        for cell in json.loads(notebook.read_text())["cells"]:
            assert not cell.get("outputs") and not cell.get("execution_count"), notebook.name
