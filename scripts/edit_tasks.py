"""Rule edit_tasks: edit some tasks in one model with one editor; evaluate its answers before and after each edit."""

from kn_thesis.editing.editors import configured_editor, editor_named
from kn_thesis.editing.questions import load_synonyms, read_edit_inputs
from kn_thesis.editing.task import Continued, edit_task
from kn_thesis.files import write_tables
from kn_thesis.joblog import logged
from kn_thesis.models.load import load_job_model

with logged(snakemake.log[0], snakemake.input):
    model = load_job_model(snakemake.input.model, **snakemake.params.loading)
    editor, settings = snakemake.params.editor, snakemake.params.settings
    limits = settings["seed"], settings["batch_tokens"]
    find = configured_editor(model, editor, snakemake.input.get("covariance"), *limits)
    synonyms = load_synonyms(snakemake.input.synonyms)
    for number, task in enumerate(snakemake.params.tasks):
        print(task)
        inputs = read_edit_inputs(model, snakemake.params.links[task], synonyms.get(task, {}), **settings)
        editing = edit_task(
            model,
            find,
            inputs.requests,
            inputs.statuses,
            inputs.questions,
            Continued(**settings["continued"]),
            settings["batch_tokens"],
            together=editor_named(editor["method"]).joint,
            item=snakemake.wildcards.get("scatteritem"),
        )
        for reason, count in (*editing.edits["status"].value_counts().items(), *inputs.left_out.items()):
            print(f"{count:7} {reason}")
        write_tables(editing, {name: paths[number] for name, paths in snakemake.output.items()})
