"""Rule get_model: check and record a model of the hub or a folder."""

from pathlib import Path

from kn_thesis.joblog import logged
from kn_thesis.models.sources import record_hub_model, record_path_model

with logged(snakemake.log[0], snakemake.input):
    folder = Path(snakemake.output.model).parent
    family, source = snakemake.params.family, snakemake.params.source
    if source["hub"]:
        record_hub_model(source["hub"]["id"], source["hub"]["revision"], family, folder)
    else:
        record_path_model(source["path"], family, folder)
