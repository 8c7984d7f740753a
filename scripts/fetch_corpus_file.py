"""Rule fetch_corpus_file: one pinned file of BLiMP or ParaRel."""

import os

from kn_thesis.corpora.fetch import fetch
from kn_thesis.corpora.manifest import pinned_file
from kn_thesis.errors import logged

with logged(snakemake.log[0]):
    transfer = {"retries": 5, "timeout": 30} | dict(snakemake.params.get("transfer") or {})
    file = pinned_file(snakemake.input.manifest, snakemake.params.corpus, snakemake.params.path)
    fetch(file, snakemake.output[0], mirror=os.environ.get("KN_MIRROR"), **transfer)
