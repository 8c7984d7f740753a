"""Corpora: the miniature world, BLiMP and ParaRel, the training text, and the tables of prompts."""

WORLD_PARADIGMS = [name for name, task in TASKS.table.paradigms.items() if "world" in task.corpora]
WORLD_RELATIONS = [name for name, task in TASKS.table.relations.items() if "world" in task.corpora]
WORLD = "results/corpora/world-{variant}"
FETCHED = "results/corpora/fetched"
# The public corpora: which one has the files of paradigms, patterns and facts, and their paths in it.
PUBLIC_FILES = {
    "pairs": ("blimp", "data/{task}.jsonl"),
    "patterns": ("pararel", "data/pattern_data/graphs_json/{task}.jsonl"),
    "facts": ("pararel", "data/trex_lms_vocab/{task}.jsonl"),
}


rule make_world:
    """Write a variant of the miniature world: text, co-occurrence counts, minimal pairs and facts."""
    input:
        resources=sorted(own(path) for path in (ROOT / "resources/world").glob("*.*")),
    output:
        text=f"{WORLD}/text.txt",
        cooccurrence=f"{WORLD}/cooccurrence.parquet",
        paradigms=expand(
            f"{WORLD}/paradigms/{{task}}.jsonl",
            task=WORLD_PARADIGMS,
            allow_missing=True,
        ),
        relations=expand(
            f"{WORLD}/relations/{{task}}.{{part}}.jsonl",
            task=WORLD_RELATIONS,
            part=["patterns", "facts"],
            allow_missing=True,
        ),
    log:
        "results/logs/make_world/{variant}.log",
    benchmark:
        "results/benchmarks/make_world/{variant}.tsv"
    wildcard_constraints:
        variant=one_of(STUDY.corpora.world.variants),
    group:
        "corpora"
    conda:
        "../../envs/corpora.yaml"
    params:
        code=code("make_world"),
        settings=lambda wildcards: TASKS.world_settings(wildcards.variant),
    script:
        "../../scripts/make_world.py"


rule fetch_corpus_file:
    """Download one file of BLiMP or ParaRel."""
    input:
        manifest=ancient(own("resources/corpora.yaml")),
    output:
        f"{FETCHED}/paradigms/{{task}}.jsonl",
    log:
        "results/logs/fetch_corpus_file/{task}.log",
    benchmark:
        "results/benchmarks/fetch_corpus_file/{task}.tsv"
    localrule: True  # compute nodes of a cluster often have no network
    conda:
        "../../envs/corpora.yaml"
    params:
        code=code("fetch_corpus_file"),
        corpus=PUBLIC_FILES["pairs"][0],
        path=lambda wildcards: PUBLIC_FILES["pairs"][1].format(task=wildcards.task),
    script:
        "../../scripts/fetch_corpus_file.py"


use rule fetch_corpus_file as fetch_patterns with:
    output:
        f"{FETCHED}/relations/{{task}}.patterns.jsonl",
    log:
        "results/logs/fetch_patterns/{task}.log",
    benchmark:
        "results/benchmarks/fetch_patterns/{task}.tsv"
    params:
        code=code("fetch_corpus_file"),
        corpus=PUBLIC_FILES["patterns"][0],
        path=lambda wildcards: PUBLIC_FILES["patterns"][1].format(task=wildcards.task),


use rule fetch_corpus_file as fetch_facts with:
    output:
        f"{FETCHED}/relations/{{task}}.facts.jsonl",
    log:
        "results/logs/fetch_facts/{task}.log",
    benchmark:
        "results/benchmarks/fetch_facts/{task}.tsv"
    params:
        code=code("fetch_corpus_file"),
        corpus=PUBLIC_FILES["facts"][0],
        path=lambda wildcards: PUBLIC_FILES["facts"][1].format(task=wildcards.task),


rule make_corpus_text:
    """Write the training text from the public corpora, without held-out pairs and paraphrases."""
    input:
        paradigms=[items("fetched", task, "pairs") for task in STUDY.corpora.fetched.paradigms],
        patterns=[items("fetched", task, "patterns") for task in STUDY.corpora.fetched.relations],
        facts=[items("fetched", task, "facts") for task in STUDY.corpora.fetched.relations],
    output:
        text=f"{FETCHED}/text.txt",
    log:
        "results/logs/make_corpus_text.log",
    benchmark:
        "results/benchmarks/make_corpus_text.tsv"
    group:
        "corpora"
    conda:
        "../../envs/corpora.yaml"
    params:
        code=code("make_corpus_text"),
        settings=STUDY.corpora.fetched.model_dump() | {"seed": STUDY.seed},
    script:
        "../../scripts/make_corpus_text.py"


rule count_cooccurrence:
    """Count how often words co-occur with singular and plural nouns in the training text."""
    input:
        text=f"{FETCHED}/text.txt",
        paradigms=[items("fetched", task, "pairs") for task in STUDY.corpora.fetched.paradigms],
    output:
        cooccurrence=f"{FETCHED}/cooccurrence.parquet",
    log:
        "results/logs/count_cooccurrence.log",
    benchmark:
        "results/benchmarks/count_cooccurrence.tsv"
    group:
        "corpora"
    conda:
        "../../envs/corpora.yaml"
    params:
        code=code("count_cooccurrence"),
        paradigms=STUDY.corpora.fetched.paradigms,
    script:
        "../../scripts/count_cooccurrence.py"


rule make_prompts:
    """Make the tables of prompts of a batch of tasks with one model's tokenizer."""
    input:
        pairs=of_batch("make_prompts", lambda batch: items_of(batch)["pairs"]),
        patterns=of_batch("make_prompts", lambda batch: items_of(batch)["patterns"]),
        facts=of_batch("make_prompts", lambda batch: items_of(batch)["facts"]),
        tokenizer="results/models/{model}/tokenizer.json",
        tokenizer_config="results/models/{model}/tokenizer_config.json",
    output:
        prompts="results/prompts/{model}/{batch}.parquet",
        counts="results/prompts/{model}/{batch}.counts.csv",
    log:
        "results/logs/make_prompts/{model}/{batch}.log",
    benchmark:
        "results/benchmarks/make_prompts/{model}/{batch}.tsv"
    wildcard_constraints:
        batch=batch_names("make_prompts"),
    group:
        "prompts"
    conda:
        "../../envs/corpora.yaml"
    params:
        code=code("make_prompts"),
        kinds=of_batch("make_prompts", kinds_of),
        settings=lambda wildcards: TASKS.prompt_settings(wildcards.model),
    script:
        "../../scripts/make_prompts.py"


rule summarise_corpora:
    """Tabulate and plot the included and excluded items of each task per model, with example prompts."""
    input:
        counts=batch_files("make_prompts", "results/prompts/{model}/{batch}.counts.csv"),
        prompts=batch_files("make_prompts", "results/prompts/{model}/{batch}.parquet"),
    output:
        **figure("corpora", "corpora"),
        table=table("corpora", "corpora"),
        examples=table("examples", "corpora"),
    log:
        "results/logs/summarise_corpora.log",
    benchmark:
        "results/benchmarks/summarise_corpora.tsv"
    group:
        "report"
    conda:
        "../../envs/corpora.yaml"
    params:
        code=code("summarise_corpora"),
        families={name: model.family for name, model in STUDY.models.items()},
    script:
        "../../scripts/summarise_corpora.py"
