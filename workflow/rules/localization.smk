"""Localization: attribution, selection, and what they say of each task."""

for batch in shard_batches("attribution", tasks_of):

    rule:
        """Integrated gradients over the MLP neurons of one model for the prompts of each task."""
        name:
            f"attribute_neurons_{batch.name}"
        input:
            model=model_files(batch.model),
            prompts=batch.files("results/prompts/{model}/{task}.parquet"),
        output:
            attributions=[
                of_shard(path, is_sharded("attribution"))
                for path in batch.files("results/localization/{model}/{task}.safetensors")
            ],
        log:
            of_shard(f"results/logs/attribute_neurons/{batch.name}.log", is_sharded("attribution")),
        benchmark:
            of_shard(f"results/benchmarks/attribute_neurons/{batch.name}.tsv", is_sharded("attribution"))
        group:
            "attribution"
        conda:
            "../../envs/models.yaml"
        threads: 1
        resources:
            **attribution_resources(batch),
        params:
            code=code("attribute_neurons"),
            loading=loading(batch.model),
            settings=STUDY.attribution.model_dump(),
        script:
            "../../scripts/attribute_neurons.py"


for batch in shard_batches("attribution", tasks_of):

    rule:
        """Knowledge neurons of each group of prompts, and |KN|, τ and R²₁ of each task with their intervals."""
        name:
            f"select_neurons_{batch.name}"
        input:
            attributions=attributions_of(batch),
            prompts=batch.files("results/prompts/{model}/{task}.parquet"),
        output:
            neurons=batch.files("results/localization/{model}/{task}.neurons.parquet"),
            statistics=batch.files("results/localization/{model}/{task}.statistics.parquet"),
        log:
            f"results/logs/select_neurons/{batch.name}.log",
        benchmark:
            f"results/benchmarks/select_neurons/{batch.name}.tsv"
        group:
            "selection"
        conda:
            "../../envs/statistics.yaml"
        resources:
            **selection_resources(batch),
        params:
            code=code("select_neurons"),
            model=batch.model,
            tasks=batch.tasks,
            kinds=[TASKS[task].kind for task in batch.tasks],
            settings=STUDY.selection.model_dump(),
        script:
            "../../scripts/select_neurons.py"


rule summarise_localization:
    """How local each task is, in which layers its neurons lie, whether both numbers share them: tables and figures."""
    input:
        statistics=per_task("results/localization/{model}/{task}.statistics.parquet"),
        neurons=per_task("results/localization/{model}/{task}.neurons.parquet"),
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
        shown=FIRST_OF_FAMILY,
    script:
        "../../scripts/summarise_localization.py"
