"""What jobs take, by the sizes of models and tasks: asked for of a cluster, more at each attempt, and shown by `make plan`."""

from dataclasses import asdict, replace
from functools import cache
import json

from kn_thesis.plan import jobs, request, sizes, work
from kn_thesis.plan.editing import Edits, questions_of
from kn_thesis.plan.shape import GATED, folder_shape, shape_from_config, trained_shape

HUB_CONFIGS = read_or_stop(given_yaml, ROOT / "resources/models.yaml")
SPEED = request.Speed(STUDY.plan.cpu_speed, STUDY.plan.gpu_speed)
# Tokens per word of running text, and of targets, by where a tokenizer is from: the hub, or a text that it was trained on,
# which has nearly all words whole. None is known before it is there.
TOKENS_PER_WORD = {"found": 1.25, "trained": 1.05}
TOKENS_OF_TARGET = {
    "masked": {"found": (1.05, 1.0), "trained": (1.05, 1.0)},
    "causal": {"found": (1.1, 1.4), "trained": (1.05, 1.0)},
}  # of a paradigm, of a relation
# Texts that are read beside a prompt, per word whose probability is looked at: those that the tokenizer has in pieces. One
# trained on a text has a word of that text whole, as the studies here ask them; others cost as many texts as pieces.
LONGER = {"world": 0.005, "fetched": 0.05, "found": 0.05}
SENTENCE = 10  # tokens of a sentence of the training text
NUMBER_SETS = 1  # suppressed beside those of each target: a number's neurons, or those that both share
UNKNOWN = sizes.Size(1000, 200, 10, 6, 4)  # a task of which nothing is known


def shape_of(name):
    """The sizes of a model, known before it is there; those of a large one where nothing is known."""
    model = STUDY.models[name]
    if model.train:
        return trained_shape(model.family, model.train.model_dump())
    known = folder_shape(Path(model.path)) if model.path else shape_from_config(HUB_CONFIGS.get(model.hub.id, {}))
    return known or shape_from_config(HUB_CONFIGS["unknown"])


def uses_gpu(model):
    """How many GPUs a job with this model takes, where there are some."""
    return 0 if STUDY.models[model].device == "cpu" else STUDY.models[model].gpus


def is_masked(model):
    return objective(STUDY.models[model].family) == "masked"


MODELS = {
    model: jobs.Model(
        shape_of(model), is_masked(model), STUDY.models[model].dtype, SPEED.gpu if uses_gpu(model) else SPEED.cpu
    )
    for model in STUDY.models
}


@cache
def known_sizes():
    return sizes.read_sizes(read_or_stop(given_yaml, ROOT / sizes.SIZES_FILE))


@cache
def size_of(model, task):
    """A task as a model is asked it, before a sample is drawn: see plan.sizes.Size."""
    kind = objective(STUDY.models[model].family)
    if TASKS[task].files:
        files = {part: ROOT / path for part, path in TASKS[task].files.items()}
        try:
            return sizes.count_task(task, kind, files)
        except UserError:
            return UNKNOWN  # the job that reads them says what is wrong
    size = known_sizes()[STUDY.corpora.source].get((task, kind), UNKNOWN)
    if model in TRAINED and STUDY.corpora.source == "fetched":
        if TASKS[task].kind == "paradigm":
            return size.share(size.prompts * (STUDY.corpora.fetched.held_out or 1), size.groups)
        facts = min(size.groups, STUDY.corpora.fetched.facts or size.groups)
        return size.share(size.prompts * facts / max(1, size.groups), facts)
    return size


def tokenizer_of(model):
    """Where a model's tokenizer is from."""
    return "found" if model in FOUND else "trained"


