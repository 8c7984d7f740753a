"""Rule pack_report: pack the report into one archive."""

from kn_thesis.joblog import logged
from kn_thesis.report.pages import pack

with logged(snakemake.log[0], snakemake.input):
    pack([*snakemake.input.pages, *snakemake.input.notebooks, snakemake.input.tables], snakemake.output.archive)
