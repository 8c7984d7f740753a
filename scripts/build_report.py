"""Rule build_report: write the front page of the report, and copy the tables beside it."""

import shutil
from pathlib import Path

from kn_thesis.files import read_words, whole_file
from kn_thesis.joblog import logged
from kn_thesis.report.overview import overview
from kn_thesis.report.pages import Chapter, page

PAGE_TABLES = ("corpora", "models", "claims", "claim_parts")  # that the front page shows

with logged(snakemake.log[0], snakemake.input):
    chapters, pages = ([Chapter(**entry) for entry in snakemake.params[name]] for name in ("chapters", "pages"))
    figures = dict(zip(snakemake.params.numbers, snakemake.input.figures, strict=True))
    files = {Path(path).stem: path for path in snakemake.input.tables}
    tables = {name: read_words(files[name]) for name in PAGE_TABLES}
    body = overview(chapters, tables, figures, snakemake.params.study, list(snakemake.params.shown))
    sizes = {f"{name}.csv": Path(file).stat().st_size for name, file in files.items()}
    html = page(Path(snakemake.input.template), pages, "index", snakemake.params.study["study"], body, sizes)
    folder = Path(snakemake.output.tables)
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in files.items():
        with whole_file(folder / f"{name}.csv") as path:
            shutil.copyfile(file, path)
    with whole_file(snakemake.output.index) as path:
        path.write_text(html, encoding="utf-8")
