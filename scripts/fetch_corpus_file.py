"""Rule fetch_corpus_file: download one pinned file of BLiMP or ParaRel."""

import os

from kn_thesis.corpora.fetch import fetch, pinned_file
from kn_thesis.joblog import logged

with logged(snakemake.log[0], snakemake.input):
    # Taken from the environment, not from parameters: the transfer does not change the file's content.
    transfer = {"retries": int(os.environ["KN_RETRIES"]), "timeout": float(os.environ["KN_TIMEOUT"])}
    file = pinned_file(snakemake.input.manifest, snakemake.params.corpus, snakemake.params.path)
    fetch(file, snakemake.output[0], mirror=os.environ["KN_MIRROR"] or None, **transfer)
