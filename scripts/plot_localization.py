"""Rule plot_localization: the determiners' neurons, the layers of all neurons, the measures of every task."""

import pandas as pd

from kn_thesis.errors import logged
from kn_thesis.localization.figures import plot_determiner_neurons, plot_localization_by_task, plot_neurons_per_layer
from kn_thesis.report.style import save_figure, use_style

with logged(snakemake.log[0], snakemake.input):
    tables = [pd.read_parquet(path) for path in snakemake.input.neurons]
    neurons = pd.concat([rows for rows in tables if len(rows)] or tables[:1], ignore_index=True)
    layers, table = pd.read_csv(snakemake.input.layers), pd.read_csv(snakemake.input.table)
    neurons, layers, table = (rows[rows["model"].isin(snakemake.params.shown)] for rows in (neurons, layers, table))
    out = snakemake.output
    use_style()
    save_figure(plot_determiner_neurons(neurons), out.determiner_svg, out.determiner_png)
    save_figure(plot_neurons_per_layer(layers), out.layers_svg, out.layers_png)
    save_figure(plot_localization_by_task(table), out.tasks_svg, out.tasks_png)
