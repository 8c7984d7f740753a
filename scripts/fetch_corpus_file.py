"""Rule fetch_corpus_file: one pinned file of BLiMP or ParaRel."""

import os

from kn_thesis.corpora.fetch import fetch
from kn_thesis.corpora.manifest import pinned_file
from kn_thesis.errors import logged

with logged(snakemake.log[0], snakemake.input):
    # From the environment, not from parameters: how a file is fetched changes nothing in it.
    transfer = {"retries": int(os.environ["KN_RETRIES"]), "timeout": float(os.environ["KN_TIMEOUT"])}
    file = pinned_file(snakemake.input.manifest, snakemake.params.corpus, snakemake.params.path)
    fetch(file, snakemake.output[0], mirror=os.environ["KN_MIRROR"] or None, **transfer)
