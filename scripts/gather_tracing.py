"""Rule gather_tracing: join the tables of the shards of one model and task."""

import pandas as pd

from kn_thesis.files import write_tables
from kn_thesis.joblog import logged
from kn_thesis.tracing.tables import Tracing, concat_tracing

with logged(snakemake.log[0], snakemake.input):
    parts = zip(*(map(pd.read_parquet, snakemake.input[name]) for name in ("prompts", "effects")), strict=True)
    tracing = concat_tracing([Tracing(*part) for part in parts])
    write_tables(tracing, dict(snakemake.output.items()))
