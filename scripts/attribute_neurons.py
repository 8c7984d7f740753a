"""Rule attribute_neurons: compute integrated gradients over one model's MLP neurons for the prompts of some tasks."""

from kn_thesis.files import read_tasks
from kn_thesis.joblog import logged
from kn_thesis.localization.attribution import attribute
from kn_thesis.localization.tables import save_attributions
from kn_thesis.models.cloze import encoded_from
from kn_thesis.models.load import load_job_model
from kn_thesis.models.memory import BLOCK, shard_of

with logged(snakemake.log[0], snakemake.input):
    model = load_job_model(snakemake.input.model, **snakemake.params.loading)
    attributions = {}
    for task, table in read_tasks(snakemake.input.prompts, snakemake.params.tasks).items():
        print(task)
        prompts = table.query("attributed")
        prompts = prompts.iloc[list(shard_of(len(prompts), snakemake.params.shard, BLOCK))]
        encoded = [
            encoded_from(ids, gap, target)
            for ids, gap, target in zip(prompts["input_ids"], prompts["gap"], prompts["target_ids"], strict=True)
        ]
        attribution = attribute(model, encoded, progress=True, **snakemake.params.settings)
        attributions[task] = attribution, list(prompts["prompt"])
    save_attributions(snakemake.output.attributions, attributions)
