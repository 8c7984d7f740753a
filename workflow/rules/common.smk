"""What all rules share: the checked configuration, the hash of a script's code, who takes which task."""

import json
import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

from snakemake.utils import update_config

ROOT = Path(workflow.basedir).parent
SCRIPTS = ROOT / "scripts"
LOCK = ROOT / "envs/requirements.txt"
sys.path.insert(0, str(SCRIPTS))

from kn_thesis.addresses import without_login
from kn_thesis.configuration.check import COMMAND_LINE, check_configuration, check_own_files
from kn_thesis.configuration.command_line import as_the_schema_has_it
from kn_thesis.configuration.layers import read_layer
from kn_thesis.configuration.tasks import TASKS_FILE, objective, takes, task_table, with_own
from kn_thesis.editing.examples import read_examples
from kn_thesis.errors import UserError
from kn_thesis.files import check_room
from kn_thesis.given_yaml import given_yaml
from kn_thesis.one_run import SNAKEMAKE, begin_run, remove_left_lock
from kn_thesis.provenance import code_hash

# Sums depend on how many threads add them up: every job has one unless its rule says otherwise.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"


def shown(path):
    """A file's name as the user would write it: relative to here where that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)


def or_stop(action, *arguments, before="error: "):
    """What `action` returns; what the user can mend is printed, a line each after `before`, and the run ends."""
    try:
        return action(*arguments)
    except UserError as error:
        print(f"{before}{error}", file=sys.stderr)
        sys.exit(1)


def read_or_stop(read, *arguments):
    """The same for files that people write."""
    return or_stop(read, *arguments, before="The configuration cannot be used.\n")


# Snakemake has no clear word for a full disk, and takes the lock of a run that was killed for that of a living one.
if workflow.is_main_process:
    or_stop(check_room, SNAKEMAKE)
    if found := remove_left_lock(SNAKEMAKE):
        print(found, file=sys.stderr)


onstart:
    if workflow.is_main_process and workflow.execution_settings.lock:
        or_stop(begin_run, SNAKEMAKE, workflow.local_exec)


def read_study():
    """The typed configuration; raises UserError with every mistake in it."""
    layers = [(shown(path), read_layer(path)) for path in dict.fromkeys(map(str, workflow.configfiles))]
    if given := as_the_schema_has_it(workflow.config_settings.config or {}):
        update_config(config, given)
        layers.append((COMMAND_LINE, given))
    study = check_configuration(config, layers, TASKS)
    if workflow.is_main_process:  # a job has what it needs of them, or says so
        check_own_files(study, layers, ROOT)
    return study


TASKS = read_or_stop(lambda: task_table(given_yaml(ROOT / TASKS_FILE)))
STUDY = read_or_stop(read_study)
TASKS = with_own(TASKS, STUDY.tasks.own.model_dump())
EXAMPLES = STUDY.editing.examples
EXAMPLE_EDITS = read_or_stop(read_examples, ROOT / EXAMPLES).examples if EXAMPLES else ()

TRAINED = [name for name, model in STUDY.models.items() if model.train]
FOUND = [name for name, model in STUDY.models.items() if not model.train]
# Figures with a panel per model show one trained model per family: the others differ in their world or seed alone.
FIRST_TRAINED = {STUDY.models[name].family: name for name in reversed(TRAINED)}
FIRST_OF_FAMILY = [name for name in STUDY.models if name in FOUND or name in FIRST_TRAINED.values()]

# Where files come from, and how patiently, says nothing of what is in them: it is no parameter of a result.
MIRROR = os.getenv("KN_MIRROR") or STUDY.corpora.mirror or ""
if STUDY.corpora.mirror:
    # Parameters and the configuration are kept with results: who logs in at the mirror is not.
    STUDY.corpora.mirror = config["corpora"]["mirror"] = without_login(STUDY.corpora.mirror)
if MIRROR and "://" not in MIRROR:
    # A folder is named from where the command was given, which `--directory` leaves.
    MIRROR = str(Path(os.getenv("PWD", ROOT), MIRROR).resolve())
os.environ.update(KN_MIRROR=MIRROR, KN_RETRIES=str(STUDY.corpora.retries), KN_TIMEOUT=str(STUDY.corpora.timeout))


wildcard_constraints:
    model="[^/]+",
    task="[^/.]+",
    variant="[^/]+",


def own(path):
    """A file of this repository, as named from the folder that the study runs in."""
    return os.path.relpath(ROOT / path)


def entries(section, *keys):
    """Some entries of a section of the configuration, as plain values that a job can be given."""
    values = section.model_dump(mode="json")
    return {key: values[key] for key in keys}


def one_of(names):
    """A wildcard's constraint: one of these names, or nothing at all when there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


