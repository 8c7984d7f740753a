"""Rule sweep_layers: ROME at every layer of one model, for some relations.

ROME's own settings and no editor by name: what other editors import would be this rule's code, too.
"""

from kn_thesis.editing.asked import read_asked
from kn_thesis.editing.contexts import write_contexts
from kn_thesis.editing.covariance import Covariance
from kn_thesis.editing.rome import Settings
from kn_thesis.editing.sweep import sweep_layers
from kn_thesis.editing.synonyms import load_synonyms
from kn_thesis.errors import logged
from kn_thesis.files import whole_file
from kn_thesis.models.load import load_job_model

with logged(snakemake.log[0], snakemake.input):
    model = load_job_model(snakemake.input.model, **snakemake.params.loading)
    chosen, settings = dict(snakemake.params.editor), snakemake.params.settings
    covariance = Covariance.load(snakemake.input.covariance) if chosen.pop("covariance") else None
    del chosen["method"]
    contexts = write_contexts(model, chosen.pop("contexts"), settings["seed"], chosen.pop("beginnings"))
    synonyms = load_synonyms(snakemake.input.synonyms)
    layers = range(0, model.adapter.layers, settings["every"])
    for task, path in zip(snakemake.params.tasks, snakemake.output.layers, strict=True):
        asked = read_asked(model, snakemake.params.links[task], synonyms.get(task, {}), **settings)
        print(f"{task}: {len(asked.requests)} requests at {len(layers)} layers")
        found = sweep_layers(
            model,
            asked.requests,
            asked.questions,
            Settings(**chosen, batch_tokens=settings["batch_tokens"]),
            layers,
            contexts=contexts,
            covariance=covariance,
        )
        with whole_file(path) as temporary:
            found.to_parquet(temporary, index=False, compression="zstd")
