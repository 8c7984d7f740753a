"""Rule gather_suppression: the tables of one model and paradigm from the answers of its shards."""

import pandas as pd

from kn_thesis.errors import logged
from kn_thesis.frames import write_tables
from kn_thesis.suppression.answers import Answers, joined
from kn_thesis.suppression.effects import suppression_tables

with logged(snakemake.log[0], snakemake.input):
    answers = joined([Answers.load(path) for path in snakemake.input.answers])
    tables = suppression_tables(answers, pd.read_parquet(snakemake.input.prompts))
    write_tables(tables, dict(snakemake.output.items()))
