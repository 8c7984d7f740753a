"""Rule count_corpora: what was kept of each task for each model, and why the rest was not."""

from kn_thesis.corpora.table import merge_counts
from kn_thesis.errors import logged

with logged(snakemake.log[0], snakemake.input):
    merge_counts(snakemake.input.counts, snakemake.params.families, snakemake.output.table)
