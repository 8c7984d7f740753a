"""Localization: attribution of answers to MLP neurons, selection of knowledge neurons, and statistics."""

for batch in TASKS.shard_batches("attribution", TASKS.tasks_of):

    rule:
        """Compute integrated gradients over the MLP neurons of one model for the prompts of each task."""
        name:
            f"attribute_neurons_{batch.name}"
        input:
            model=model_files(batch.model),
            prompts=batch.files("results/prompts/{model}/{task}.parquet"),
        output:
            attributions=[
                of_shard(path, TASKS.is_sharded("attribution"))
                for path in batch.files("results/localization/{model}/{task}.safetensors")
            ],
        log:
            of_shard(f"results/logs/attribute_neurons/{batch.name}.log", TASKS.is_sharded("attribution")),
        benchmark:
            of_shard(f"results/benchmarks/attribute_neurons/{batch.name}.tsv", TASKS.is_sharded("attribution"))
        group:
            "attribution"
        conda:
            "../../envs/models.yaml"
        threads: 1
        resources:
            **batch_resources(PLAN.attribute_neurons, batch),
        params:
            code=code("attribute_neurons"),
            loading=TASKS.loading(batch.model),
            settings=STUDY.attribution.model_dump(),
        script:
            "../../scripts/attribute_neurons.py"


for batch in TASKS.shard_batches("attribution", TASKS.tasks_of):

    rule:
        """Select the knowledge neurons of each group of prompts; estimate |KN|, τ and R²₁ of each task."""
        name:
            f"select_neurons_{batch.name}"
        input:
            attributions=attributions(batch),
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
            **resources_of(PLAN.select_neurons, batch),
        params:
            code=code("select_neurons"),
            model=batch.model,
            tasks=batch.tasks,
            kinds=[TASKS.table[task].kind for task in batch.tasks],
            settings=STUDY.selection.model_dump(),
        script:
            "../../scripts/select_neurons.py"


rule summarise_localization:
    """Tabulate and plot how local each task is, its neurons' layers, and the overlap of singular and plural."""
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
        shown=TASKS.first_of_family,
    script:
        "../../scripts/summarise_localization.py"
