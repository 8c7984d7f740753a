"""The nbconvert template: text and outputs in the page, code at its end, nothing loaded from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kn_thesis.report.pages import notebook_html, run_notebook

TEMPLATES = Path(__file__).parents[2] / "workflow/report"


def code(source: str, *outputs: dict[str, object], tags: tuple[str, ...] = ()) -> dict[str, object]:
    """A code cell as a notebook file has it."""
    return {
        "cell_type": "code",
        "metadata": {"tags": list(tags)},
        "source": source,
        "outputs": list(outputs),
        "execution_count": 1,
    }


def shown(**data: str) -> dict[str, object]:
    """A result of a cell, by media type with an underscore for the slash."""
    by_type = {name.replace("_", "/"): text for name, text in data.items()}
    return {"output_type": "execute_result", "data": by_type, "metadata": {}, "execution_count": 1}


def converted(folder: Path, *cells: dict[str, object]) -> tuple[str, str]:
    """The page's text, and the part with the code that closes it."""
    file = folder / "a chapter.ipynb"
    notebook = {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
    file.write_text(json.dumps(notebook), encoding="utf-8")
    text, _, rest = notebook_html(file, TEMPLATES).partition("<details")
    return text, rest


def test_text_and_outputs_are_the_page_and_code_closes_it(tmp_path: Path) -> None:
    text, rest = converted(
        tmp_path,
        {"cell_type": "markdown", "metadata": {}, "source": "# A title\n\nIt says *this*."},
        code("table()", shown(text_html="<b>cell</b>", text_plain="not this")),
        code("say()", shown(text_markdown="- **bert**: 1 < 2", text_plain="not this")),
        code("value <= 3", shown(text_plain="<Thing>")),
        code("print()", {"output_type": "stream", "name": "stderr", "text": "a <warning>\n"}),
        code("draw()", {"output_type": "display_data", "data": {"text/html": "<i>drawn</i>"}, "metadata": {}}),
    )
    for part in ("<h1>A title</h1>", "<em>this</em>", "<b>cell</b>", "<strong>bert</strong>: 1 &lt; 2"):
        assert part in text, part
    assert "&lt;Thing&gt;" in text and "a &lt;warning&gt;" in text and "<i>drawn</i>" in text
    assert "not this" not in text and "()" not in text and "()" in rest
    assert 'href="notebooks/a%20chapter.ipynb"' in rest and rest.count('class="highlight') == 5
    assert not any(word in (text + rest).lower() for word in ("mathjax", "require.js", "http", "<style", "<script"))


@pytest.mark.parametrize("given", [True, False])
def test_parameters_stand_there_once_as_they_were_given(tmp_path: Path, given: bool) -> None:
    cells = [code('file = "default.csv"', tags=("parameters",))]
    cells += [code('file = "given.csv"', tags=("injected-parameters",))] if given else []
    text, rest = converted(tmp_path, *cells, code("read(file)"))
    assert not text.strip() and "read" in rest
    assert ("given.csv" in rest) == given and ("default.csv" in rest) != given


def test_a_notebook_without_code_has_no_such_part_of_it(tmp_path: Path) -> None:
    text, rest = converted(tmp_path, {"cell_type": "markdown", "metadata": {}, "source": "Only words."})
    assert "Only words." in text and "highlight" not in rest


def test_a_busy_machine_s_kernel_has_an_hour_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """papermill's own limit is a minute, after which a study on a busy machine ended without a report."""
    options_used: dict[str, Any] = {}

    def run(_: str, executed: str, **options: Any) -> None:
        options_used.update(options)
        Path(executed).write_text('{"cells": [], "metadata": {}}', encoding="utf-8")

    monkeypatch.setattr("papermill.execute_notebook", run)
    for name in ("PYTHONPATH", "PYDEVD_DISABLE_FILE_VALIDATION", "IPYTHONDIR"):
        monkeypatch.setenv(name, "")  # as it was, afterwards
    run_notebook(tmp_path / "a.ipynb", tmp_path / "b.ipynb", {}, tmp_path)
    assert options_used["start_timeout"] >= 3600
