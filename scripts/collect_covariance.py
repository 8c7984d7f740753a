"""Rule collect_covariance: the second moment of one model's keys, layer by layer, over running text."""

from pathlib import Path

from kn_thesis.editing.covariance import collect_covariance
from kn_thesis.editing.texts import dataset_texts, text_lines
from kn_thesis.errors import UserError, logged
from kn_thesis.models.load import load_model

with logged(snakemake.log[0]):
    source, text = snakemake.params.source, snakemake.input.get("text")
    if not source and not text:
        raise UserError("no text to collect the covariance from: give the rule a text file or the source of a data set")
    model = load_model(Path(snakemake.input.model[0]).parent, **snakemake.params.loading)
    covariance = collect_covariance(
        model,
        dataset_texts(source) if source else text_lines(text),
        snakemake.params.layers,
        tokens=snakemake.params.tokens,
        batch_tokens=snakemake.params.batch_tokens,
        progress=True,
    )
    covariance.save(snakemake.output.covariance)
    print(f"{covariance.count:,} tokens of {source or text}, layers {' '.join(map(str, covariance.matrices))}")
