"""Rule summarise_editing: tabulate and plot the edits of all models."""

import pandas as pd
import yaml

from kn_thesis.editing.figures import plot_agreement, plot_criteria, plot_directions, plot_layers
from kn_thesis.editing.labels import without_one_way
from kn_thesis.editing.summary import Settings, summarise
from kn_thesis.editing.tables import EXAMPLES
from kn_thesis.files import by_folder, joined, keyed, read_words, whole_file
from kn_thesis.joblog import logged
from kn_thesis.report.style import save_figure, use_style

with logged(snakemake.log[0], snakemake.input):
    source, params, out = snakemake.input, snakemake.params, snakemake.output
    with open(source.published, encoding="utf-8") as file:
        published = yaml.safe_load(file)["editing"]
    summary = summarise(
        by_folder({name: source.get(name, ()) for name in ("edits", "questions", "completions", "layers")}, levels=2),
        **{name: params[name] for name in ("tasks", "editors", "kinds", "families")},
        **{name: params[name] for name in ("swept", "traced", "pairs", "shown")},
        tracing=by_folder({"prompts": source.get("traced", ()), "effects": source.get("effects", ())}),
        published=published,
        settings=Settings(**params.settings),
    )
    tables = dict(vars(summary))
    if out.get("examples"):
        parts = zip(params.exemplified, source.get("examples", ()), strict=True)
        parts = [keyed(pd.read_parquet(path), {"model": model}) for model, path in parts]
        tables["examples"] = joined(parts, ["model", *EXAMPLES])
    for name, table in tables.items():
        with whole_file(out[name]) as path:
            table.to_csv(path, index=False, float_format="%.6g")
    directions, drawn = read_words(out.directions), list(params.drawn)
    edited = without_one_way(read_words(out.editing), directions)
    use_style()
    save_figure(plot_criteria(edited, drawn), out.criteria_svg, out.criteria_png)
    save_figure(plot_agreement(edited, drawn), out.agreement_svg, out.agreement_png)
    save_figure(plot_layers(read_words(out.layers), drawn), out.layers_svg, out.layers_png)
    save_figure(plot_directions(directions), out.directions_svg, out.directions_png)
