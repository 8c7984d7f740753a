"""Models: trained here, or taken from a folder or the hub; and their accuracy on each task."""


rule train_model:
    """Train a tiny model of a real family, with its family's kind of tokenizer."""
    input:
        text=lambda wildcards: f"results/corpora/{TASKS.corpus_of(wildcards.model)}/text.txt",
        validation=lambda wildcards: [
            items(TASKS.corpus_of(wildcards.model), *part) for part in validation_parts(wildcards.model)
        ],
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
        **wildcard_resources(PLAN.train_model, "model"),
    params:
        code=code("train_model"),
        family=lambda wildcards: STUDY.models[wildcards.model].family,
        settings=lambda wildcards: STUDY.models[wildcards.model].train.model_dump(),
        parts=lambda wildcards: validation_parts(wildcards.model),
        prompts=lambda wildcards: TASKS.prompt_settings(wildcards.model) | {"split": "validation"},
        demands=lambda wildcards: entries(STUDY.models[wildcards.model], "must_learn")["must_learn"],
    script:
        "../../scripts/train_model.py"


rule get_model:
    """Check and record a model of the hub or a folder, and copy its tokenizer; its weights stay where they are."""
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
        model=one_of(TASKS.pretrained),
    priority: 100
    localrule: True  # compute nodes of a cluster often have no network
    conda:
        "../../envs/models.yaml"
    params:
        code=code("get_model"),
        family=lambda wildcards: STUDY.models[wildcards.model].family,
        source=lambda wildcards: entries(STUDY.models[wildcards.model], "hub", "path"),
    script:
        "../../scripts/get_model.py"


rule evaluate_model:
    """Evaluate one model on every prompt of every task, and log the tasks that it has not learned."""
    input:
        model=lambda wildcards: model_files(wildcards.model),
        prompts=lambda wildcards: batch_files(
            "make_prompts", "results/prompts/{model}/{batch}.parquet", [wildcards.model]
        ),
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
        **wildcard_resources(PLAN.evaluate_model, "model"),
    params:
        code=code("evaluate_model"),
        loading=lambda wildcards: TASKS.loading(wildcards.model),
        batch_tokens=STUDY.attribution.batch_tokens,
        demands=lambda wildcards: entries(STUDY.models[wildcards.model], "must_learn", "on_not_learned"),
    script:
        "../../scripts/evaluate_model.py"


rule summarise_models:
    """Tabulate and plot the accuracy of every model on every task."""
    input:
        evaluations=expand("results/models/{model}.evaluation.parquet", model=STUDY.models),
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