def code(script):
    """Hash of a rule's script, the modules it imports and their packages' locked versions: a parameter of the rule.

    Made for rules that have a job alone: a job on a cluster reads the workflow anew.
    """
    return lambda wildcards: code_hash(SCRIPTS / f"{script}.py", SCRIPTS, LOCK)


def corpus_of(model):
    """The corpus whose tasks a model is asked, and whose text it is trained on."""
    return f"world-{STUDY.models[model].world}" if STUDY.corpora.source == "world" else "fetched"


def tasks_of(model, kinds=("paradigms", "relations")):
    """The configured tasks that a model is asked and its kind can take, in the configuration's order."""
    return taken_of(model, [task for kind in kinds for task in getattr(STUDY.tasks, kind)])


def taken_of(model, tasks):
    """Those of some tasks that a model is asked and its kind can take."""
    kind_of_model, only = objective(STUDY.models[model].family), STUDY.models[model].tasks
    return [task for task in tasks if takes(TASKS, task, kind_of_model) and (only is None or task in only)]


class Batch(NamedTuple):
    """Tasks of one model that one job does, one after the other; `name` tells it from other jobs of its rule."""

    name: str
    model: str
    tasks: list[str]

    def files(self, pattern):
        """`pattern` with {model} and {task} filled in for each task."""
        return [pattern.format(model=self.model, task=task) for task in self.tasks]


def batches(tasks_of_model, apart=True, size=None):
    """Each model's tasks in batches of at most `size`, by default `tasks.per_job`; each batch has its own rule.

    Where they do not fit in one, paradigms and relations are `apart` or not: a further paradigm leaves relations alone.
    A wildcard cannot stand for several tasks, and a job for each would spend most of a small study on imports.
    """
    found = []
    for model in STUDY.models:
        tasks, size = tasks_of_model(model), size or STUDY.tasks.per_job
        kinds = [[task for task in tasks if TASKS[task].kind == kind] for kind in ("paradigm", "relation")]
        kinds = kinds if apart and len(tasks) > size else [tasks]
        parts = [kind[start : start + size] for kind in kinds for start in range(0, len(kind), size)]
        found += [Batch(f"{model}_{number}", model, part) for number, part in enumerate(parts, 1)]
    return found


def per_task(pattern, models=None):
    """`pattern` with {model} and {task} filled in for every model and each of its tasks."""
    return [pattern.format(model=model, task=task) for model in models or STUDY.models for task in tasks_of(model)]


def figure(name, chapter, prefix="", caption=None):
    """Both forms of a figure; the SVG stands in Snakemake's own report, too, with its caption (that of its own name)."""
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
    """A table that people open; it stands in Snakemake's own report, too, with its caption."""
    return report(
        f"results/tables/{name}.csv",
        caption=f"../report/tables/{name}.rst",
        category=chapter,
        subcategory="tables",
        labels={"table": name.replace("_", " ")},
    )


def world_settings(variant):
    """What the world's text depends on: the settings that all variants share, and this variant's own."""
    world = STUDY.corpora.world.model_dump()
    return world.pop("variants")[variant] | world


def items(corpus, task, part):
    """The file of a task's pairs, patterns or facts: the user's own, or the corpus's."""
    if TASKS[task].files:
        return own(TASKS[task].files[part])
    place = f"paradigms/{task}" if part == "pairs" else f"relations/{task}.{part}"
    return f"results/corpora/{corpus}/{place}.jsonl"


# Files of a task's raw items, by the kind of task.
PARTS_OF = {"paradigm": ["pairs"], "relation": ["patterns", "facts"]}


def items_of(batch):
    """The raw items of a batch's tasks, in their order: pairs of paradigms, patterns and facts of relations."""
    corpus = corpus_of(batch.model)
    return {
        part: [items(corpus, task, part) for task in batch.tasks if TASKS[task].kind == kind]
        for kind, parts in PARTS_OF.items()
        for part in parts
    }


def fetched_files():
    """Corpus and path of each file of the public corpora that this study fetches, in order."""
    if STUDY.corpora.source == "world":
        return []
    tasks = {task for model in STUDY.models for task in tasks_of(model)}
    tasks |= {*STUDY.corpora.fetched.paradigms, *STUDY.corpora.fetched.relations} if TRAINED else set()
    parts = {"paradigm": ["paradigms"], "relation": ["patterns", "facts"]}
    fetched = [task for task in tasks if not TASKS[task].files]
    files = [(PUBLIC_FILES[part], task) for task in fetched for part in parts[TASKS[task].kind]]
    return sorted([corpus, path.format(task=task)] for (corpus, path), task in files)


