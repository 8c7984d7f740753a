"""Rule suppress_neurons: evaluate every studied word before and after changing one model's neurons."""

from kn_thesis.files import read_tasks, write_batch
from kn_thesis.joblog import logged
from kn_thesis.localization.tables import load_shards
from kn_thesis.models.load import load_job_model
from kn_thesis.models.memory import BLOCK, shard_of
from kn_thesis.suppression.tables import suppression_tables
from kn_thesis.suppression.task import Settings, suppress_prompts

with logged(snakemake.log[0], snakemake.input):
    model = load_job_model(snakemake.input.model, **snakemake.params.loading)
    settings = Settings(**snakemake.params.settings)
    tables = {}
    for task, prompts in read_tasks(snakemake.input.prompts, snakemake.params.tasks).items():
        print(task)
        attribution, attributed = load_shards(snakemake.input.attributions, task)
        places = shard_of(len(prompts), snakemake.params.shard, BLOCK)
        answers = suppress_prompts(model, prompts, attribution.scores, attributed, settings, places)
        if snakemake.output.get("answers"):  # of a shard: gather_suppression makes the tables
            answers.save(snakemake.output.answers)
        else:
            tables[task] = suppression_tables(answers, prompts)
    if tables:
        write_batch(tables, dict(snakemake.output.items()))
