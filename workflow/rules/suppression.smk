"""Suppression: effects of changed knowledge neurons on words, their tests, and the words' co-occurrence."""

SUPPRESSED = [model for model in STUDY.models if TASKS.paradigms_of(model)]
IN_WORLDS = TASKS.compared_worlds()
SUPPRESSION = "results/suppression/{model}/{batch}"
SUPPRESSION_TABLES = {name: f"{SUPPRESSION}.{name}.parquet" for name in ("effects", "controls", "sets", "words")}


rule suppress_neurons:
    """Evaluate every studied word at every prompt before and after changing each target's and number's neurons."""
    input:
        model=lambda wildcards: model_files(wildcards.model),
        prompts=of_batch("suppress_neurons", prompts_of),
        attributions=of_batch("suppress_neurons", attributions),
    output:
        # The tables of paradigms are made from all shards' answers.
        **({"answers": f"{SUPPRESSION}.safetensors"} if TASKS.is_sharded("suppression") else SUPPRESSION_TABLES),
    log:
        "results/logs/suppress_neurons/{model}/{batch}.log",
    benchmark:
        "results/benchmarks/suppress_neurons/{model}/{batch}.tsv"
    wildcard_constraints:
        batch=batch_names("suppress_neurons"),
    group:
        "suppression"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        **batch_resources("suppress_neurons"),
    params:
        code=code("suppress_neurons"),
        loading=lambda wildcards: TASKS.loading(wildcards.model),
        tasks=of_batch("suppress_neurons", lambda batch: batch.tasks),
        shard=of_batch("suppress_neurons", lambda batch: batch.shard),
        settings=TASKS.suppression_settings(),
    script:
        "../../scripts/suppress_neurons.py"


if TASKS.is_sharded("suppression"):

    rule gather_suppression:
        """Make the tables of one model and paradigm from the answers of its shards."""
        input:
            answers=of_batch("gather_suppression", suppressed_shards),
            prompts=of_batch("gather_suppression", prompts_of),
        output:
            **SUPPRESSION_TABLES,
        log:
            "results/logs/gather_suppression/{model}/{batch}.log",
        benchmark:
            "results/benchmarks/gather_suppression/{model}/{batch}.tsv"
        wildcard_constraints:
            batch=batch_names("gather_suppression"),
        group:
            "gathering"
        conda:
            "../../envs/statistics.yaml"
        params:
            code=code("gather_suppression"),
            tasks=of_batch("gather_suppression", lambda batch: batch.tasks),
        script:
            "../../scripts/gather_suppression.py"


rule test_suppression:
    """Run all tests of one model: published and paired tests, accuracy, and effect against co-occurrence."""
    input:
        effects=files_of_paradigms(f"{SUPPRESSION}.effects.parquet"),
        controls=files_of_paradigms(f"{SUPPRESSION}.controls.parquet"),
        sets=files_of_paradigms(f"{SUPPRESSION}.sets.parquet"),
        words=files_of_paradigms(f"{SUPPRESSION}.words.parquet"),
        prompts=lambda wildcards: prompts_of(wildcards, TASKS.paradigms_of(wildcards.model)),
        cooccurrence=cooccurrence_counts,
    output:
        tests="results/suppression/{model}.tests.parquet",
        accuracy="results/suppression/{model}.accuracy.parquet",
        cooccurrence="results/suppression/{model}.cooccurrence.parquet",
        slopes="results/suppression/{model}.slopes.parquet",
    log:
        "results/logs/test_suppression/{model}.log",
    benchmark:
        "results/benchmarks/test_suppression/{model}.tsv"
    group:
        "tests"
    conda:
        "../../envs/statistics.yaml"
    resources:
        **wildcard_resources(PLAN.test_suppression, "model", gpu=False),
    params:
        code=code("run_suppression_tests"),
        settings=entries(STUDY.suppression, "level", "published_over")
        | {"sample": STUDY.suppression.random.prompts, "sample_seed": STUDY.seed}
        | STUDY.selection.bootstrap.model_dump(),
    script:
        "../../scripts/run_suppression_tests.py"


rule summarise_suppression:
    """Tabulate and plot all models' tests, and the experiment in models trained on changed co-occurrence."""
    input:
        tests=expand("results/suppression/{model}.tests.parquet", model=SUPPRESSED),
        accuracy=expand("results/suppression/{model}.accuracy.parquet", model=SUPPRESSED),
        slopes=expand("results/suppression/{model}.slopes.parquet", model=SUPPRESSED),
        cooccurrence=expand("results/suppression/{model}.cooccurrence.parquet", model=IN_WORLDS),
        learned="results/tables/models.csv",
        published=own("resources/published.yaml"),
    output:
        **figure("suppression_words", "suppression", "words_"),
        **figure("suppression_cooccurrence", "suppression", "cooccurrence_"),
        **figure("suppression_accuracy", "suppression", "accuracy_"),
        **figure("suppression_variants", "suppression", "variants_"),
        suppression=table("suppression", "suppression"),
        significance=table("significance", "suppression"),
        accuracy=table("accuracy", "suppression"),
        cooccurrence=table("cooccurrence", "suppression"),
        variants=table("variants", "suppression"),
        effects="results/tables/variant_effects.csv",
    log:
        "results/logs/summarise_suppression.log",
    benchmark:
        "results/benchmarks/summarise_suppression.tsv"
    group:
        "report"
    conda:
        "../../envs/statistics.yaml"
    params:
        code=code("summarise_suppression"),
        models=SUPPRESSED,
        # Published values belong to no world of this study, so they are shown beside one model per family.
        families={name: STUDY.models[name].family for name in TASKS.first_of_family},
        worlds={
            name: entries(STUDY.models[name], "family") | {"world": bias, "seed": STUDY.models[name].train.seed}
            for name, bias in IN_WORLDS.items()
        },
        confidence=STUDY.selection.bootstrap.confidence,
        shown=TASKS.first_of_family,
    script:
        "../../scripts/summarise_suppression.py"
