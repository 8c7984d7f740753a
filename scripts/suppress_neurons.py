"""Rule suppress_neurons: every studied word before and after the neurons of some paradigms are changed in one model."""

from pathlib import Path

import pandas as pd

from kn_thesis.errors import logged
from kn_thesis.files import whole_file
from kn_thesis.localization.results import Attribution
from kn_thesis.models.load import load_model
from kn_thesis.suppression.effects import Settings, suppress_task

with logged(snakemake.log[0], snakemake.input):
    model = load_model(Path(snakemake.input.model[0]).parent, **snakemake.params.loading)
    settings = Settings(**snakemake.params.settings)
    for number, source in enumerate(snakemake.input.prompts):
        print(source)
        attribution, attributed = Attribution.load(snakemake.input.attributions[number])
        found = suppress_task(model, pd.read_parquet(source), attribution.scores, attributed, settings)
        for name, paths in snakemake.output.items():
            with whole_file(paths[number]) as temporary:
                getattr(found, name).to_parquet(temporary, index=False, compression="zstd")
