"""Rule summarise_models: tabulate and plot the accuracy of every model on every task."""

import pandas as pd

from kn_thesis.files import whole_file
from kn_thesis.joblog import logged
from kn_thesis.models.figures import plot_accuracy
from kn_thesis.models.summary import summarise
from kn_thesis.report.style import save_figure, use_style

with logged(snakemake.log[0], snakemake.input):
    params = snakemake.params
    evaluations = {
        model: pd.read_parquet(path) for model, path in zip(params.families, snakemake.input.evaluations, strict=True)
    }
    summary = summarise(evaluations, params.families, params.confidence, params.get("must_learn"))
    with whole_file(snakemake.output.table) as path:
        summary.to_csv(path, index=False, float_format="%.6g")
    use_style()
    save_figure(plot_accuracy(pd.read_csv(snakemake.output.table)), snakemake.output.svg, snakemake.output.png)
