"""Localization: attribution of answers to MLP neurons, selection of knowledge neurons, and statistics."""


rule attribute_neurons:
    """Compute integrated gradients over the MLP neurons of one model for the prompts of a batch of tasks."""
    input:
        model=lambda wildcards: model_files(wildcards.model),
        prompts=of_batch("attribute_neurons", prompts_of),
    output:
        attributions="results/localization/{model}/{batch}.safetensors",
    log:
        "results/logs/attribute_neurons/{model}/{batch}.log",
    benchmark:
        "results/benchmarks/attribute_neurons/{model}/{batch}.tsv"
    wildcard_constraints:
        batch=batch_names("attribute_neurons"),
    group:
        "attribution"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        **batch_resources("attribute_neurons"),
    params:
        code=code("attribute_neurons"),
        loading=lambda wildcards: TASKS.loading(wildcards.model),
        tasks=of_batch("attribute_neurons", lambda batch: batch.tasks),
        shard=of_batch("attribute_neurons", lambda batch: batch.shard),
        settings=STUDY.attribution.model_dump(),
    script:
        "../../scripts/attribute_neurons.py"


rule select_neurons:
    """Select the knowledge neurons of each group of prompts; estimate |KN|, τ and R²₁ of each task of a batch."""
    input:
        attributions=of_batch("select_neurons", attributions),
        prompts=of_batch("select_neurons", prompts_of),
    output:
        neurons="results/localization/{model}/{batch}.neurons.parquet",
        statistics="results/localization/{model}/{batch}.statistics.parquet",
    log:
        "results/logs/select_neurons/{model}/{batch}.log",
    benchmark:
        "results/benchmarks/select_neurons/{model}/{batch}.tsv"
    wildcard_constraints:
        batch=batch_names("select_neurons"),
    group:
        "selection"
    conda:
        "../../envs/statistics.yaml"
    resources:
        **batch_resources("select_neurons", gpu=False),
    params:
        code=code("select_neurons"),
        kinds=of_batch("select_neurons", kinds_of),
        settings=STUDY.selection.model_dump(),
    script:
        "../../scripts/select_neurons.py"


rule summarise_localization:
    """Tabulate and plot how local each task is, its neurons' layers, and the overlap of singular and plural."""
    input:
        statistics=batch_files("select_neurons", "results/localization/{model}/{batch}.statistics.parquet"),
        neurons=batch_files("select_neurons", "results/localization/{model}/{batch}.neurons.parquet"),
        published=own("resources/published.yaml"),
    output:
        **figure("determiner_neurons", "localization", "determiner_"),
        **figure("neurons_per_layer", "localization", "layers_"),
        **figure("localization_by_task", "localization", "tasks_"),
        table=table("localization", "localization"),
        layers=table("layers", "localization"),
        layers_by_task=table("layers_by_task", "localization"),
        number_neurons=table("number_neurons", "localization"),
    log:
        "results/logs/summarise_localization.log",
    benchmark:
        "results/benchmarks/summarise_localization.tsv"
    group:
        "report"
    conda:
        "../../envs/statistics.yaml"
    params:
        code=code("summarise_localization"),
        families={name: model.family for name, model in STUDY.models.items()},
        shown=TASKS.first_of_family,
    script:
        "../../scripts/summarise_localization.py"
