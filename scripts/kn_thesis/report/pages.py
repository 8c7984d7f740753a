"""Build the report's HTML pages: run notebooks, convert them, frame them, and pack the report into one zip file.

A chapter is a notebook that papermill runs (`run_notebook`) and nbconvert turns into an HTML fragment
(`notebook_html`). `page` puts such a fragment into the report's frame, with navigation and a table of contents made
from its headings (`with_anchors`). `pack` collects the finished report in an archive.
"""

from __future__ import annotations

import ast
import html
import json
import os
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kn_thesis.errors import UserError
from kn_thesis.files import whole_file
from kn_thesis.models.demands import NOT_LEARNED

PARTS = ("page.css", "theme.js", "page.js")  # files beside the template that become part of every page
KERNEL_STARTS = 3600  # seconds that a kernel may take to start on a busy machine; one that dies is noticed at once
HEADING = re.compile(r"<h([1-6])\b([^>]*)>(.*?)</h\1>", re.DOTALL)
IDENTIFIER = re.compile(r'\sid="([^"]*)"')
REPORT = "report"  # the folder at the top of the archive
EARLIEST = (1980, 1, 1, 0, 0, 0)  # the first date that a zip file can hold: equal contents make equal archives


@dataclass(frozen=True)
class Chapter:
    """One page of the report.

    Attributes:
        name: stem of the page's file.
        title: heading in the navigation.
        summary: one sentence about the contents.
    """

    name: str
    title: str
    summary: str


@dataclass(frozen=True)
class Heading:
    """One entry of a table of contents.

    Attributes:
        level: 2 or 3.
        anchor: id of the heading.
        text: its text, as HTML without tags.
    """

    level: int
    anchor: str
    text: str


def run_notebook(notebook: Path, executed: Path, parameters: Mapping[str, Any], package: Path) -> None:
    """Run a notebook with papermill in the current folder and write it with its outputs.

    Args:
        notebook: the notebook to run.
        executed: where the notebook with outputs is written.
        parameters: values for its cell tagged `parameters`.
        package: folder that holds kn_thesis.

    Raises:
        UserError: a cell fails; the message names it.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    # The kernel is a separate process. Its environment tells it where the package is and hides personal settings.
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
        _remove_run_details(path)


def _remove_run_details(notebook: Path) -> None:
    """Remove what differs between equal runs of a notebook: papermill's times and the cells' random ids."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    content["metadata"].pop("papermill", None)
    for number, cell in enumerate(content["cells"]):
        for kind in ("papermill", "execution"):
            cell["metadata"].pop(kind, None)
        cell["id"] = f"cell-{number}"
    notebook.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def notebook_html(executed: Path, templates: Path) -> str:
    """Convert an executed notebook to an HTML fragment: text and outputs, then all code in a collapsed section.

    Args:
        executed: the notebook with its outputs.
        templates: folder that holds `notebook/`, the nbconvert template.

    Returns:
        The body of a page.
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
    """Render a whole page: frame, navigation, contents, body.

    Args:
        template: the Jinja template; `PARTS` lie beside it.
        chapters: all pages but the overview, in the order of the navigation.
        current: name of this page's chapter, or `index`.
        study: name of the study.
        body: HTML of the page's contents.
        sizes: bytes of the tables beside the page by file name ("models.csv"), shown where a table is downloaded.

    Returns:
        HTML that needs no other file.
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
    """Name the tasks that models have not learned, in one paragraph of HTML.

    Args:
        models: the rows of models.csv.

    Returns:
        The paragraph; "" where every demand is met.
    """
    failures: dict[str, list[str]] = {}
    for row in models:
        if row["learned"] == NOT_LEARNED:
            reached, wanted = (float(row[name]) for name in ("accuracy", "demanded"))
            split = row["split"].replace("_", " ")
            failures.setdefault(row["model"], []).append(
                f"{row['task']} ({split}, {reached:.0%} of the {wanted:.0%} demanded)"
            )
    if not failures:
        return ""
    listed = html.escape("; ".join(f"{model}: {', '.join(tasks)}" for model, tasks in failures.items()))
    return (
        f'<p class="finding unlearned"><strong>Not learned.</strong> {listed}. '
        "Results on these tasks are no evidence: the claims leave them out.</p>"
    )


