"""Models: trained here, taken from a folder or from the hub; and what each of them has learned."""


rule train_model:
    """A tiny model of a real family with its family's kind of tokenizer."""
    input:
        text=lambda wildcards: f"results/corpora/{corpus_of(wildcards.model)}/text.txt",
    output:
        multiext(
            "results/models/{model}/",
            model="model.json",
            config="config.json",
            weights="model.safetensors",
            tokenizer="tokenizer.json",
            tokenizer_config="tokenizer_config.json",
            training="training.json",
        ),
    log:
        "results/logs/train_model/{model}.log",
    benchmark:
        "results/benchmarks/train_model/{model}.tsv"
    wildcard_constraints:
        model=one_of(TRAINED),
    priority: 100
    group:
        "training"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        **of_wildcards(training_resources, "model"),
    params:
        code=code("train_model"),
        family=lambda wildcards: STUDY.models[wildcards.model].family,
        settings=lambda wildcards: STUDY.models[wildcards.model].train.model_dump(),
    script:
        "../../scripts/train_model.py"


rule get_model:
    """A model that exists already: its revision is resolved and recorded, its tokenizer is kept, its weights stay."""
    output:
        multiext(
            "results/models/{model}/",
            model="model.json",
            tokenizer="tokenizer.json",
            tokenizer_config="tokenizer_config.json",
        ),
    log:
        "results/logs/get_model/{model}.log",
    benchmark:
        "results/benchmarks/get_model/{model}.tsv"
    wildcard_constraints:
        model=one_of(FOUND),
    priority: 100
    localrule: True  # nodes of a cluster often have no network
    conda:
        "../../envs/models.yaml"
    params:
        code=code("get_model"),
        family=lambda wildcards: STUDY.models[wildcards.model].family,
        source=lambda wildcards: entries(STUDY.models[wildcards.model], "hub", "path"),
    script:
        "../../scripts/get_model.py"


rule evaluate_model:
    """Every prompt of every task, answered by one model."""
    input:
        model=lambda wildcards: model_files(wildcards.model),
        prompts=lambda wildcards: per_task("results/prompts/{model}/{task}.parquet", [wildcards.model]),
    output:
        evaluation="results/models/{model}.evaluation.parquet",
    log:
        "results/logs/evaluate_model/{model}.log",
    benchmark:
        "results/benchmarks/evaluate_model/{model}.tsv"
    priority: 50
    group:
        "answers"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        **of_wildcards(evaluation_resources, "model"),
    params:
        code=code("evaluate_model"),
        loading=lambda wildcards: loading(wildcards.model),
        batch_tokens=STUDY.attribution.batch_tokens,
    script:
        "../../scripts/evaluate_model.py"


rule check_model:
    """Stop when a model has not learned what the configuration demands of it."""
    input:
        evaluation="results/models/{model}.evaluation.parquet",
    output:
        learned="results/models/{model}.learned.txt",
    log:
        "results/logs/check_model/{model}.log",
    benchmark:
        "results/benchmarks/check_model/{model}.tsv"
    priority: 50
    group:
        "answers"
    conda:
        "../../envs/statistics.yaml"
    params:
        code=code("check_model"),
        must_learn=lambda wildcards: entries(STUDY.models[wildcards.model], "must_learn"),
    script:
        "../../scripts/check_model.py"


# Nothing is judged or reported of models that have not learned. No other rule waits for the check: it goes before them by
# its priority, and an input marked `ancient` would hide from Snakemake what else has changed in the jobs behind it.
rule summarise_models:
    """What every model reaches on every task: the table and its figure."""
    input:
        evaluations=expand("results/models/{model}.evaluation.parquet", model=STUDY.models),
        learned=expand("results/models/{model}.learned.txt", model=STUDY.models),
    output:
        **figure("models", "models"),
        table=table("models", "models"),
    log:
        "results/logs/summarise_models.log",
    benchmark:
        "results/benchmarks/summarise_models.tsv"
    group:
        "report"
    conda:
        "../../envs/statistics.yaml"
    params:
        code=code("summarise_models"),
        families={name: model.family for name, model in STUDY.models.items()},
        must_learn={name: entries(model, "must_learn")["must_learn"] for name, model in STUDY.models.items()},
        confidence=STUDY.selection.bootstrap.confidence,
    script:
        "../../scripts/summarise_models.py"
