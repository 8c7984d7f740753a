"""Rule render_chapter: run a chapter's notebook and convert it to a page of the report."""

import csv
import os
from pathlib import Path

from kn_thesis.files import whole_file
from kn_thesis.joblog import logged
from kn_thesis.report.pages import Chapter, notebook_html, page, run_notebook, unlearned_note

FRAME = ("notebook", "template", "parts", "conversion", "models")  # the other inputs are the notebook's parameters

with logged(snakemake.log[0], snakemake.input):
    files = {name: str(path) for name, path in snakemake.input.items() if name not in FRAME}
    executed = Path(snakemake.output.notebook)
    run_notebook(Path(snakemake.input.notebook), executed, files, Path(__file__).parent)
    template = Path(snakemake.input.template)
    with open(snakemake.input.models, encoding="utf-8", newline="") as lines:
        note = unlearned_note(csv.DictReader(lines))
    html = page(
        template,
        [Chapter(**chapter) for chapter in snakemake.params.chapters],
        snakemake.wildcards.chapter,
        snakemake.params.study,
        note + notebook_html(executed, template.parent),
        sizes={Path(path).name: os.path.getsize(path) for name, path in files.items() if name.endswith("_table")},
    )
    with whole_file(snakemake.output.page) as path:
        path.write_text(html, encoding="utf-8")
