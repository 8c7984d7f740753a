"""Suppression: what knowledge neurons do to words, tested, and held against the words' company."""

SUPPRESSED = [model for model in STUDY.models if paradigms_of(model)]
IN_WORLDS = compared_worlds()
SUPPRESSION = "results/suppression/{model}/{task}"
SUPPRESSION_TABLES = {name: f"{SUPPRESSION}.{name}.parquet" for name in ("effects", "controls", "sets", "words")}


for batch in shard_batches("suppression", paradigms_of):

    rule:
        """Every studied word at every prompt, before and after each target's and number's neurons are changed."""
        name:
            f"suppress_neurons_{batch.name}"
        input:
            model=model_files(batch.model),
            prompts=batch.files("results/prompts/{model}/{task}.parquet"),
            attributions=attributions_of(batch),
        output:
            **suppression_outputs(batch),
        log:
            of_shard(f"results/logs/suppress_neurons/{batch.name}.log", is_sharded("suppression")),
        benchmark:
            of_shard(f"results/benchmarks/suppress_neurons/{batch.name}.tsv", is_sharded("suppression"))
        group:
            "suppression"
        conda:
            "../../envs/models.yaml"
        threads: 1
        resources:
            **suppression_resources(batch),
        params:
            code=code("suppress_neurons"),
            loading=loading(batch.model),
            settings=suppression_settings(),
        script:
            "../../scripts/suppress_neurons.py"


if is_sharded("suppression"):

    rule gather_suppression:
        """The tables of one model and paradigm, from the answers of its shards."""
        input:
            answers=gather.suppression(of_shard(f"{SUPPRESSION}.safetensors"), **KEPT),
            prompts="results/prompts/{model}/{task}.parquet",
        output:
            **SUPPRESSION_TABLES,
        log:
            "results/logs/gather_suppression/{model}/{task}.log",
        benchmark:
            "results/benchmarks/gather_suppression/{model}/{task}.tsv"
        group:
            "gathering"
        conda:
            "../../envs/statistics.yaml"
        params:
            code=code("gather_suppression"),
        script:
            "../../scripts/gather_suppression.py"


rule test_suppression:
    """All tests of one model: the published ones, careful ones, accuracy, and effect against company."""
    input:
        effects=lambda wildcards: files_of_paradigms(wildcards, f"{SUPPRESSION}.effects.parquet"),
        controls=lambda wildcards: files_of_paradigms(wildcards, f"{SUPPRESSION}.controls.parquet"),
        sets=lambda wildcards: files_of_paradigms(wildcards, f"{SUPPRESSION}.sets.parquet"),
        words=lambda wildcards: files_of_paradigms(wildcards, f"{SUPPRESSION}.words.parquet"),
        prompts=lambda wildcards: files_of_paradigms(wildcards, "results/prompts/{model}/{task}.parquet"),
        cooccurrence=counted_company,
    output:
        tests="results/suppression/{model}.tests.parquet",
        accuracy="results/suppression/{model}.accuracy.parquet",
        company="results/suppression/{model}.company.parquet",
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
        **of_wildcards(test_resources, "model", only=("mem_mb", "runtime")),
    params:
        code=code("test_suppression"),
        tasks=lambda wildcards: paradigms_of(wildcards.model),
        settings=entries(STUDY.suppression, "level", "published_over")
        | {"sample": STUDY.suppression.random.prompts, "sample_seed": STUDY.seed}
        | STUDY.selection.bootstrap.model_dump(),
    script:
        "../../scripts/test_suppression.py"


rule summarise_suppression:
    """The tests of all models; the experiment on words whose company was changed, in models trained anew; figures."""
    input:
        tests=expand("results/suppression/{model}.tests.parquet", model=SUPPRESSED),
        accuracy=expand("results/suppression/{model}.accuracy.parquet", model=SUPPRESSED),
        slopes=expand("results/suppression/{model}.slopes.parquet", model=SUPPRESSED),
        company=expand("results/suppression/{model}.company.parquet", model=IN_WORLDS),
        learned="results/tables/models.csv",
        published=own("resources/published.yaml"),
    output:
        **figure("suppression_words", "suppression", "words_"),
        **figure("suppression_company", "suppression", "company_"),
        **figure("suppression_accuracy", "suppression", "accuracy_"),
        **figure("suppression_variants", "suppression", "variants_"),
        suppression=table("suppression", "suppression"),
        significance=table("significance", "suppression"),
        accuracy=table("accuracy", "suppression"),
        company=table("company", "suppression"),
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
        # What was published is of models in no world of ours: it stands beside one model per family.
        families={name: STUDY.models[name].family for name in FIRST_OF_FAMILY},
        worlds={
            name: entries(STUDY.models[name], "family") | {"world": bias, "seed": STUDY.models[name].train.seed}
            for name, bias in IN_WORLDS.items()
        },
        confidence=STUDY.selection.bootstrap.confidence,
        shown=FIRST_OF_FAMILY,
    script:
        "../../scripts/summarise_suppression.py"
