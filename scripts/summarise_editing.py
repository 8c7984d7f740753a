"""Rule summarise_editing: what all models' edits say, in the tables that people open."""

from pathlib import Path

import yaml

from kn_thesis.editing.summary import Settings, summarise
from kn_thesis.errors import logged
from kn_thesis.files import whole_file

with logged(snakemake.log[0], snakemake.input):
    source, asked = snakemake.input, snakemake.params
    with open(source.published, encoding="utf-8") as file:
        published = yaml.safe_load(file)["editing"]
    # No task may be edited, or traced, at all.
    tables = summarise(
        next((Path(path).parents[2] for path in source.get("editing", ())), Path()),
        **{name: asked[name] for name in ("tasks", "editors", "kinds", "families")},
        **{name: asked[name] for name in ("swept", "traced", "pairs", "shown")},
        tracing=next((Path(path).parents[1] for path in source.get("tracing", ())), Path()),
        published=published,
        settings=Settings(**asked.settings),
    )
    for name, path in snakemake.output.items():
        with whole_file(path) as temporary:
            getattr(tables, name).to_csv(temporary, index=False, float_format="%.6g")
