"""Rule build_report: the first page of the report, and the tables beside it."""

import shutil
from pathlib import Path

import pandas as pd

from kn_thesis.errors import logged
from kn_thesis.files import whole_file
from kn_thesis.report.overview import overview
from kn_thesis.report.pages import Chapter, page

TABLES = ("corpora", "examples", "models", "localization", "layers")
TABLES += ("suppression", "significance", "accuracy", "company", "variants", "variant_effects")
TABLES += ("tracing", "tracing_roles", "tracing_comparison", "tracing_skipped", "tracing_examples")
TABLES += ("editing", "editing_tests", "editing_skipped", "editing_fluency", "editing_layers", "editing_localization")
TABLES += ("editing_directions", "editing_completions")

with logged(snakemake.log[0]):
    chapters, pages = ([Chapter(**entry) for entry in snakemake.params[name]] for name in ("chapters", "pages"))
    figures = {
        "corpora": snakemake.input.corpora_figure,
        "models": snakemake.input.models_figure,
        "localization": snakemake.input.layers_figure,
        "suppression": snakemake.input.words_figure,
        "tracing": snakemake.input.sites_figure,
        "editing": snakemake.input.criteria_figure,
    }
    tables = {name: pd.read_csv(snakemake.input[name]) for name in TABLES}
    body = overview(chapters, tables, figures)
    html = page(Path(snakemake.input.template), pages, "index", snakemake.params.study, body)
    folder = Path(snakemake.output.tables)
    folder.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        shutil.copyfile(snakemake.input[name], folder / f"{name}.csv")
    with whole_file(snakemake.output.index) as path:
        path.write_text(html, encoding="utf-8")
