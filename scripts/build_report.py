"""Rule build_report: the first page of the report, and the tables beside it."""

import shutil
from pathlib import Path

from kn_thesis.errors import logged
from kn_thesis.files import whole_file
from kn_thesis.frames import read_words
from kn_thesis.report.overview import overview
from kn_thesis.report.pages import Chapter, page

READ = ("corpora", "models", "claims")  # by the first page
TABLES = ("claims", "claim_parts", "corpora", "examples", "models", "localization", "layers", "layers_by_task")
TABLES += ("number_neurons",)
TABLES += ("suppression", "significance", "accuracy", "company", "variants", "variant_effects")
TABLES += ("tracing", "tracing_roles", "tracing_comparison", "tracing_skipped", "tracing_examples")
TABLES += ("editing", "editing_tests", "editing_skipped", "editing_fluency", "editing_layers", "editing_localization")
TABLES += ("editing_directions", "editing_completions")

with logged(snakemake.log[0]):
    chapters = [Chapter(**chapter) for chapter in snakemake.params.chapters]
    figures = dict(zip(snakemake.params.numbers, snakemake.input.figures, strict=True))
    tables = {name: read_words(snakemake.input[name]) for name in READ}
    body = overview(chapters, tables, figures, snakemake.params.study, list(snakemake.params.shown))
    html = page(Path(snakemake.input.template), chapters, "index", snakemake.params.study["study"], body)
    folder = Path(snakemake.output.tables)
    folder.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        shutil.copyfile(snakemake.input[name], folder / f"{name}.csv")
    with whole_file(snakemake.output.index) as path:
        path.write_text(html, encoding="utf-8")
