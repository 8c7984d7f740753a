"""Pages: a notebook run by papermill, its cells turned to HTML by nbconvert, inside the report's own frame."""

from __future__ import annotations

import html
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kn_thesis.errors import UserError
from kn_thesis.files import whole_file
from kn_thesis.models.learned import NOT_LEARNED
from kn_thesis.report.anchors import with_anchors

PARTS = ("page.css", "theme.js", "page.js")
KERNEL_STARTS = 3600  # seconds that a kernel has to start, on a busy machine; one that dies is noticed at once


@dataclass(frozen=True)
class Chapter:
    """One page: its file's stem, its title, one sentence on what it holds."""

    name: str
    title: str
    summary: str


def run_notebook(notebook: Path, executed: Path, parameters: Mapping[str, Any], package: Path) -> None:
    """Run a notebook with papermill in the current folder and write it with its outputs.

    `package` is the folder that holds kn_thesis. Raises UserError naming the cell when one of them fails.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    # The kernel is another process: it finds the package, and no settings of a person's own, by its environment.
    paths = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ |= {"PYTHONPATH": os.pathsep.join(paths), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    os.environ.setdefault("IPYTHONDIR", str(executed.parent / ".ipython"))
    with whole_file(executed) as path:
        try:
            papermill.execute_notebook(
                str(notebook),
                str(path),
                parameters=dict(parameters),
                kernel_name="python3",
                progress_bar=False,
                log_output=False,
                start_timeout=KERNEL_STARTS,
                cwd=os.getcwd(),
            )
        except PapermillExecutionError as error:
            sys.stderr.write(str(error))
            raise UserError(
                f"{notebook}: cell {error.exec_count} fails with {error.ename}: {error.evalue}; "
                "open the notebook with the parameters in the log to see why"
            ) from error
        _forget_times(path)


def _forget_times(notebook: Path) -> None:
    """Take out of an executed notebook what differs between equal runs: papermill's times, and a cell's random name."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    content["metadata"].pop("papermill", None)
    for number, cell in enumerate(content["cells"]):
        for kind in ("papermill", "execution"):
            cell["metadata"].pop(kind, None)
        cell["id"] = f"cell-{number}"
    notebook.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def notebook_html(executed: Path, templates: Path) -> str:
    """The cells' text and outputs as an HTML fragment; the code stands at its end, in a part to open.

    `templates` is the folder that holds `notebook/`, our template for nbconvert.
    """
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(
        template_name="notebook", extra_template_basedirs=[str(templates)], exclude_anchor_links=True
    )
    body, _ = exporter.from_filename(str(executed))
    return body


def page(
    template: Path,
    chapters: Sequence[Chapter],
    current: str,
    study: str,
    body: str,
    sizes: Mapping[str, int] | None = None,
) -> str:
    """A whole page: frame, navigation, contents, body. `current` is a chapter's name, or `index`.

    page.css, theme.js and page.js beside the template become part of the page. `sizes` holds the bytes of tables
    beside the page by file name ("models.csv"): they are told where the file can be fetched.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    order = [Chapter("index", "Overview", ""), *(chapter for chapter in chapters if chapter.name != "index")]
    place = [chapter.name for chapter in order].index(current)
    body, contents = with_anchors(_with_sizes(body, sizes or {}))
    parts = {name: (template.parent / name).read_text(encoding="utf-8") for name in PARTS}
    return environment.get_template(template.name).render(
        chapters=order,
        current=current,
        study=study,
        title=order[place].title,
        body=body,
        contents=contents,
        previous=order[place - 1] if place else None,
        following=order[place + 1] if place + 1 < len(order) else None,
        parts=parts,
    )


def unlearned_note(models: Iterable[Mapping[str, Any]]) -> str:
    """One paragraph of HTML that names what models have not learned; "" where there is nothing.

    Args:
        models: the rows of models.csv.
    """
    said: dict[str, list[str]] = {}
    for row in models:
        if row["learned"] == NOT_LEARNED:
            reached, wanted = (float(row[name]) for name in ("accuracy", "demanded"))
            split = row["split"].replace("_", " ")
            said.setdefault(row["model"], []).append(
                f"{row['task']} ({split}, {reached:.0%} of the {wanted:.0%} demanded)"
            )
    if not said:
        return ""
    listed = html.escape("; ".join(f"{model}: {', '.join(tasks)}" for model, tasks in said.items()))
    return (
        f'<p class="finding unlearned"><strong>Not learned.</strong> {listed}. '
        "Results on these tasks are no evidence: the claims leave them out.</p>"
    )


def _with_sizes(body: str, sizes: Mapping[str, int]) -> str:
    """The links to tables with the file's name and size as their text."""

    def named(match: re.Match[str]) -> str:
        name = match[1]
        size = f" ({_readable(sizes[name])})" if name in sizes else ""
        return f'<a class="csv" href="tables/{name}" download>CSV: {name}{size}</a>'

    return re.sub(r'<a\b[^>]*\bhref="tables/([^"/]+)"[^>]*>CSV</a>', named, body)


def _readable(size: int) -> str:
    """A file's size for people: bytes up to 1000, then kB and MB."""
    if size < 1000:
        return f"{size} bytes"
    return f"{size / 1000:.0f} kB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"
