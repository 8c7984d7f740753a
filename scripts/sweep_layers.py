"""Rule sweep_layers: run ROME at every layer of one model, for some relations.

The script uses ROME's settings and no editor by name, so that other editors' modules are not part of its code hash.
"""

from kn_thesis.editing.covariance import Covariance
from kn_thesis.editing.generation import write_contexts
from kn_thesis.editing.questions import load_synonyms, make_edit_inputs
from kn_thesis.editing.rome import Settings
from kn_thesis.editing.task import sweep_layers
from kn_thesis.files import read_tasks, write_task_tables
from kn_thesis.joblog import logged
from kn_thesis.models.load import load_job_model

with logged(snakemake.log[0], snakemake.input):
    model = load_job_model(snakemake.input.model, **snakemake.params.loading)
    editor, settings = dict(snakemake.params.editor), snakemake.params.settings
    covariance = Covariance.load(snakemake.input.covariance) if editor.pop("covariance") else None
    del editor["method"]
    contexts = write_contexts(model, editor.pop("contexts"), settings["seed"], editor.pop("beginnings"))
    prompts, synonyms = read_tasks(snakemake.input.prompts), load_synonyms(snakemake.input.synonyms)
    tables, layers = {}, range(0, model.adapter.layers, settings["every"])
    for task, links in snakemake.params.links.items():
        inputs = make_edit_inputs(model, task, prompts, links, synonyms.get(task, {}), **settings)
        print(f"{task}: {len(inputs.requests)} requests at {len(layers)} layers")
        tables[task] = sweep_layers(
            model,
            inputs.requests,
            inputs.questions,
            Settings(**editor, batch_tokens=settings["batch_tokens"]),
            layers,
            contexts=contexts,
            covariance=covariance,
        )
    write_task_tables(tables, snakemake.output.layers)
