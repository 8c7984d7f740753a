"""Rule gather_edits: the tables of one model, editor and task from those of its shards."""

import pandas as pd

from kn_thesis.editing.results import Editing, gathered
from kn_thesis.errors import logged
from kn_thesis.frames import write_tables

NAMES = ("edits", "questions", "completions")

with logged(snakemake.log[0], snakemake.input):
    parts = zip(*(map(pd.read_parquet, snakemake.input[name]) for name in NAMES), strict=True)
    found = gathered([Editing(*part) for part in parts])
    write_tables(found, dict(snakemake.output.items()))
