"""Rule attribute_neurons: compute integrated gradients over one model's MLP neurons for the prompts of some tasks."""

import pandas as pd

from kn_thesis.joblog import logged
from kn_thesis.localization.attribution import attribute
from kn_thesis.models.cloze import encoded_from
from kn_thesis.models.load import load_job_model
from kn_thesis.models.memory import BLOCK, shard_of

with logged(snakemake.log[0], snakemake.input):
    model = load_job_model(snakemake.input.model, **snakemake.params.loading)
    for source, result in zip(snakemake.input.prompts, snakemake.output.attributions, strict=True):
        print(source)
        prompts = pd.read_parquet(source).query("attributed")
        prompts = prompts.iloc[list(shard_of(len(prompts), snakemake.wildcards.get("scatteritem"), BLOCK))]
        encoded = [
            encoded_from(ids, gap, target)
            for ids, gap, target in zip(prompts["input_ids"], prompts["gap"], prompts["target_ids"], strict=True)
        ]
        attribution = attribute(model, encoded, progress=True, **snakemake.params.settings)
        attribution.save(result, list(prompts["prompt"]))
