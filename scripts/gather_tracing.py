"""Rule gather_tracing: the tables of one model and task from those of its shards."""

import pandas as pd

from kn_thesis.errors import logged
from kn_thesis.frames import write_tables
from kn_thesis.tracing.results import Tracing, gathered

with logged(snakemake.log[0], snakemake.input):
    parts = zip(*(map(pd.read_parquet, snakemake.input[name]) for name in ("prompts", "effects")), strict=True)
    found = gathered([Tracing(*part) for part in parts])
    write_tables(found, dict(snakemake.output.items()))
