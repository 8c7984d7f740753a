"""Rule make_prompts: the tables of prompts of some tasks as one model's tokenizer sees them."""

from pathlib import Path

from kn_thesis.corpora.gaps import GapTokenizer
from kn_thesis.corpora.prompts import Settings, make_prompts
from kn_thesis.corpora.table import write_counts, write_prompts
from kn_thesis.errors import logged

with logged(snakemake.log[0], snakemake.input):
    tokenizer = GapTokenizer.from_folder(Path(snakemake.input.tokenizer).parent)
    settings = Settings(**snakemake.params.settings)
    files = {name: iter(snakemake.input.get(name, ())) for name in ("pairs", "patterns", "facts")}
    for number, (task, kind) in enumerate(snakemake.params.kinds.items()):
        print(task)
        names = ("pairs",) if kind == "paradigm" else ("patterns", "facts")
        kind, prompts, counts = make_prompts(task, tokenizer, settings, **{name: next(files[name]) for name in names})
        write_prompts(prompts, snakemake.output.prompts[number])
        write_counts(counts, task, kind, snakemake.output.counts[number])
