"""Rule plot_corpora: what was kept of each task for each model."""

import pandas as pd

from kn_thesis.corpora.figures import plot_kept
from kn_thesis.errors import logged
from kn_thesis.report.style import save_figure, use_style

with logged(snakemake.log[0], snakemake.input):
    use_style()
    save_figure(plot_kept(pd.read_csv(snakemake.input.table)), snakemake.output.svg, snakemake.output.png)
