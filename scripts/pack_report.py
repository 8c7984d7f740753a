"""Rule pack_report: the report in one archive."""

from kn_thesis.errors import logged
from kn_thesis.report.archive import pack

with logged(snakemake.log[0], snakemake.input):
    pack([*snakemake.input.pages, *snakemake.input.notebooks, snakemake.input.tables], snakemake.output.archive)
