"""Rule show_examples: one prompt of each task for each model, as a table."""

from pathlib import Path

from kn_thesis.corpora.examples import example_prompts
from kn_thesis.errors import logged
from kn_thesis.files import whole_file

with logged(snakemake.log[0], snakemake.input):
    table = example_prompts([Path(path) for path in snakemake.input.prompts])
    with whole_file(snakemake.output.table) as path:
        table.to_csv(path, index=False)
