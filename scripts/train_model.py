"""Rule train_model: a tiny model of a real family, trained on the corpus's text."""

from pathlib import Path

from kn_thesis.errors import logged
from kn_thesis.models.train import Settings, train_into

with logged(snakemake.log[0], snakemake.input):
    folder = Path(snakemake.output.model).parent
    train_into(folder, snakemake.params.family, snakemake.input.text, Settings(**snakemake.params.settings))
