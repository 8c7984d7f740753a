"""Rule select_neurons: the knowledge neurons of each group of one task's prompts, and how local the task is."""

import pandas as pd

from kn_thesis.errors import UserError, logged
from kn_thesis.files import whole_file
from kn_thesis.localization.results import Attribution
from kn_thesis.localization.statistics import localization_statistics, neuron_table

with logged(snakemake.log[0]):
    attribution, names = Attribution.load(snakemake.input.attribution)
    prompts = pd.read_parquet(snakemake.input.prompts, columns=["prompt", "kind", "group", "number"])
    kind = prompts["kind"].iloc[0] if len(prompts) else ""
    prompts = prompts.set_index("prompt")
    if absent := sorted(set(names) - set(prompts.index)):
        raise UserError(
            f"{snakemake.input.attribution}: prompt {absent[0]} is not in {snakemake.input.prompts}; attribute anew"
        )
    prompts = prompts.loc[names]
    groups, settings = list(prompts["group"]), dict(snakemake.params.settings)
    thresholds = {"coarse": settings["coarse"], "share": settings["share"]}
    about = {"model": snakemake.wildcards.model, "task": snakemake.wildcards.task}
    numbers = dict(zip(prompts["group"], prompts["number"], strict=True))
    neurons = neuron_table(attribution.scores, groups, numbers, **thresholds)
    measures = localization_statistics(
        attribution, groups, **thresholds, adaptive=settings["adaptive"], **settings["bootstrap"]
    )
    for number, (key, value) in enumerate(about.items()):
        neurons.insert(number, key, value)
    with whole_file(snakemake.output.neurons) as path:
        neurons.to_parquet(path, index=False)
    with whole_file(snakemake.output.statistics) as path:
        pd.DataFrame([about | {"kind": kind} | measures]).to_parquet(path, index=False)
