"""What jobs ask a cluster for: functions of the model's size and the number of prompts, more at each attempt."""

from kn_thesis.plan import request, work
from kn_thesis.plan.shape import folder_shape, shape_from_config, trained_shape

HUB_CONFIGS = read_or_stop(given_yaml, ROOT / "resources/models.yaml")
SPEED = request.Speed(STUDY.plan.cpu_speed, STUDY.plan.gpu_speed)


def shape_of(name):
    """The sizes of a model, known before it is there; those of a large one where nothing is known."""
    model = STUDY.models[name]
    if model.train:
        return trained_shape(model.family, model.train.model_dump())
    known = folder_shape(Path(model.path)) if model.path else shape_from_config(HUB_CONFIGS.get(model.hub.id, {}))
    return known or shape_from_config(HUB_CONFIGS["unknown"])


SHAPES = {model: shape_of(model) for model in STUDY.models}


def uses_gpu(model):
    """How many GPUs a job with this model takes, where there are some."""
    return 0 if STUDY.models[model].device == "cpu" else 1


def asked(model, done, batch_tokens):
    """The resources of a job that does `done` with a model, for each attempt."""
    speed = SPEED.gpu if uses_gpu(model) else SPEED.cpu
    dtype = STUDY.models[model].dtype
    return {
        "gpu": uses_gpu(model),
        "mem_mb": lambda wildcards, attempt: request.memory_mb(SHAPES[model], dtype, batch_tokens, attempt),
        "runtime": lambda wildcards, attempt: request.minutes(done, SHAPES[model], speed, attempt),
    }


def together(works):
    """Several pieces of work in one job."""
    works = list(works)
    return work.Work(sum(one.token_layers for one in works), sum(one.predictions for one in works))


def is_masked(model):
    return objective(STUDY.models[model].family) == "masked"


def most_prompts(limit=None):
    """Most prompts of a task that a job takes; facts and pairs are not counted before they are fetched."""
    return min(limit or work.FACTS, work.FACTS)


def training_resources(model):
    train = STUDY.models[model].train
    return asked(model, work.training(SHAPES[model], train.steps, train.batch), 64 * train.batch)


def evaluation_resources(model):
    done = work.evaluation(SHAPES[model], most_prompts(STUDY.tasks.evaluated) * len(tasks_of(model)))
    return asked(model, done, STUDY.attribution.batch_tokens)


def attribution_resources(batch):
    prompts = most_prompts(STUDY.tasks.attributed) * len(batch.tasks)
    settings = entries(STUDY.attribution, "nodes")
    done = work.attribution(SHAPES[batch.model], is_masked(batch.model), prompts, settings)
    return asked(batch.model, done, STUDY.attribution.batch_tokens)


def selection_resources(batch):
    """One task's scores at a time, and bootstrap samples of its groups."""
    shape = SHAPES[batch.model]
    numbers = most_prompts(STUDY.tasks.attributed) * shape.layers * shape.intermediate
    return {
        "mem_mb": lambda wildcards, attempt: request.array_memory_mb(numbers, attempt),
        "runtime": lambda wildcards, attempt: (10 + 10 * len(batch.tasks)) * attempt,
    }


def suppression_resources(batch):
    prompts = most_prompts(STUDY.tasks.attributed) * len(batch.tasks)
    done = work.suppression(SHAPES[batch.model], is_masked(batch.model), prompts, suppression_settings())
    return asked(batch.model, done, STUDY.attribution.batch_tokens)


def tracing_resources(batch):
    prompts = most_prompts(STUDY.tracing.prompts) * len(batch.tasks)
    done = work.tracing(SHAPES[batch.model], prompts, entries(STUDY.tracing, "draws", "kinds"))
    return asked(batch.model, done, STUDY.tracing.batch_tokens)


def covariance_resources(model, editor):
    tokens = STUDY.editing.editors[editor].covariance.tokens
    return asked(model, work.covariance(SHAPES[model], tokens), STUDY.editing.batch_tokens)


def edits_work(model, editor, edits):
    """Of so many edits by one editor of a model."""
    settings = STUDY.editing.editors[editor].families[STUDY.models[model].family].model_dump()
    steps = settings.get("steps", 20)
    contexts = 1 + sum(count for _, count in settings.get("contexts") or [])
    return work.editing(SHAPES[model], edits, steps, contexts, entries(STUDY.editing, "questions", "continuations"))


def editing_resources(batch, editor, requests, layers=1):
    """Of `requests` edits per task, in each of `layers` layers."""
    done = edits_work(batch.model, editor, most_prompts(requests) * len(batch.tasks) * layers)
    return asked(batch.model, done, STUDY.editing.batch_tokens)


def example_resources(model):
    """Of a handful of edits by each editor of a model."""
    works = [edits_work(model, editor, len(EXAMPLE_EDITS)) for editor in example_editors(model)]
    return asked(model, together(works), STUDY.editing.batch_tokens)


def sweep_resources(batch):
    sweep = STUDY.editing.sweep
    return editing_resources(batch, sweep.editor, sweep.requests, -(-SHAPES[batch.model].layers // sweep.every))


def test_resources(model):
    """Tests hold every word's change at every prompt, for each set and operation."""
    words = sum(map(len, STUDY.suppression.words.model_dump().values())) + 2
    per_prompt = words * len(STUDY.suppression.operations) * 4
    rows = most_prompts(STUDY.tasks.attributed) * len(paradigms_of(model)) * per_prompt
    return {
        "mem_mb": lambda wildcards, attempt: request.table_memory_mb(rows, attempt),
        "runtime": lambda wildcards, attempt: (10 + 10 * len(paradigms_of(model))) * attempt,
    }


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