def with_anchors(body: str) -> tuple[str, list[Heading]]:
    """Give every heading an id, and those of level 2 and 3 a link to themselves.

    A heading keeps the id that it has, unless something before it has the same one. Headings that are links
    themselves, such as those of cards, are not listed in the contents.

    Args:
        body: HTML.

    Returns:
        The body with its anchors, and the headings of level 2 and 3 in order.
    """
    outside = HEADING.sub("", body)
    taken = set(IDENTIFIER.findall(outside))
    contents: list[Heading] = []

    def anchored(match: re.Match[str]) -> str:
        level, attributes, inner = int(match[1]), match[2], match[3]
        own = IDENTIFIER.search(attributes)
        anchor = next(name for name in _numbered(own[1] if own else _slug(inner)) if name not in taken)
        taken.add(anchor)
        attributes = f'{IDENTIFIER.sub("", attributes)} id="{anchor}"'
        if level not in (2, 3):
            return f"<h{level}{attributes}>{inner}</h{level}>"
        if "<a " not in inner:
            contents.append(Heading(level, anchor, _text(inner)))
        link = f'<a class="anchor" href="#{anchor}" aria-label="Link to this section">#</a>'
        return f"<h{level}{attributes}>{inner} {link}</h{level}>"

    return HEADING.sub(anchored, body), contents


def _numbered(name: str) -> Iterator[str]:
    """The name itself, then the name with -2, -3, ... appended."""
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


def _with_sizes(body: str, sizes: Mapping[str, int]) -> str:
    """Label each link to a table with the file's name and size."""

    def labelled(match: re.Match[str]) -> str:
        name = match[1]
        size = f" ({_readable(sizes[name])})" if name in sizes else ""
        return f'<a class="csv" href="tables/{name}" download>CSV: {name}{size}</a>'

    return re.sub(r'<a\b[^>]*\bhref="tables/([^"/]+)"[^>]*>CSV</a>', labelled, body)


def _readable(size: int) -> str:
    """A file's size for people: bytes up to 1000, then kB and MB."""
    if size < 1000:
        return f"{size} bytes"
    return f"{size / 1000:.0f} kB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"


def pack(paths: Iterable[str | Path], archive: str | Path) -> None:
    """Write the report to a zip file whose only top-level folder is `report`.

    Entries are sorted and share one date, and hidden files are left out. The archive is written whole or not at all.

    Args:
        paths: files and folders below a folder named `report`.
        archive: the zip file to write.

    Raises:
        ValueError: a path is not below such a folder.
        FileNotFoundError: a path does not exist.
    """
    entries = {}
    for path in map(Path, paths):
        if REPORT not in path.parts[:-1] or ".." in path.parts:
            raise ValueError(f"{path} is not in a folder named {REPORT}, or leads out of it")
        top = Path(*path.parts[: path.parts.index(REPORT)])
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        names = {file.relative_to(top): file for file in files if not file.is_dir()}
        entries |= {name.as_posix(): file for name, file in names.items() if not _hidden(name)}
    with whole_file(archive) as temporary, zipfile.ZipFile(temporary, "w") as packed:
        for name in sorted(entries):
            entry = zipfile.ZipInfo(name, EARLIEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system, entry.external_attr = 3, 0o100644 << 16  # the same on every system
            packed.writestr(entry, entries[name].read_bytes())


def _hidden(name: Path) -> bool:
    return any(part.startswith(".") for part in name.parts)


def notebook_files(notebook: Path) -> dict[str, str]:
    """Read which tables and figures a notebook shows.

    Args:
        notebook: an .ipynb file, one of whose cells is tagged "parameters".

    Returns:
        The default of each parameter by its name. Parameters without one (None) are left out.
    """
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    [source] = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    values = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(source).body}
    return {name: value for name, value in values.items() if value is not None}
