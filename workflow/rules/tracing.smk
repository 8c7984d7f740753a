"""Causal tracing: which hidden states restore the answer after the cue is corrupted, in facts and in syntax."""

TRACED = {model: tasks for model in STUDY.models if (tasks := TASKS.traced_tasks(model))}
TRACING_TABLES = {name: f"results/tracing/{{model}}/{{batch}}.{name}.parquet" for name in ("prompts", "effects")}


rule trace_prompts:
    """Trace the prompts that one model answers correctly: clean, corrupted, and restored token by token."""
    input:
        model=lambda wildcards: model_files(wildcards.model),
        prompts=of_batch("trace_prompts", prompts_of),
    output:
        **TRACING_TABLES,
    log:
        "results/logs/trace_prompts/{model}/{batch}.log",
    benchmark:
        "results/benchmarks/trace_prompts/{model}/{batch}.tsv"
    wildcard_constraints:
        batch=batch_names("trace_prompts"),
    group:
        "tracing"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        **batch_resources("trace_prompts"),
    params:
        code=code("trace_prompts"),
        loading=lambda wildcards: TASKS.loading(wildcards.model),
        tasks=of_batch("trace_prompts", lambda batch: batch.tasks),
        shard=of_batch("trace_prompts", lambda batch: batch.shard),
        most=STUDY.tracing.prompts,
        settings=TASKS.tracing_settings(),
        evaluation_batch=STUDY.attribution.batch_tokens,
    script:
        "../../scripts/trace_prompts.py"


rule summarise_tracing:
    """Tabulate and plot mean effects by token role, and compare early and late site per model and task."""
    input:
        **{name: batch_files("trace_prompts", pattern, list(TRACED)) for name, pattern in TRACING_TABLES.items()},
    output:
        **figure("tracing_examples", "tracing", "examples_"),
        **figure("tracing_roles", "tracing", "roles_"),
        **figure("tracing_lines", "tracing", "lines_"),
        **figure("tracing_sites", "tracing", "sites_"),
        tracing=table("tracing", "tracing"),
        roles=table("tracing_roles", "tracing"),
        comparison=table("tracing_comparison", "tracing"),
        skipped="results/tables/tracing_skipped.csv",
        examples="results/tables/tracing_examples.csv",
    log:
        "results/logs/summarise_tracing.log",
    benchmark:
        "results/benchmarks/summarise_tracing.tsv"
    group:
        "report"
    conda:
        "../../envs/statistics.yaml"
    params:
        code=code("summarise_tracing"),
        tasks=TRACED,
        kinds={task: TASKS.table[task].kind for tasks in TRACED.values() for task in tasks},
        families={model: STUDY.models[model].family for model in TRACED},
        shown=STUDY.tracing.shown,
        drawn=[model for model in TASKS.first_of_family if model in TRACED],
        settings=entries(STUDY.tracing, "boundary", "level") | STUDY.selection.bootstrap.model_dump(),
    script:
        "../../scripts/summarise_tracing.py"
