"""Causal tracing: which hidden states restore the answer after the cue is corrupted, in facts and in syntax."""

TRACED = {model: tasks for model in STUDY.models if (tasks := TASKS.traced_tasks(model))}
TRACING_TABLES = {name: f"results/tracing/{{model}}/{{task}}.{name}.parquet" for name in ("prompts", "effects")}


for batch in TASKS.shard_batches("tracing", TASKS.traced_tasks):

    rule:
        """Trace the prompts that one model answers correctly: clean, corrupted, and restored token by token."""
        name:
            f"trace_prompts_{batch.name}"
        input:
            model=model_files(batch.model),
            prompts=batch.files("results/prompts/{model}/{task}.parquet"),
        output:
            **{
                name: [of_shard(path, TASKS.is_sharded("tracing")) for path in batch.files(pattern)]
                for name, pattern in TRACING_TABLES.items()
            },
        log:
            of_shard(f"results/logs/trace_prompts/{batch.name}.log", TASKS.is_sharded("tracing")),
        benchmark:
            of_shard(f"results/benchmarks/trace_prompts/{batch.name}.tsv", TASKS.is_sharded("tracing"))
        group:
            "tracing"
        conda:
            "../../envs/models.yaml"
        threads: 1
        resources:
            **batch_resources(PLAN.trace_prompts, batch),
        params:
            code=code("trace_prompts"),
            loading=TASKS.loading(batch.model),
            most=STUDY.tracing.prompts,
            settings=TASKS.tracing_settings(),
            evaluation_batch=STUDY.attribution.batch_tokens,
        script:
            "../../scripts/trace_prompts.py"


if TASKS.is_sharded("tracing"):

    rule gather_tracing:
        """Join the tables of the shards of one model and task."""
        input:
            **{name: gather.tracing(of_shard(path), **GATHER_WILDCARDS) for name, path in TRACING_TABLES.items()},
        output:
            **TRACING_TABLES,
        log:
            "results/logs/gather_tracing/{model}/{task}.log",
        benchmark:
            "results/benchmarks/gather_tracing/{model}/{task}.tsv"
        group:
            "gathering"
        conda:
            "../../envs/statistics.yaml"
        params:
            code=code("gather_tracing"),
        script:
            "../../scripts/gather_tracing.py"


rule summarise_tracing:
    """Tabulate and plot mean effects by token role, and compare early and late site per model and task."""
    input:
        [
            f"results/tracing/{model}/{task}.{table}.parquet"
            for model in TRACED
            for task in TRACED[model]
            for table in ("prompts", "effects")
        ],
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
