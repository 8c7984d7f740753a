"""Rule edit_tasks: one editor's edits of some tasks in one model, and its answers before and after each."""

from kn_thesis.editing.asked import read_asked
from kn_thesis.editing.configured import configured_editor
from kn_thesis.editing.synonyms import load_synonyms
from kn_thesis.editing.task import Continued, edit_task
from kn_thesis.errors import logged
from kn_thesis.frames import write_tables
from kn_thesis.models.load import load_job_model
from kn_thesis.shards import apart

with logged(snakemake.log[0], snakemake.input):
    model = load_job_model(snakemake.input.model, **snakemake.params.loading)
    chosen, settings = snakemake.params.editor, snakemake.params.settings
    limits = settings["seed"], settings["batch_tokens"]
    find = configured_editor(model, chosen, snakemake.input.get("covariance"), *limits)
    synonyms = load_synonyms(snakemake.input.synonyms)
    for number, task in enumerate(snakemake.params.tasks):
        print(task)
        asked = read_asked(model, snakemake.params.links[task], synonyms.get(task, {}), **settings)
        found = edit_task(
            model, find, asked.requests, asked.statuses, asked.questions, Continued(**settings["continued"]),
            settings["batch_tokens"], together=not apart(chosen["method"]), item=snakemake.wildcards.get("scatteritem"),
        )  # fmt: skip
        for reason, count in (*found.edits["status"].value_counts().items(), *asked.left_out.items()):
            print(f"{count:7} {reason}")
        write_tables(found, {name: paths[number] for name, paths in snakemake.output.items()})
