"""Rule test_suppression: run the published and paired tests of one model, and tabulate accuracy and co-occurrence."""

import pandas as pd

from kn_thesis.files import whole_file
from kn_thesis.joblog import logged
from kn_thesis.suppression.summary import TABLES, Settings, model_tables

with logged(snakemake.log[0], snakemake.input):
    counts = pd.read_parquet(snakemake.input.cooccurrence) if snakemake.input.get("cooccurrence") else None
    files = {name: snakemake.input[name] for name in TABLES}
    tables = model_tables(files, snakemake.input.prompts, counts, Settings(**snakemake.params.settings))
    for name, path in snakemake.output.items():
        with whole_file(path) as temporary:
            getattr(tables, name).to_parquet(temporary, index=False)
