"""Rule make_prompts: the table of prompts of one task as one model's tokenizer sees them."""

from pathlib import Path

from kn_thesis.corpora.gaps import GapTokenizer
from kn_thesis.corpora.prompts import Settings, make_prompts
from kn_thesis.corpora.table import write_counts, write_prompts
from kn_thesis.errors import logged

with logged(snakemake.log[0]):
    task = snakemake.wildcards.task
    tokenizer = GapTokenizer.from_folder(Path(snakemake.input.tokenizer).parent)
    settings = Settings(**snakemake.params.settings)
    source = {name: snakemake.input.get(name) for name in ("pairs", "patterns", "facts")}
    kind, prompts, counts = make_prompts(task, tokenizer, settings, **source)
    write_prompts(prompts, snakemake.output.prompts)
    write_counts(counts, task, kind, snakemake.output.counts)
