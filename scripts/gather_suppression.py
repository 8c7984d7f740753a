"""Rule gather_suppression: make the tables of one model and paradigm from the answers of its shards."""

import pandas as pd

from kn_thesis.files import write_tables
from kn_thesis.joblog import logged
from kn_thesis.suppression.tables import SuppressedAnswers, concat_answers, suppression_tables

with logged(snakemake.log[0], snakemake.input):
    answers = concat_answers([SuppressedAnswers.load(path) for path in snakemake.input.answers])
    tables = suppression_tables(answers, pd.read_parquet(snakemake.input.prompts))
    write_tables(tables, dict(snakemake.output.items()))
