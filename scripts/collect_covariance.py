"""Rule collect_covariance: collect the second moment of one model's keys, layer by layer, over running text."""

from kn_thesis.editing.covariance import collect_covariance, dataset_texts, text_lines
from kn_thesis.joblog import logged
from kn_thesis.models.load import load_job_model

with logged(snakemake.log[0], snakemake.input):
    settings, text = snakemake.params.settings, snakemake.input.get("text")
    source, layers = settings["source"], settings["layers"]
    model = load_job_model(snakemake.input.model, **snakemake.params.loading)
    covariance = collect_covariance(
        model,
        dataset_texts(source) if source else text_lines(text),
        range(model.adapter.layers) if layers is None else layers,
        tokens=settings["tokens"],
        batch_tokens=settings["batch_tokens"],
        progress=True,
    )
    covariance.save(snakemake.output.covariance)
    print(f"{covariance.count:,} tokens of {source or text}, layers {' '.join(map(str, covariance.matrices))}")
