"""Editing: edits that change a model's answer, and questions about what else they change."""

EDITED = {model: tasks for model in STUDY.models if (tasks := TASKS.edited_tasks(model))}
SWEPT = {model: tasks for model in EDITED if (tasks := TASKS.swept_tasks(model))}
SWEPT_TRACES = {model: [task for task in tasks if task in TASKS.traced_tasks(model)] for model, tasks in SWEPT.items()}
EXEMPLIFIED = [model for model in STUDY.models if TASKS.example_editors(model)]
EDITING_TABLES = {
    name: f"results/editing/{{model}}/{{editor}}/{{batch}}.{name}.parquet"
    for name in ("edits", "questions", "completions")
}


rule collect_covariance:
    """Collect the second moment of the edited layer's keys over a model's training text or a data set."""
    input:
        model=lambda wildcards: model_files(wildcards.model),
        text=lambda wildcards: covariance_text(wildcards.model, wildcards.editor),
    output:
        covariance="results/editing/{model}/{editor}.covariance.safetensors",
    log:
        "results/logs/collect_covariance/{model}/{editor}.log",
    benchmark:
        "results/benchmarks/collect_covariance/{model}/{editor}.tsv"
    wildcard_constraints:
        editor=one_of(STUDY.editing.editors),
    group:
        "covariance"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        **wildcard_resources(PLAN.collect_covariance, "model", "editor"),
    params:
        code=code("collect_covariance"),
        loading=lambda wildcards: TASKS.loading(wildcards.model),
        settings=lambda wildcards: TASKS.covariance_settings(wildcards.model, wildcards.editor),
    script:
        "../../scripts/collect_covariance.py"


rule edit_tasks:
    """Edit what one model knows with one editor, and evaluate its answers before and after each edit."""
    input:
        **edit_inputs("edit_tasks"),
    output:
        **EDITING_TABLES,
    log:
        "results/logs/edit_tasks/{model}/{editor}/{batch}.log",
    benchmark:
        "results/benchmarks/edit_tasks/{model}/{editor}/{batch}.tsv"
    wildcard_constraints:
        editor=one_of(STUDY.editing.editors),
        batch=batch_names("edit_tasks", STUDY.editing.editors),
    group:
        "editing"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        **batch_resources("edit_tasks"),
    params:
        code=code("edit_tasks"),
        loading=lambda wildcards: TASKS.loading(wildcards.model),
        links=of_batch("edit_tasks", edit_links),
        shard=of_batch("edit_tasks", lambda batch: batch.shard),
        editor=lambda wildcards: TASKS.editor_settings(wildcards.model, wildcards.editor),
        settings=TASKS.edit_settings(),
    script:
        "../../scripts/edit_tasks.py"


rule sweep_layers:
    """Run ROME at every layer of one model, to find out which one edits best."""
    input:
        **edit_inputs("sweep_layers", STUDY.editing.sweep.editor),
    output:
        layers="results/editing/{model}/layers/{batch}.parquet",
    log:
        "results/logs/sweep_layers/{model}/{batch}.log",
    benchmark:
        "results/benchmarks/sweep_layers/{model}/{batch}.tsv"
    wildcard_constraints:
        batch=batch_names("sweep_layers"),
    group:
        "editing"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        **batch_resources("sweep_layers"),
    params:
        code=code("sweep_layers"),
        loading=lambda wildcards: TASKS.loading(wildcards.model),
        links=of_batch("sweep_layers", edit_links),
        editor=lambda wildcards: TASKS.editor_settings(wildcards.model, STUDY.editing.sweep.editor),
        settings=TASKS.edit_settings() | entries(STUDY.editing.sweep, "requests", "every"),
    script:
        "../../scripts/sweep_layers.py"