def prompt_settings(model):
    """How many prompts; and, for a model trained on fetched text, which pairs and paraphrases it never saw."""
    settings = entries(STUDY.tasks, "evaluated", "attributed", "max_target_tokens")
    settings |= {"seed": STUDY.seed}
    if model in TRAINED and STUDY.corpora.source == "fetched":
        kept_out = ("held_out", "held_out_patterns", "validation", "validation_patterns")
        settings |= entries(STUDY.corpora.fetched, *kept_out, "facts")
    return settings


def validation_parts(model):
    """Task and part ("pairs", "patterns", "facts") of each file whose validation items decide when training ends.

    They are all that the text is about, whatever the study asks: another task asked trains no model anew.
    """
    fetched = STUDY.corpora.fetched
    written = WORLD_PARADIGMS + WORLD_RELATIONS
    about = written if STUDY.corpora.source == "world" else fetched.paradigms + fetched.relations
    if STUDY.models[model].must_learn is None:
        return []
    return [(task, part) for task in taken_of(model, about) for part in PARTS_OF[TASKS[task].kind]]


def model_files(model):
    """What has to be there before a model can be loaded."""
    files = ["model.json", "tokenizer.json", "tokenizer_config.json"]
    files += ["config.json", "model.safetensors"] if model in TRAINED else []
    return [f"results/models/{model}/{file}" for file in files]


def loading(model):
    """How a model is loaded."""
    return entries(STUDY.models[model], "dtype", "device", "gpus")


def suppression_settings():
    """What is changed, in which words, against how many random sets."""
    random = STUDY.suppression.random
    return (
        entries(STUDY.suppression, "operations", "words")
        | entries(STUDY.selection, "coarse", "share")
        | entries(STUDY.tasks, "max_target_tokens")
        | entries(STUDY.attribution, "batch_tokens", "neuron")
        | {"random_sets": random.sets, "random_prompts": random.prompts, "nearest": random.nearest}
        | {"seed": STUDY.seed}
    )


def traced_tasks(model):
    """The tasks of a model that are traced, in the configuration's order."""
    asked = STUDY.tracing.tasks
    return [task for task in tasks_of(model) if asked is None or task in asked]


def tracing_settings():
    """How prompts are corrupted and restored, as tracing.prompt.Settings has it."""
    window = STUDY.tracing.window
    return (
        entries(STUDY.tracing, "noise", "draws", "kinds", "batch_tokens")
        | {"window": window.layers / window.of}
        | {"seed": STUDY.seed}
    )


def paradigms_of(model):
    """The paradigms that a model is asked."""
    return tasks_of(model, ["paradigms"])


def files_of_paradigms(wildcards, pattern):
    """`pattern` for each paradigm that a model is asked."""
    return [pattern.format(model=wildcards.model, task=task) for task in paradigms_of(wildcards.model)]


def compared_worlds():
    """The models that the experiment on words' company compares, and the bias of each one's world.

    Their worlds differ in nothing else. Of a family with several such sets of models it is the largest.
    """
    sets = {}
    for model in TRAINED if STUDY.corpora.source == "world" else ():
        if not paradigms_of(model):
            continue
        settings = world_settings(STUDY.models[model].world)
        bias = settings.pop("bias")
        sets.setdefault((STUDY.models[model].family, json.dumps(settings)), {})[model] = bias
    largest = {}
    for (family, _), biases in sets.items():
        if len(set(biases.values())) > 1 and len(biases) > len(largest.get(family, ())):
            largest[family] = biases
    return {model: bias for biases in largest.values() for model, bias in biases.items()}


def counted_company(wildcards):
    """Counts of the text that a model was trained on; nobody has them for a model from elsewhere."""
    return f"results/corpora/{corpus_of(wildcards.model)}/cooccurrence.parquet" if wildcards.model in TRAINED else []


def edited_tasks(model):
    """The tasks of a model whose answers are edited, in the configuration's order."""
    return [task for task in STUDY.editing.tasks if task in tasks_of(model)]


def editors_of(model):
    """The editors that have settings for a model's family."""
    return [name for name, editor in STUDY.editing.editors.items() if STUDY.models[model].family in editor.families]


