"""Rule evaluate_model: evaluate one model on every prompt of every task."""

import pandas as pd

from kn_thesis.files import whole_file
from kn_thesis.joblog import logged
from kn_thesis.models.demands import check_learned
from kn_thesis.models.evaluate import evaluate_prompts
from kn_thesis.models.load import load_job_model

with logged(snakemake.log[0], snakemake.input):
    model = load_job_model(snakemake.input.model, **snakemake.params.loading)
    prompts = pd.concat([pd.read_parquet(path) for path in snakemake.input.prompts], ignore_index=True)
    evaluation = evaluate_prompts(model, prompts, snakemake.params.batch_tokens)
    check_learned(snakemake.wildcards.model, evaluation, **snakemake.params.demands)
    with whole_file(snakemake.output.evaluation) as path:
        evaluation.to_parquet(path, index=False)
