"""Rule gather_suppression: make the tables of one model and paradigm from the answers of its shards."""

from kn_thesis.files import read_tasks, write_batch
from kn_thesis.joblog import logged
from kn_thesis.suppression.tables import SuppressedAnswers, concat_answers, suppression_tables

with logged(snakemake.log[0], snakemake.input):
    answers = concat_answers([SuppressedAnswers.load(path) for path in snakemake.input.answers])
    [(task, prompts)] = read_tasks(snakemake.input.prompts, snakemake.params.tasks).items()
    write_batch({task: suppression_tables(answers, prompts)}, dict(snakemake.output.items()))
