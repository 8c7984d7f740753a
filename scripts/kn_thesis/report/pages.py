"""Pages: a notebook run by papermill, its cells turned to HTML by nbconvert, inside the report's own frame."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kn_thesis.errors import UserError
from kn_thesis.files import whole_file


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
                cwd=os.getcwd(),
            )
        except PapermillExecutionError as error:
            sys.stderr.write(str(error))
            raise UserError(
                f"{notebook}: cell {error.exec_count} fails with {error.ename}: {error.evalue}; "
                "open the notebook with the parameters in the log to see why"
            ) from error


def notebook_html(executed: Path) -> str:
    """The cells' text and outputs as an HTML fragment; code stays out of sight."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_name="basic", exclude_input=True, exclude_output_prompt=True)
    body, _ = exporter.from_filename(str(executed))
    return body


def page(template: Path, chapters: Sequence[Chapter], current: str, study: str, body: str) -> str:
    """A whole page: frame, navigation, body. `current` is a chapter's name, or `index`."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    title = next((chapter.title for chapter in chapters if chapter.name == current), "Overview")
    return environment.get_template(template.name).render(
        chapters=chapters, current=current, study=study, title=title, body=body
    )