if EXAMPLES:

    rule edit_examples:
        """Make the study's example edits in one model with each editor, and continue prompts before and after."""
        input:
            model=lambda wildcards: model_files(wildcards.model),
            examples=own(EXAMPLES),
            covariance=lambda wildcards: [
                covariance_of(wildcards.model, editor)
                for editor in TASKS.example_editors(wildcards.model)
                if covariance_of(wildcards.model, editor)
            ],
        output:
            table="results/editing/{model}/examples.parquet",
        log:
            "results/logs/edit_examples/{model}.log",
        benchmark:
            "results/benchmarks/edit_examples/{model}.tsv"
        wildcard_constraints:
            model=one_of(EXEMPLIFIED),
        group:
            "editing"
        conda:
            "../../envs/models.yaml"
        threads: 1
        resources:
            **wildcard_resources(PLAN.edit_examples, "model"),
        params:
            code=code("edit_examples"),
            loading=lambda wildcards: TASKS.loading(wildcards.model),
            editors=lambda wildcards: {
                editor: TASKS.editor_settings(wildcards.model, editor)
                for editor in TASKS.example_editors(wildcards.model)
            },
            covariances=lambda wildcards: {
                editor: covariance_of(wildcards.model, editor) for editor in TASKS.example_editors(wildcards.model)
            },
            settings=entries(STUDY.editing, "batch_tokens")
            | entries(STUDY.editing.continuations, "tokens")
            | {"seed": STUDY.seed},
        script:
            "../../scripts/edit_examples.py"


rule summarise_editing:
    """Tabulate and plot the editing criteria, their tests, the layer sweep, both directions and example edits."""
    input:
        **{
            name: [
                file
                for model in EDITED
                for editor in TASKS.editors_of(model)
                for file in batch_files("edit_tasks", pattern, [model], editor=editor)
            ]
            for name, pattern in EDITING_TABLES.items()
        },
        layers=[
            file
            for model in SWEPT
            for file in batch_files("sweep_layers", "results/editing/{model}/layers/{batch}.parquet", [model])
        ],
        traced=[file for model, tasks in SWEPT_TRACES.items() for file in traces(model, tasks, "prompts")],
        effects=[file for model, tasks in SWEPT_TRACES.items() for file in traces(model, tasks, "effects")],
        examples=[f"results/editing/{model}/examples.parquet" for model in EXEMPLIFIED],
        published=own("resources/published.yaml"),
    output:
        **({"examples": table("editing_examples", "editing")} if EXAMPLES else {}),
        **figure("editing_criteria", "editing", "criteria_"),
        **figure("editing_agreement", "editing", "agreement_"),
        **figure("editing_layers", "editing", "layers_"),
        **figure("editing_directions", "editing", "directions_"),
        editing=table("editing", "editing"),
        tests=table("editing_tests", "editing"),
        skipped="results/tables/editing_skipped.csv",
        fluency=table("editing_fluency", "editing"),
        layers=table("editing_layers", "editing"),
        localization=table("editing_localization", "editing"),
        directions=table("editing_directions", "editing"),
        completions=table("editing_completions", "editing"),
    log:
        "results/logs/summarise_editing.log",
    benchmark:
        "results/benchmarks/summarise_editing.tsv"
    group:
        "report"
    conda:
        "../../envs/statistics.yaml"
    params:
        code=code("summarise_editing"),
        tasks=EDITED,
        editors={model: TASKS.editors_of(model) for model in EDITED},
        kinds={task: TASKS.table[task].kind for tasks in EDITED.values() for task in tasks},
        families={model: STUDY.models[model].family for model in EDITED},
        swept=SWEPT,
        traced=SWEPT_TRACES,
        pairs=TASKS.direction_pairs(EDITED),
        shown=STUDY.editing.continuations.shown,
        exemplified=EXEMPLIFIED,
        drawn=[model for model in TASKS.first_of_family if model in EDITED],
        settings=entries(STUDY.editing, "level") | STUDY.selection.bootstrap.model_dump(),
    script:
        "../../scripts/summarise_editing.py"
