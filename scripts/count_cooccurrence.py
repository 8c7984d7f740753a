"""Rule count_cooccurrence: count how often words co-occur with nouns in the training text from the public corpora."""

from pathlib import Path

from kn_thesis.corpora.blimp import load_pairs
from kn_thesis.corpora.cooccurrence import (
    PARAPHRASE_NOUNS,
    cooccurrence_in_text,
    noun_numbers,
    summary,
    write_cooccurrence,
)
from kn_thesis.joblog import logged

with logged(snakemake.log[0], snakemake.input):
    sentences = Path(snakemake.input.text).read_text(encoding="utf-8").splitlines()
    paradigms = zip(snakemake.params.paradigms, snakemake.input.paradigms, strict=True)
    nouns = noun_numbers({task: load_pairs(path) for task, path in paradigms}, PARAPHRASE_NOUNS)
    cooccurrence = cooccurrence_in_text(sentences, nouns)
    write_cooccurrence(cooccurrence, snakemake.output.cooccurrence)
    print(summary(len(sentences), nouns, cooccurrence))