def example_editors(model):
    """The editors that make the example edits in a model that goes on with texts.

    None that looks for a fact's neurons: it needs further wordings of the fact, which an example does not have.
    """
    if objective(STUDY.models[model].family) == "masked":
        return []
    return [name for name in editors_of(model) if STUDY.editing.editors[name].method != "knowledge_neuron"]


EXEMPLIFIED = [model for model in STUDY.models if EXAMPLES and example_editors(model)]


def swept_tasks(model):
    """The edited relations of a model in which every layer is edited."""
    sweep = STUDY.editing.sweep
    return [task for task in sweep.tasks if task in edited_tasks(model)] if sweep.editor in editors_of(model) else []


def linked(model, task):
    """A relation's inverse and its synonym, as far as the model is asked them."""
    names = {"inverse": TASKS[task].inverse, "synonym": TASKS[task].synonym}
    return {link: name for link, name in names.items() if name in tasks_of(model)}


def edit_links(batch):
    """For each task of a batch the files that its questions are made of: prompts, facts, and those of linked relations."""
    links = {}
    for task in batch.tasks:
        files = {
            link: f"results/prompts/{batch.model}/{name}.parquet" for link, name in linked(batch.model, task).items()
        }
        if TASKS[task].kind == "relation":
            files["facts"] = items(corpus_of(batch.model), task, "facts")
        links[task] = {"prompts": f"results/prompts/{batch.model}/{task}.parquet"} | files
    return links


def edit_inputs(batch):
    """What has to be there before a batch of tasks can be edited."""
    files = [file for files in edit_links(batch).values() for file in files.values()]
    return {
        "model": model_files(batch.model),
        "tables": list(dict.fromkeys(files)),
        "synonyms": own("resources/synonyms.csv"),
    }


def editor_settings(model, editor):
    """An editor's method, and its settings for the model, or else for its family."""
    chosen = STUDY.editing.editors[editor].model_dump(mode="json")
    own_settings = chosen.pop("families")[STUDY.models[model].family]
    own_settings = chosen.pop("models", {}).get(model, own_settings)
    covariance = chosen.pop("covariance", None)
    if chosen["method"] == "knowledge_neuron":
        own_settings |= entries(STUDY.selection, "coarse", "share") | entries(STUDY.attribution, "quadrature")
    return chosen | own_settings | {"covariance": covariance is not None}


def edit_settings():
    """Which requests, what is asked, and what is continued."""
    return (
        entries(STUDY.editing, "requests", "questions", "batch_tokens")
        | {"continued": entries(STUDY.editing.continuations, "tokens", "samples", "top") | {"seed": STUDY.seed}}
        | entries(STUDY.tasks, "max_target_tokens")
        | {"seed": STUDY.seed}
    )


def covariance_of(model, editor):
    """The file of an editor's covariance, if it uses one."""
    used = getattr(STUDY.editing.editors[editor], "covariance", None)
    return f"results/editing/{model}/{editor}.covariance.safetensors" if used else []


def covariance_text(model, editor):
    """The text that an editor's covariance is collected over, unless that is a data set."""
    used = STUDY.editing.editors[editor].covariance
    return f"results/corpora/{corpus_of(model)}/text.txt" if used.texts == "training" else []


def covariance_settings(model, editor):
    """Layers (all of them where they are swept), tokens, and the data set, if any."""
    chosen = STUDY.editing.editors[editor]
    used, swept = chosen.covariance.model_dump(mode="json"), editor == STUDY.editing.sweep.editor and swept_tasks(model)
    return {
        "layers": None if swept else [editor_settings(model, editor)["layer"]],
        "tokens": used["tokens"],
        "batch_tokens": STUDY.editing.batch_tokens,
        "source": None if used["texts"] == "training" else used["texts"],
    }


def direction_pairs(edited):
    """Pairs of edited models of one family whose worlds state capitals in both directions, and in one."""
    variants = STUDY.corpora.world.variants
    if STUDY.corpora.source != "world":
        return []
    found = {way: [] for way in ("both", "one_way")}
    for model in edited:
        found[variants[STUDY.models[model].world].directions].append(model)
    pairs = []
    for one_way in found["one_way"]:
        settings = STUDY.models[one_way]
        for both in found["both"]:
            twin = STUDY.models[both]
            alike = variants[twin.world].bias == variants[settings.world].bias
            if twin.family == settings.family and twin.train == settings.train and alike:
                pairs.append({"family": settings.family, "both": both, "one_way": one_way})
    return pairs
