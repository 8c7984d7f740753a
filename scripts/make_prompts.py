"""Rule make_prompts: make the tables of prompts of some tasks with one model's tokenizer."""

from pathlib import Path

from kn_thesis.corpora.prompts import Settings, make_prompts, write_counts, write_prompts
from kn_thesis.joblog import logged
from kn_thesis.models.cloze import GapTokenizer

with logged(snakemake.log[0], snakemake.input):
    tokenizer = GapTokenizer.from_folder(Path(snakemake.input.tokenizer).parent)
    settings = Settings(**snakemake.params.settings)
    files = {name: iter(snakemake.input.get(name, ())) for name in ("pairs", "patterns", "facts")}
    tables, kept = {}, {}
    for task, kind in snakemake.params.kinds.items():
        print(task)
        names = ("pairs",) if kind == "paradigm" else ("patterns", "facts")
        kind, tables[task], counts = make_prompts(
            task, tokenizer, settings, **{name: next(files[name]) for name in names}
        )
        kept[task] = (kind, counts)
    write_prompts(tables, snakemake.output.prompts)
    write_counts(kept, snakemake.output.counts)
