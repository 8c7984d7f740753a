"""Rule plot_models: accuracy of every model on every task."""

import pandas as pd

from kn_thesis.errors import logged
from kn_thesis.models.figures import plot_accuracy
from kn_thesis.report.style import save_figure, use_style

with logged(snakemake.log[0], snakemake.input):
    use_style()
    save_figure(plot_accuracy(pd.read_csv(snakemake.input.table)), snakemake.output.svg, snakemake.output.png)
