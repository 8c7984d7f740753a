"""Paths of files: of batches of tasks, models, figures and tables."""


def batch_files(step, pattern, models=None, **wildcards):
    """Fill {model} and {batch} of `pattern` in for every batch of a step, and {editor} if `wildcards` has it."""
    return [
        pattern.format(model=model, batch=batch.name, **wildcards)
        for model in models or STUDY.models
        for batch in TASKS.batches(step, model, **wildcards)
    ]


def batch_names(step, editors=(None,)):
    """Return the constraint of a rule's wildcard {batch}."""
    return one_of(
        sorted(
            {batch.name for model in STUDY.models for editor in editors for batch in TASKS.batches(step, model, editor)}
        )
    )


def batch_wildcards():
    """Return the wildcards of each job of the rules with batches, by rule."""
    return {
        step: [
            {"model": model, "batch": batch.name} | ({"editor": editor} if editor else {})
            for model in STUDY.models
            for editor in (TASKS.editors_of(model) if step == "edit_tasks" else [None])
            for batch in TASKS.batches(step, model, editor)
        ]
        for step in STEPS
    }


def of_batch(step, function):
    """Return an input or parameter of a rule: `function` of the batch that the job's wildcards name."""

    def of_wildcards(wildcards):
        names = wildcards.model, wildcards.batch, wildcards.get("editor")
        return function(or_stop(TASKS.batch, step, *names))

    return of_wildcards


def figure(name, chapter, prefix="", caption=None):
    """Return the SVG and PNG of a figure; the SVG is also in Snakemake's report, with the caption of that name."""
    path = f"results/figures/{name}"
    return {
        f"{prefix}svg": report(
            f"{path}.svg",
            caption=f"../report/{caption or name}.rst",
            category=chapter,
            subcategory="figures",
            labels={"figure": name.replace("_", " ")},
        ),
        f"{prefix}png": f"{path}.png",
    }


def table(name, chapter):
    """Return a CSV table for readers, which is also in Snakemake's report, with its caption."""
    return report(
        f"results/tables/{name}.csv",
        caption=f"../report/tables/{name}.rst",
        category=chapter,
        subcategory="tables",
        labels={"table": name.replace("_", " ")},
    )


def items(corpus, task, part):
    """Return the file of a task's pairs, patterns or facts: the user's own, or the corpus's."""
    if TASKS.table[task].files:
        return own(TASKS.table[task].files[part])
    place = f"paradigms/{task}" if part == "pairs" else f"relations/{task}.{part}"
    return f"results/corpora/{corpus}/{place}.jsonl"


def model_files(model):
    """Return the files that a job needs to load a model."""
    files = ["model.json", "tokenizer.json", "tokenizer_config.json"]
    files += ["config.json", "model.safetensors"] if model in TRAINED else []
    return [f"results/models/{model}/{file}" for file in files]


def prompts_of(batch, tasks=None):
    """Return the files of prompts that hold a batch's tasks, or others of its model."""
    return [
        f"results/prompts/{batch.model}/{other.name}.parquet"
        for other in TASKS.batches("make_prompts", batch.model)
        if set(other.tasks) & set(tasks or batch.tasks)
    ]


def items_of(batch):
    """Return the item files of a batch's tasks in order: pairs of paradigms, patterns and facts of relations."""
    corpus = TASKS.corpus_of(batch.model)
    return {
        part: [items(corpus, task, part) for task in batch.tasks if TASKS.table[task].kind == kind]
        for kind, parts in PARTS_OF.items()
        for part in parts
    }


def kinds_of(batch):
    """Return "paradigm" or "relation" by task."""
    return {task: TASKS.table[task].kind for task in batch.tasks}


