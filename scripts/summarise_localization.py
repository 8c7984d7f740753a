"""Rule summarise_localization: tabulate and plot how local every task is in every model, and its neurons' layers."""

import pandas as pd
import yaml

from kn_thesis.files import whole_file
from kn_thesis.joblog import logged
from kn_thesis.localization.figures import plot_determiner_neurons, plot_localization_by_task, plot_neurons_per_layer
from kn_thesis.localization.summary import add_published, layer_table, layers_by_task, number_similarity
from kn_thesis.report.style import save_figure, use_style

with logged(snakemake.log[0], snakemake.input):
    table = pd.concat([pd.read_parquet(path) for path in snakemake.input.statistics], ignore_index=True)
    table.insert(1, "family", table["model"].map(dict(snakemake.params.families)))
    with open(snakemake.input.published, encoding="utf-8") as file:
        published = yaml.safe_load(file)
    with whole_file(snakemake.output.table) as path:
        add_published(table, published["localization"]).to_csv(path, index=False, float_format="%.6g")
    tables = [pd.read_parquet(path) for path in snakemake.input.neurons]
    neurons = pd.concat([rows for rows in tables if len(rows)] or tables[:1], ignore_index=True)
    kinds = dict(zip(table["task"], table["kind"], strict=True))
    depths = dict(zip(table["model"], table["layers"], strict=True))
    for output, rows in (
        (snakemake.output.layers, layer_table(neurons, kinds, depths)),
        (snakemake.output.layers_by_task, layers_by_task(neurons, kinds, depths)),
        (snakemake.output.number_neurons, number_similarity(neurons)),
    ):
        with whole_file(output) as path:
            rows.to_csv(path, index=False, float_format="%.6g")
    # Figures show the tables' values of one trained model per family; the others differ in their world or seed.
    written = [pd.read_csv(snakemake.output[name]) for name in ("layers", "table")]
    layers, table, neurons = (rows[rows["model"].isin(snakemake.params.shown)] for rows in (*written, neurons))
    out = snakemake.output
    use_style()
    save_figure(plot_determiner_neurons(neurons), out.determiner_svg, out.determiner_png)
    save_figure(plot_neurons_per_layer(layers), out.layers_svg, out.layers_png)
    save_figure(plot_localization_by_task(table), out.tasks_svg, out.tasks_png)
