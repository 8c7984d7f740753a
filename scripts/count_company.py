"""Rule count_company: the company that words keep in the text made from the fetched corpora."""

from pathlib import Path

from kn_thesis.corpora.blimp import load_pairs
from kn_thesis.corpora.company import company_in_text, summary, write_company
from kn_thesis.corpora.noun_numbers import PARAPHRASE_NOUNS, noun_numbers
from kn_thesis.errors import logged

with logged(snakemake.log[0], snakemake.input):
    sentences = Path(snakemake.input.text).read_text(encoding="utf-8").splitlines()
    paradigms = zip(snakemake.params.paradigms, snakemake.input.paradigms, strict=True)
    nouns = noun_numbers({task: load_pairs(path) for task, path in paradigms}, PARAPHRASE_NOUNS)
    company = company_in_text(sentences, nouns)
    write_company(company, snakemake.output.cooccurrence)
    print(summary(len(sentences), nouns, company))
