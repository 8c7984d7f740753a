"""Rule make_corpus_text: write the training text from BLiMP and ParaRel, without held-out pairs and paraphrases."""

from kn_thesis.corpora.blimp import load_pairs
from kn_thesis.corpora.pararel import load_facts, load_patterns
from kn_thesis.corpora.training_text import corpus_sentences, write_text
from kn_thesis.joblog import logged

with logged(snakemake.log[0], snakemake.input):
    settings = snakemake.params.settings
    source = snakemake.input
    relations = zip(settings["relations"], source.patterns, source.facts, strict=True)
    sentences = corpus_sentences(
        {task: load_pairs(path) for task, path in zip(settings["paradigms"], source.paradigms, strict=True)},
        {task: (load_patterns(patterns), load_facts(facts)) for task, patterns, facts in relations},
        held_out=settings["held_out"],
        held_out_patterns_count=settings["held_out_patterns"],
        validation=settings["validation"],
        validation_patterns_count=settings["validation_patterns"],
        facts=settings["facts"],
        repeats=settings["repeats"],
        seed=settings["seed"],
    )
    write_text(sentences, snakemake.output.text)
    print(f"{len(sentences):,} sentences")
