"""Rule test_suppression: run the published and paired tests of one model, and tabulate accuracy and co-occurrence."""

from pathlib import Path

import pandas as pd

from kn_thesis.files import whole_file
from kn_thesis.joblog import logged
from kn_thesis.suppression.summary import Settings, model_tables

with logged(snakemake.log[0], snakemake.input):
    prompts = dict(zip(snakemake.params.tasks, snakemake.input.prompts, strict=True))
    counts = pd.read_parquet(snakemake.input.cooccurrence) if snakemake.input.get("cooccurrence") else None
    folder = Path(snakemake.input.effects[0]).parent
    tables = model_tables(folder, prompts, counts, Settings(**snakemake.params.settings))
    for name, path in snakemake.output.items():
        with whole_file(path) as temporary:
            getattr(tables, name).to_parquet(temporary, index=False)