def in_tokens(model, task, size, most=None):
    """The prompts of a task in tokens; at most so many of them."""
    kind, source, paradigm = objective(STUDY.models[model].family), tokenizer_of(model), TASKS[task].kind == "paradigm"
    ratio, target = TOKENS_PER_WORD[source], TOKENS_OF_TARGET[kind][source][not paradigm]
    special = 2 if is_masked(model) else int(STUDY.models[model].family in GATED)
    prompts = size.prompts if most is None else min(size.prompts, most)
    # A masked model sees as many masks as the target has tokens.
    tokens = size.words * ratio + special + (target - 1 if is_masked(model) else 0)
    behind = 0 if not size.behind else tokens if is_masked(model) else size.behind * ratio
    return work.Task(prompts, tokens, target, behind, size.last * ratio, paradigm)


def asked_prompts(model, tasks):
    """All prompts of each task that the study asks."""
    most = STUDY.tasks.evaluated
    return [in_tokens(model, task, sizes.asked(size_of(model, task), most)) for task in tasks]


def localized(model, tasks):
    """What is localized of each task: prompts and groups."""
    most = min(STUDY.tasks.attributed, STUDY.tasks.evaluated)
    return [sizes.attributed(size_of(model, task), TASKS[task].kind, most) for task in tasks]


def suppressed_sets(model, tasks):
    return [size.groups + NUMBER_SETS for size in localized(model, tasks)]


def edits_of(model, tasks, requests):
    """At most `requests` edits of each task, and what is asked of each."""
    found = []
    for task, prompts in zip(tasks, asked_prompts(model, tasks), strict=True):
        size = size_of(model, task)
        each = size.prompts / max(1, size.groups)
        links = {link: _paraphrases(model, name) for link, name in linked(model, task).items()}
        asked, criteria = questions_of(
            prompts.paradigm, STUDY.editing.questions.each, STUDY.editing.questions.others, each, **links
        )
        considered = prompts.prompts if prompts.paradigm else prompts.prompts / each
        count = min(considered, requests or considered)
        found.append(Edits(count, considered, prompts, asked, criteria, 1 if prompts.paradigm else each))
    return found


def _paraphrases(model, task):
    size = size_of(model, task)
    return size.prompts / max(1, size.groups)


def of_one_shard(chapter, tasks, editor=None):
    """Tasks, or edits of tasks, as far as one job takes them."""
    if not is_sharded(chapter, editor):
        return tasks
    size = "count" if chapter == "editing" else "prompts"
    return [replace(task, **{size: getattr(task, size) / SHARDS[chapter]}) for task in tasks]


def of_each_shard(chapter, job, editor=None):
    """The job, once for each shard of a task."""
    return [job] * (SHARDS[chapter] if is_sharded(chapter, editor) else 1)


def training_job(model):
    return jobs.training(MODELS[model], STUDY.models[model].train.model_dump(), SENTENCE)


def evaluation_job(model):
    return jobs.evaluation(MODELS[model], asked_prompts(model, tasks_of(model)), STUDY.attribution.batch_tokens)


def attribution_job(batch):
    tasks = zip(batch.tasks, localized(batch.model, batch.tasks), strict=True)
    tasks = of_one_shard("attribution", [in_tokens(batch.model, task, size) for task, size in tasks])
    return jobs.attribution(MODELS[batch.model], tasks, STUDY.attribution.nodes, STUDY.attribution.batch_tokens)


def selection_job(batch):
    some = localized(batch.model, batch.tasks)
    tasks = [in_tokens(batch.model, task, size) for task, size in zip(batch.tasks, some, strict=True)]
    return jobs.selection(MODELS[batch.model], tasks, [size.groups for size in some])


def suppression_job(batch):
    tasks = of_one_shard("suppression", asked_prompts(batch.model, batch.tasks))
    sets = suppressed_sets(batch.model, batch.tasks)
    longer = {"longer": LONGER[STUDY.corpora.source if batch.model in TRAINED else "found"]}
    settings = suppression_settings() | longer
    return jobs.suppression(MODELS[batch.model], tasks, sets, settings, STUDY.attribution.batch_tokens)


