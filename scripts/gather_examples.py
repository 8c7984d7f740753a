"""Rule gather_examples: the example edits of all models in one table."""

import pandas as pd

from kn_thesis.editing.results import EXAMPLES
from kn_thesis.errors import logged
from kn_thesis.files import whole_file
from kn_thesis.frames import joined, keyed

with logged(snakemake.log[0], snakemake.input):
    models = snakemake.params.models
    parts = [
        keyed(pd.read_parquet(path), {"model": model})
        for model, path in zip(models, snakemake.input.parts, strict=True)
    ]
    with whole_file(snakemake.output.table) as path:
        joined(parts, ["model", *EXAMPLES]).to_csv(path, index=False, float_format="%.6g")
