"""Localization: attribution, selection, and what they say of each task."""


rule attribute_neurons:
    """Integrated gradients over the MLP neurons of one model for the prompts of one task."""
    input:
        model=model_files,
        prompts="results/prompts/{model}/{task}.parquet",
        # A model that has learned does not unlearn when a task is added: the check need not be repeated for this.
        learned=ancient("results/models/{model}.learned.txt"),
    output:
        attribution="results/localization/{model}/{task}.safetensors",
    log:
        "results/logs/attribute_neurons/{model}/{task}.log",
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        gpu=gpus,
    params:
        code=code("attribute_neurons"),
        loading=loading,
        settings=STUDY.attribution.model_dump(),
    script:
        "../../scripts/attribute_neurons.py"


rule select_neurons:
    """Knowledge neurons of each group of prompts, and |KN|, τ and R²₁ with their intervals."""
    input:
        attribution="results/localization/{model}/{task}.safetensors",
        prompts="results/prompts/{model}/{task}.parquet",
    output:
        neurons="results/localization/{model}/{task}.neurons.parquet",
        statistics="results/localization/{model}/{task}.statistics.parquet",
    log:
        "results/logs/select_neurons/{model}/{task}.log",
    conda:
        "../../envs/statistics.yaml"
    params:
        code=code("select_neurons"),
        settings=STUDY.selection.model_dump(),
    script:
        "../../scripts/select_neurons.py"


rule summarise_localization:
    input:
        statistics=per_task("results/localization/{model}/{task}.statistics.parquet"),
        neurons=per_task("results/localization/{model}/{task}.neurons.parquet"),
        published=own("resources/published.yaml"),
    output:
        table="results/tables/localization.csv",
        layers="results/tables/layers.csv",
    log:
        "results/logs/summarise_localization.log",
    conda:
        "../../envs/statistics.yaml"
    params:
        code=code("summarise_localization"),
        families={name: model.family for name, model in STUDY.models.items()},
    script:
        "../../scripts/summarise_localization.py"


rule plot_localization:
    input:
        table="results/tables/localization.csv",
        layers="results/tables/layers.csv",
        neurons=per_task("results/localization/{model}/{task}.neurons.parquet"),
    output:
        **figure("determiner_neurons", "localization", "determiner_"),
        **figure("neurons_per_layer", "localization", "layers_"),
        **figure("localization_by_task", "localization", "tasks_"),
    log:
        "results/logs/plot_localization.log",
    conda:
        "../../envs/statistics.yaml"
    params:
        code=code("plot_localization"),
        shown=FIRST_OF_FAMILY,
    script:
        "../../scripts/plot_localization.py"
