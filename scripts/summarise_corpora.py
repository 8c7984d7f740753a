"""Rule summarise_corpora: tabulate and plot the included and excluded items of each task, with example prompts."""

from pathlib import Path

import pandas as pd

from kn_thesis.corpora.figures import example_prompts, plot_kept
from kn_thesis.corpora.prompts import merge_counts
from kn_thesis.files import whole_file
from kn_thesis.joblog import logged
from kn_thesis.report.style import save_figure, use_style

with logged(snakemake.log[0], snakemake.input):
    merge_counts(snakemake.input.counts, snakemake.params.families, snakemake.output.table)
    examples = example_prompts([Path(path) for path in snakemake.input.prompts])
    with whole_file(snakemake.output.examples) as path:
        examples.to_csv(path, index=False)
    use_style()
    save_figure(plot_kept(pd.read_csv(snakemake.output.table)), snakemake.output.svg, snakemake.output.png)