def test_job(model):
    tasks = paradigms_of(model)
    return jobs.tests(MODELS[model], asked_prompts(model, tasks), suppressed_sets(model, tasks), suppression_settings())


def tracing_job(batch):
    tasks = asked_prompts(batch.model, batch.tasks)
    traced = [replace(task, prompts=min(task.prompts, STUDY.tracing.prompts)) for task in tasks]
    traced = of_one_shard("tracing", traced)
    batches = STUDY.tracing.batch_tokens, STUDY.attribution.batch_tokens
    return jobs.tracing(MODELS[batch.model], tasks, traced, tracing_settings(), *batches)


def covariance_job(model, editor):
    settings = covariance_settings(model, editor)
    layers = range(MODELS[model].shape.layers) if settings["layers"] is None else settings["layers"]
    return jobs.covariance(MODELS[model], settings["tokens"], layers, settings["batch_tokens"])


def editing_job(batch, editor, requests):
    tasks = asked_prompts(batch.model, batch.tasks)
    edits = of_one_shard("editing", edits_of(batch.model, batch.tasks, requests), editor)
    continued, most = entries(STUDY.editing.continuations, "tokens", "samples"), STUDY.editing.batch_tokens
    return jobs.edits(MODELS[batch.model], tasks, edits, editor_settings(batch.model, editor), continued, most)


def sweep_job(batch):
    sweep, most = STUDY.editing.sweep, STUDY.editing.batch_tokens
    tasks, edits = asked_prompts(batch.model, batch.tasks), edits_of(batch.model, batch.tasks, sweep.requests)
    return jobs.sweep(MODELS[batch.model], tasks, edits, editor_settings(batch.model, sweep.editor), sweep.every, most)


def examples_job(model):
    """The example edits by each editor, one after the other."""
    edits = len(EXAMPLE_EDITS)
    continued = sum(len(example.continued) for example in EXAMPLE_EDITS)
    source = tokenizer_of(model)
    tokens = TOKENS_PER_WORD[source] * sum(len(example.prompt.split()) for example in EXAMPLE_EDITS) / edits
    task = work.Task(edits, tokens, TOKENS_OF_TARGET["causal"][source][1], last=tokens / 2)
    asked = Edits(edits, edits, task, 2, continued / edits)
    written = {"tokens": STUDY.editing.continuations.tokens, "samples": 0}
    parts = [
        jobs.edits(MODELS[model], [], [asked], editor_settings(model, editor), written, STUDY.editing.batch_tokens)
        for editor in example_editors(model)
    ]
    return jobs.in_one(parts, jobs.stored.table("examples", continued * len(parts)))


def requested(job, *about, gpu=None):
    """The resources of a job, for each attempt; what it takes is worked out when it is asked for."""
    planned = cache(lambda: job(*about))
    memory = {"mem_mb": lambda wildcards, attempt: request.memory_mb(planned().peak_mb, attempt)}
    time = {"runtime": lambda wildcards, attempt: request.minutes(planned().seconds, attempt)}
    return ({} if gpu is None else {"gpu": gpu}) | memory | time


def attribution_resources(batch):
    return requested(attribution_job, batch, gpu=uses_gpu(batch.model))


def selection_resources(batch):
    return requested(selection_job, batch)


def suppression_resources(batch):
    return requested(suppression_job, batch, gpu=uses_gpu(batch.model))


def tracing_resources(batch):
    return requested(tracing_job, batch, gpu=uses_gpu(batch.model))


def editing_resources(batch, editor, requests):
    return requested(editing_job, batch, editor, requests, gpu=uses_gpu(batch.model))


def example_resources(model):
    return requested(examples_job, model, gpu=uses_gpu(model))


def sweep_resources(batch):
    return requested(sweep_job, batch, gpu=uses_gpu(batch.model))


def training_resources(model):
    return requested(training_job, model, gpu=uses_gpu(model))


def evaluation_resources(model):
    return requested(evaluation_job, model, gpu=uses_gpu(model))


