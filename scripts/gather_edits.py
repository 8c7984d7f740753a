"""Rule gather_edits: join the tables of the shards of one model, editor and task."""

import pandas as pd

from kn_thesis.editing.tables import Editing, concat_edits
from kn_thesis.files import write_tables
from kn_thesis.joblog import logged

NAMES = ("edits", "questions", "completions")

with logged(snakemake.log[0], snakemake.input):
    parts = zip(*(map(pd.read_parquet, snakemake.input[name]) for name in NAMES), strict=True)
    editing = concat_edits([Editing(*part) for part in parts])
    write_tables(editing, dict(snakemake.output.items()))
