"""Paths of files: of tasks and models, figures and tables, and each batch's results."""


def per_task(pattern, models=None):
    """Fill {model} and {task} of `pattern` in for every model and each of its tasks."""
    return [
        pattern.format(model=model, task=task) for model in models or STUDY.models for task in TASKS.tasks_of(model)
    ]


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


def of_shard(path, sharded=True):
    """Return a job's path, with the name of the shard before its extension where tasks are split."""
    stem, extension = os.path.splitext(path)
    return f"{stem}/{{scatteritem}}{extension}" if sharded else path


def items_of(batch):
    """Return the item files of a batch's tasks in order: pairs of paradigms, patterns and facts of relations."""
    corpus = TASKS.corpus_of(batch.model)
    return {
        part: [items(corpus, task, part) for task in batch.tasks if TASKS.table[task].kind == kind]
        for kind, parts in PARTS_OF.items()
        for part in parts
    }


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
    """Return the files of a batch's attributions: the first shard of every task, then the second, and so on."""
    files = [[path] for path in batch.files("results/localization/{model}/{task}.safetensors")]
    if TASKS.is_sharded("attribution"):
        files = [gather.attribution(of_shard(path)) for [path] in files]
    return [file for shard in zip(*files, strict=True) for file in shard]


def suppression_outputs(batch):
    """Return the tables of a batch's tasks; for a shard, the answers that the tables are made from."""
    if TASKS.is_sharded("suppression"):
        return {"answers": [of_shard(path) for path in batch.files(f"{SUPPRESSION}.safetensors")]}
    return {name: batch.files(path) for name, path in SUPPRESSION_TABLES.items()}


def files_of_paradigms(wildcards, pattern):
    """Fill `pattern` in for each paradigm of a model."""
    return [pattern.format(model=wildcards.model, task=task) for task in TASKS.paradigms_of(wildcards.model)]


def cooccurrence_counts(wildcards):
    """Return the co-occurrence counts of a model's training text, if it was trained here."""
    model = wildcards.model
    return f"results/corpora/{TASKS.corpus_of(model)}/cooccurrence.parquet" if model in TRAINED else []


def edit_links(batch):
    """Return the files that the questions of each task are made from: prompts, facts, and linked relations' prompts."""
    links = {}
    for task in batch.tasks:
        linked = TASKS.linked(batch.model, task)
        files = {link: f"results/prompts/{batch.model}/{name}.parquet" for link, name in linked.items()}
        if TASKS.table[task].kind == "relation":
            files["facts"] = items(TASKS.corpus_of(batch.model), task, "facts")
        links[task] = {"prompts": f"results/prompts/{batch.model}/{task}.parquet"} | files
    return links


def edit_inputs(batch):
    """Return the inputs of a job that edits a batch of tasks."""
    files = [file for files in edit_links(batch).values() for file in files.values()]
    return {
        "model": model_files(batch.model),
        "tables": list(dict.fromkeys(files)),
        "synonyms": own("resources/synonyms.csv"),
    }


def editing_outputs(batch, editor):
    """Return the tables of each task, or of a shard of it."""
    sharded = TASKS.is_sharded("editing", editor)
    return {
        name: [of_shard(path.format(model=batch.model, editor=editor, task=task), sharded) for task in batch.tasks]
        for name, path in EDITING_TABLES.items()
    }


def covariance_of(model, editor):
    """Return the file of an editor's covariance, if it uses one."""
    return f"results/editing/{model}/{editor}.covariance.safetensors" if TASKS.uses_covariance(editor) else []


def covariance_text(model, editor):
    """Return the training text that an editor's covariance is collected over, unless a data set is used."""
    used = STUDY.editing.editors[editor].covariance
    return f"results/corpora/{TASKS.corpus_of(model)}/text.txt" if used.texts == "training" else []
