"""Rule edit_tasks: edit some tasks in one model with one editor; evaluate its answers before and after each edit."""

from kn_thesis.editing.editors import configured_editor, editor_named
from kn_thesis.editing.questions import load_synonyms, make_edit_inputs
from kn_thesis.editing.task import Continued, edit_task
from kn_thesis.files import read_tasks, write_batch
from kn_thesis.joblog import logged
from kn_thesis.models.load import load_job_model

with logged(snakemake.log[0], snakemake.input):
    model = load_job_model(snakemake.input.model, **snakemake.params.loading)
    editor, settings = snakemake.params.editor, snakemake.params.settings
    limits = settings["seed"], settings["batch_tokens"]
    find = configured_editor(model, editor, snakemake.input.get("covariance"), *limits)
    prompts, synonyms = read_tasks(snakemake.input.prompts), load_synonyms(snakemake.input.synonyms)
    editings = {}
    for task, links in snakemake.params.links.items():
        print(task)
        inputs = make_edit_inputs(model, task, prompts, links, synonyms.get(task, {}), **settings)
        editing = editings[task] = edit_task(
            model,
            find,
            inputs.requests,
            inputs.statuses,
            inputs.questions,
            Continued(**settings["continued"]),
            settings["batch_tokens"],
            together=editor_named(editor["method"]).joint,
            item=snakemake.params.shard,
        )
        for reason, count in (*editing.edits["status"].value_counts().items(), *inputs.left_out.items()):
            print(f"{count:7} {reason}")
    write_batch(editings, dict(snakemake.output.items()))