def fetched_files():
    """Return corpus and path of each file of the public corpora that this study downloads, sorted."""
    if STUDY.corpora.source == "world":
        return []
    tasks = {task for model in STUDY.models for task in TASKS.tasks_of(model)}
    tasks |= {*STUDY.corpora.fetched.paradigms, *STUDY.corpora.fetched.relations} if TRAINED else set()
    fetched = [task for task in tasks if not TASKS.table[task].files]
    files = [(PUBLIC_FILES[part], task) for task in fetched for part in PARTS_OF[TASKS.table[task].kind]]
    return sorted([corpus, path.format(task=task)] for (corpus, path), task in files)


def validation_parts(model):
    """Return task and part ("pairs", "patterns", "facts") of each file whose validation items end the training.

    These are all tasks of the training text, whichever the study asks, so that a new task in a study does not train
    its models again.
    """
    fetched = STUDY.corpora.fetched
    written = WORLD_PARADIGMS + WORLD_RELATIONS
    about = written if STUDY.corpora.source == "world" else fetched.paradigms + fetched.relations
    if STUDY.models[model].must_learn is None:
        return []
    return [(task, part) for task in TASKS.taken_by(model, about) for part in PARTS_OF[TASKS.table[task].kind]]


def attributions(batch):
    """Return the files of the attributions of a batch's tasks; of a task that is split, all shards in order."""
    return [
        f"results/localization/{batch.model}/{other.name}.safetensors"
        for other in TASKS.batches("attribute_neurons", batch.model)
        if set(other.tasks) & set(batch.tasks)
    ]


def suppressed_shards(batch):
    """Return the answers of the shards of a batch's only task, in order."""
    return [
        f"results/suppression/{batch.model}/{shard.name}.safetensors"
        for shard in TASKS.batches("suppress_neurons", batch.model)
        if shard.tasks == batch.tasks
    ]


def files_of_paradigms(pattern):
    """Return an input of all batches of a model's paradigms, whose shards are gathered."""
    return lambda wildcards: batch_files("gather_suppression", pattern, [wildcards.model])


def cooccurrence_counts(wildcards):
    """Return the co-occurrence counts of a model's training text, if it was trained here."""
    model = wildcards.model
    return f"results/corpora/{TASKS.corpus_of(model)}/cooccurrence.parquet" if model in TRAINED else []


def edit_links(batch):
    """Return the linked relations of each task that is edited, and the file of its facts."""
    return {
        task: TASKS.linked(batch.model, task)
        | (
            {"facts": items(TASKS.corpus_of(batch.model), task, "facts")}
            if TASKS.table[task].kind == "relation"
            else {}
        )
        for task in batch.tasks
    }


def edit_inputs(step, editor=None):
    """Return the inputs of jobs that edit batches of tasks, by the rule's only editor or that of the wildcard."""

    def prompts(batch):
        linked = [name for task in batch.tasks for name in TASKS.linked(batch.model, task).values()]
        return prompts_of(batch, batch.tasks + linked)

    return {
        "model": lambda wildcards: model_files(wildcards.model),
        "prompts": of_batch(step, prompts),
        "facts": of_batch(
            step, lambda batch: [link["facts"] for link in edit_links(batch).values() if "facts" in link]
        ),
        "synonyms": own("resources/synonyms.csv"),
        "covariance": lambda wildcards: covariance_of(wildcards.model, editor or wildcards.editor),
    }


def traces(model, tasks, table):
    """Return the files of a table of tracing that hold some tasks of a model; of a task that is split, all shards."""
    return [
        TRACING_TABLES[table].format(model=model, batch=batch.name)
        for batch in TASKS.batches("trace_prompts", model)
        if set(batch.tasks) & set(tasks)
    ]


def covariance_of(model, editor):
    """Return the file of an editor's covariance, if it uses one."""
    return f"results/editing/{model}/{editor}.covariance.safetensors" if TASKS.uses_covariance(editor) else []


def covariance_text(model, editor):
    """Return the training text that an editor's covariance is collected over, unless a data set is used."""
    used = STUDY.editing.editors[editor].covariance
    return f"results/corpora/{TASKS.corpus_of(model)}/text.txt" if used.texts == "training" else []
