"""Rule select_neurons: select the knowledge neurons of each group of prompts, and measure how local each task is."""

import pandas as pd

from kn_thesis.files import whole_file
from kn_thesis.joblog import logged
from kn_thesis.localization.statistics import say_residuals, select_in_task
from kn_thesis.localization.tables import load_shards

with logged(snakemake.log[0], snakemake.input):
    settings = dict(snakemake.params.settings)
    for number, task in enumerate(snakemake.params.tasks):
        attribution, names = load_shards(snakemake.input.attributions[number :: len(snakemake.params.tasks)])
        prompts = pd.read_parquet(snakemake.input.prompts[number], columns=["prompt", "group", "number"])
        about = {"model": snakemake.params.model, "task": task}
        tables = select_in_task(attribution, names, prompts, about, settings, snakemake.params.kinds[number])
        for line in say_residuals(tables[1]):
            print(line)
        for name, table in zip(("neurons", "statistics"), tables, strict=True):
            with whole_file(snakemake.output[name][number]) as path:
                table.to_parquet(path, index=False)
