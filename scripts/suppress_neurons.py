"""Rule suppress_neurons: evaluate every studied word before and after changing one model's neurons."""

import pandas as pd

from kn_thesis.files import write_tables
from kn_thesis.joblog import logged
from kn_thesis.localization.tables import load_shards
from kn_thesis.models.load import load_job_model
from kn_thesis.models.memory import BLOCK, shard_of
from kn_thesis.suppression.tables import suppression_tables
from kn_thesis.suppression.task import Settings, suppress_prompts

with logged(snakemake.log[0], snakemake.input):
    model = load_job_model(snakemake.input.model, **snakemake.params.loading)
    settings = Settings(**snakemake.params.settings)
    for number, source in enumerate(snakemake.input.prompts):
        print(source)
        prompts = pd.read_parquet(source)
        attribution, attributed = load_shards(snakemake.input.attributions[number :: len(snakemake.input.prompts)])
        places = shard_of(len(prompts), snakemake.wildcards.get("scatteritem"), BLOCK)
        answers = suppress_prompts(model, prompts, attribution.scores, attributed, settings, places)
        if snakemake.output.get("answers"):  # of a shard: gather_suppression makes the tables
            answers.save(snakemake.output.answers[number])
            continue
        tables = suppression_tables(answers, prompts)
        write_tables(tables, {name: paths[number] for name, paths in snakemake.output.items()})
