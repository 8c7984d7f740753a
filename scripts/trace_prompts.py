"""Rule trace_prompts: run causal tracing of one model on the prompts of some tasks that it answers correctly."""

import pandas as pd

from kn_thesis.files import write_tables
from kn_thesis.joblog import logged
from kn_thesis.models.evaluate import evaluate_prompts
from kn_thesis.models.load import load_job_model
from kn_thesis.tracing.task import trace_task
from kn_thesis.tracing.trace import Settings

with logged(snakemake.log[0], snakemake.input):
    model = load_job_model(snakemake.input.model, **snakemake.params.loading)
    settings = Settings(**snakemake.params.settings)
    for number, source in enumerate(snakemake.input.prompts):
        print(source)
        prompts = pd.read_parquet(source)
        # Evaluated again, since the evaluation of rule evaluate_model changes whenever a task is added.
        evaluation = evaluate_prompts(model, prompts, snakemake.params.evaluation_batch)
        item = snakemake.wildcards.get("scatteritem")
        tracing = trace_task(model, prompts, evaluation, snakemake.params.most, settings, item=item, progress=True)
        for reason, count in tracing.prompts["status"].value_counts().items():
            print(f"{count:7} {reason}")
        write_tables(tracing, {name: paths[number] for name, paths in snakemake.output.items()})
