"""Rule summarise_editing: what all models' edits say, in the tables and figures that people look at."""

from pathlib import Path

import pandas as pd
import yaml

from kn_thesis.editing.figures import plot_agreement, plot_criteria, plot_directions, plot_layers
from kn_thesis.editing.results import EXAMPLES
from kn_thesis.editing.rows import without_one_way
from kn_thesis.editing.summary import Settings, summarise
from kn_thesis.errors import logged
from kn_thesis.files import whole_file
from kn_thesis.frames import joined, keyed, read_words
from kn_thesis.report.style import save_figure, use_style

with logged(snakemake.log[0], snakemake.input):
    source, asked, out = snakemake.input, snakemake.params, snakemake.output
    with open(source.published, encoding="utf-8") as file:
        published = yaml.safe_load(file)["editing"]
    # No task may be edited, or traced, at all.
    found = summarise(
        next((Path(path).parents[2] for path in source.get("editing", ())), Path()),
        **{name: asked[name] for name in ("tasks", "editors", "kinds", "families")},
        **{name: asked[name] for name in ("swept", "traced", "pairs", "shown")},
        tracing=next((Path(path).parents[1] for path in source.get("tracing", ())), Path()),
        published=published,
        settings=Settings(**asked.settings),
    )
    tables = dict(vars(found))
    if out.get("examples"):
        parts = zip(asked.exemplified, source.get("examples", ()), strict=True)
        parts = [keyed(pd.read_parquet(path), {"model": model}) for model, path in parts]
        tables["examples"] = joined(parts, ["model", *EXAMPLES])
    for name, table in tables.items():
        with whole_file(out[name]) as path:
            table.to_csv(path, index=False, float_format="%.6g")
    directions, drawn = read_words(out.directions), list(asked.drawn)
    edited = without_one_way(read_words(out.editing), directions)
    use_style()
    save_figure(plot_criteria(edited, drawn), out.criteria_svg, out.criteria_png)
    save_figure(plot_agreement(edited, drawn), out.agreement_svg, out.agreement_png)
    save_figure(plot_layers(read_words(out.layers), drawn), out.layers_svg, out.layers_png)
    save_figure(plot_directions(directions), out.directions_svg, out.directions_png)