def test_resources(model):
    return requested(test_job, model)


def covariance_resources(model, editor):
    return requested(covariance_job, model, editor, gpu=uses_gpu(model))


def of_wildcards(resources, *names, only=("gpu", "mem_mb", "runtime")):
    """The same for a rule whose model (and editor) are wildcards."""
    return {
        name: lambda wildcards, attempt, name=name: _value(
            resources(*(getattr(wildcards, key) for key in names))[name], wildcards, attempt
        )
        for name in only
    }


def _value(resource, wildcards, attempt):
    return resource(wildcards, attempt) if callable(resource) else resource


def planned_jobs():
    """Chapter, name of the rule, model and what it takes, of each job that a model has part in, and of the worlds."""
    if STUDY.corpora.source == "world":
        written = jobs.stored.WORLD_TASKS + jobs.stored.SENTENCE * STUDY.corpora.world.sentences
        for _ in {model.world for model in STUDY.models.values()}:
            yield "corpora", "make_world", "", jobs.without_model(written)
    for model in TRAINED:
        yield "models", "train_model", model, training_job(model)
    for model in FOUND:
        yield "models", "get_model", model, jobs.loaded(MODELS[model])
    for model in STUDY.models:
        yield "models", "evaluate_model", model, evaluation_job(model)
    for batch in batches(tasks_of):
        written = sum(jobs.stored.table("prompts", task.prompts) for task in asked_prompts(batch.model, batch.tasks))
        prepared = jobs.without_model(written, request.SMALL_START + 0.2 * len(batch.tasks))
        yield "corpora", f"make_prompts_{batch.name}", batch.model, prepared
    for batch in shard_batches("attribution", tasks_of):
        for job in of_each_shard("attribution", attribution_job(batch)):
            yield "localization", f"attribute_neurons_{batch.name}", batch.model, job
        yield "localization", f"select_neurons_{batch.name}", batch.model, selection_job(batch)
    for batch in shard_batches("suppression", paradigms_of):
        for job in of_each_shard("suppression", suppression_job(batch)):
            yield "suppression", f"suppress_neurons_{batch.name}", batch.model, job
    for model in filter(paradigms_of, STUDY.models):
        yield "suppression", "test_suppression", model, test_job(model)
    for batch in shard_batches("tracing", traced_tasks):
        for job in of_each_shard("tracing", tracing_job(batch)):
            yield "tracing", f"trace_prompts_{batch.name}", batch.model, job
    edited = lambda model: edited_tasks(model) if editors_of(model) else []
    for batch in shard_batches("editing", edited, apart=False):
        for editor in editors_of(batch.model):
            for job in of_each_shard("editing", editing_job(batch, editor, STUDY.editing.requests), editor):
                yield "editing", f"edit_tasks_{batch.name}_{editor}", batch.model, job
    for batch in batches(lambda model: swept_tasks(model) if edited_tasks(model) else [], apart=False):
        yield "editing", f"sweep_layers_{batch.name}", batch.model, sweep_job(batch)
    for model in EXEMPLIFIED:
        yield "editing", "edit_examples", model, examples_job(model)
    for model in STUDY.models:
        for editor in editors_of(model) if edited_tasks(model) else []:
            if covariance_of(model, editor):
                yield "editing", "collect_covariance", model, covariance_job(model, editor)


# `make plan` has this file read by a dry run, and adds up what it finds there (scripts/plan_study.py).
if plan := os.getenv("KN_PLAN"):
    content = {
        "study": STUDY.study,
        "speed": asdict(SPEED),
        "models": {name: asdict(model) | {"gpu": uses_gpu(name)} for name, model in MODELS.items()},
        "jobs": [
            {"chapter": chapter, "name": name, "model": model, **asdict(job)}
            for chapter, name, model, job in planned_jobs()
        ],
    }
    Path(plan).write_text(json.dumps(content), encoding="utf-8")
