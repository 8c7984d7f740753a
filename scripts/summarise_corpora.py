"""Rule summarise_corpora: what was kept of each task for each model, a prompt of each, and the figure."""

from pathlib import Path

import pandas as pd

from kn_thesis.corpora.examples import example_prompts
from kn_thesis.corpora.figures import plot_kept
from kn_thesis.corpora.table import merge_counts
from kn_thesis.errors import logged
from kn_thesis.files import whole_file
from kn_thesis.report.style import save_figure, use_style

with logged(snakemake.log[0], snakemake.input):
    merge_counts(snakemake.input.counts, snakemake.params.families, snakemake.output.table)
    examples = example_prompts([Path(path) for path in snakemake.input.prompts])
    with whole_file(snakemake.output.examples) as path:
        examples.to_csv(path, index=False)
    use_style()
    save_figure(plot_kept(pd.read_csv(snakemake.output.table)), snakemake.output.svg, snakemake.output.png)
