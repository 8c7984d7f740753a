"""Rule make_prompts: the tables of prompts of some tasks as one model's tokenizer sees them."""

from pathlib import Path

from kn_thesis.corpora.gaps import GapTokenizer
from kn_thesis.corpora.prompts import Settings, make_prompts
from kn_thesis.corpora.table import write_counts, write_prompts
from kn_thesis.errors import logged

with logged(snakemake.log[0], snakemake.input):
    tokenizer = GapTokenizer.from_folder(Path(snakemake.input.tokenizer).parent)
    settings = Settings(**snakemake.params.settings)
    named = ("pairs", "patterns", "facts")
    sources = {name: files for name in named if (files := snakemake.input.get(name))}
    for number, task in enumerate(snakemake.params.tasks):
        print(task)
        source = {name: files[number] for name, files in sources.items()}
        kind, prompts, counts = make_prompts(task, tokenizer, settings, **source)
        write_prompts(prompts, snakemake.output.prompts[number])
        write_counts(counts, task, kind, snakemake.output.counts[number])
