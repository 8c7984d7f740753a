"""Rule sweep_layers: run ROME at every layer of one model, for some relations.

The script uses ROME's settings and no editor by name, so that other editors' modules are not part of its code hash.
"""

from kn_thesis.editing.covariance import Covariance
from kn_thesis.editing.generation import write_contexts
from kn_thesis.editing.questions import load_synonyms, read_edit_inputs
from kn_thesis.editing.rome import Settings
from kn_thesis.editing.task import sweep_layers
from kn_thesis.files import whole_file
from kn_thesis.joblog import logged
from kn_thesis.models.load import load_job_model

with logged(snakemake.log[0], snakemake.input):
    model = load_job_model(snakemake.input.model, **snakemake.params.loading)
    editor, settings = dict(snakemake.params.editor), snakemake.params.settings
    covariance = Covariance.load(snakemake.input.covariance) if editor.pop("covariance") else None
    del editor["method"]
    contexts = write_contexts(model, editor.pop("contexts"), settings["seed"], editor.pop("beginnings"))
    synonyms = load_synonyms(snakemake.input.synonyms)
    layers = range(0, model.adapter.layers, settings["every"])
    for task, path in zip(snakemake.params.tasks, snakemake.output.layers, strict=True):
        inputs = read_edit_inputs(model, snakemake.params.links[task], synonyms.get(task, {}), **settings)
        print(f"{task}: {len(inputs.requests)} requests at {len(layers)} layers")
        table = sweep_layers(
            model,
            inputs.requests,
            inputs.questions,
            Settings(**editor, batch_tokens=settings["batch_tokens"]),
            layers,
            contexts=contexts,
            covariance=covariance,
        )
        with whole_file(path) as temporary:
            table.to_parquet(temporary, index=False, compression="zstd")
