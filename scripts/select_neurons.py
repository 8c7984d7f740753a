"""Rule select_neurons: the knowledge neurons of each group of some tasks' prompts, and how local each task is."""

import pandas as pd

from kn_thesis.errors import logged
from kn_thesis.files import whole_file
from kn_thesis.localization.results import load_shards
from kn_thesis.localization.statistics import say_residuals, select_in_task

with logged(snakemake.log[0], snakemake.input):
    settings = dict(snakemake.params.settings)
    for number, task in enumerate(snakemake.params.tasks):
        attribution, names = load_shards(snakemake.input.attributions[number :: len(snakemake.params.tasks)])
        prompts = pd.read_parquet(snakemake.input.prompts[number], columns=["prompt", "group", "number"])
        about = {"model": snakemake.params.model, "task": task}
        found = select_in_task(attribution, names, prompts, about, settings, snakemake.params.kinds[number])
        for line in say_residuals(found[1]):
            print(line)
        for name, table in zip(("neurons", "statistics"), found, strict=True):
            with whole_file(snakemake.output[name][number]) as path:
                table.to_parquet(path, index=False)
