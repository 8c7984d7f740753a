"""Rule suppress_neurons: every studied word before and after the neurons of one paradigm are changed in one model."""

from pathlib import Path

import pandas as pd

from kn_thesis.errors import logged
from kn_thesis.files import whole_file
from kn_thesis.localization.results import Attribution
from kn_thesis.models.load import load_model
from kn_thesis.suppression.effects import Settings, suppress_task

with logged(snakemake.log[0]):
    attribution, attributed = Attribution.load(snakemake.input.attribution)
    prompts = pd.read_parquet(snakemake.input.prompts)
    model = load_model(Path(snakemake.input.model[0]).parent, **snakemake.params.loading)
    found = suppress_task(model, prompts, attribution.scores, attributed, Settings(**snakemake.params.settings))
    for name, path in snakemake.output.items():
        with whole_file(path) as temporary:
            getattr(found, name).to_parquet(temporary, index=False, compression="zstd")
