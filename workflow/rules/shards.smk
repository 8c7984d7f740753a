"""Large tasks are split over jobs, a shard of their prompts each: a lost shard costs one shard, and no number changes."""

from kn_thesis.shards import apart

LARGEST = 1000  # prompts of a task, where nothing else limits them: BLiMP has so many pairs, ParaRel no more facts


def shards_of(chapter, most):
    """Over how many jobs tasks of up to `most` prompts (None: any number) are split."""
    size = getattr(STUDY.tasks.shards, chapter)
    return 1 if size is None else -(-min(most or LARGEST, LARGEST) // size)


SHARDS = {
    "attribution": shards_of("attribution", STUDY.tasks.attributed),
    "suppression": shards_of("suppression", STUDY.tasks.evaluated),
    "tracing": shards_of("tracing", STUDY.tracing.prompts),
    "editing": shards_of("editing", STUDY.editing.requests),
}


scattergather:
    **SHARDS,


KEPT = {name: f"{{{name}}}" for name in ("model", "task", "editor")}  # wildcards that gathering leaves alone


def is_sharded(chapter, editor=None):
    """Whether tasks are split: by editors only whose requests have nothing to do with each other."""
    return SHARDS[chapter] > 1 and (editor is None or apart(STUDY.editing.editors[editor].method))


def shard_batches(chapter, tasks_of_model, apart=True):
    """`batches`, or where tasks are split a batch for each task."""
    return batches(tasks_of_model, apart, 1 if is_sharded(chapter) else None)


def of_shard(path, sharded=True):
    """A path of a job's own, with the shard's name before its extension where tasks are split."""
    stem, extension = os.path.splitext(path)
    return f"{stem}/{{scatteritem}}{extension}" if sharded else path


def attributions(model, task):
    """The files of a task's attributions: one, or one of each shard."""
    path = f"results/localization/{model}/{task}.safetensors"
    return gather.attribution(of_shard(path)) if is_sharded("attribution") else [path]


def attributions_of(batch):
    """The same of all tasks of a batch, the first shard of each before the second of any."""
    files = [attributions(batch.model, task) for task in batch.tasks]
    return [file for shard in zip(*files, strict=True) for file in shard]


def suppression_outputs(batch):
    """A task's tables, or a shard's answers, of which they are made."""
    if is_sharded("suppression"):
        return {"answers": [of_shard(path) for path in batch.files(f"{SUPPRESSION}.safetensors")]}
    return {name: batch.files(path) for name, path in SUPPRESSION_TABLES.items()}


def editing_outputs(batch, editor):
    """The tables of each task, or of a shard of it."""
    sharded = is_sharded("editing", editor)
    return {
        name: [of_shard(path.format(model=batch.model, editor=editor, task=task), sharded) for task in batch.tasks]
        for name, path in EDITING_TABLES.items()
    }
