"""Rule suppress_neurons: every studied word before and after the neurons of some paradigms are changed in one model."""

import pandas as pd

from kn_thesis.errors import logged
from kn_thesis.frames import write_tables
from kn_thesis.localization.results import load_shards
from kn_thesis.models.load import load_job_model
from kn_thesis.shards import BLOCK, shard
from kn_thesis.suppression.effects import suppression_tables
from kn_thesis.suppression.task import Settings, suppress_prompts

with logged(snakemake.log[0], snakemake.input):
    model = load_job_model(snakemake.input.model, **snakemake.params.loading)
    settings = Settings(**snakemake.params.settings)
    for number, source in enumerate(snakemake.input.prompts):
        print(source)
        prompts = pd.read_parquet(source)
        attribution, attributed = load_shards(snakemake.input.attributions[number :: len(snakemake.input.prompts)])
        places = shard(len(prompts), snakemake.wildcards.get("scatteritem"), BLOCK)
        answers = suppress_prompts(model, prompts, attribution.scores, attributed, settings, places)
        if snakemake.output.get("answers"):  # of a shard: tables are made of all of them
            answers.save(snakemake.output.answers[number])
            continue
        tables = suppression_tables(answers, prompts)
        write_tables(tables, {name: paths[number] for name, paths in snakemake.output.items()})
