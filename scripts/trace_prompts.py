"""Rule trace_prompts: run causal tracing of one model on the prompts of some tasks that it answers correctly."""

from kn_thesis.files import read_tasks, write_batch
from kn_thesis.joblog import logged
from kn_thesis.models.evaluate import evaluate_prompts
from kn_thesis.models.load import load_job_model
from kn_thesis.tracing.task import trace_task
from kn_thesis.tracing.trace import Settings

with logged(snakemake.log[0], snakemake.input):
    model = load_job_model(snakemake.input.model, **snakemake.params.loading)
    settings, most, shard = Settings(**snakemake.params.settings), snakemake.params.most, snakemake.params.shard
    tracings = {}
    for task, prompts in read_tasks(snakemake.input.prompts, snakemake.params.tasks).items():
        print(task)
        # Evaluated again, since the evaluation of rule evaluate_model changes whenever a task is added.
        evaluation = evaluate_prompts(model, prompts, snakemake.params.evaluation_batch)
        tracings[task] = trace_task(model, prompts, evaluation, most, settings, item=shard, progress=True)
        for reason, count in tracings[task].prompts["status"].value_counts().items():
            print(f"{count:7} {reason}")
    write_batch(tracings, dict(snakemake.output.items()))
