"""Rule check_model: stop when a model has not learned what is demanded of it."""

import pandas as pd

from kn_thesis.errors import logged
from kn_thesis.files import whole_file
from kn_thesis.models.summary import check_learned

with logged(snakemake.log[0], snakemake.input):
    evaluation = pd.read_parquet(snakemake.input.evaluation)
    learned = check_learned(snakemake.wildcards.model, evaluation, snakemake.params.must_learn["must_learn"])
    with whole_file(snakemake.output.learned) as path:
        path.write_text(learned, encoding="utf-8")
