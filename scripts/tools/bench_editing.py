"""Benchmark of editing: ROME edits and questions about them, the plain algorithm one by one against ours in a batch.

    python scripts/tools/bench_editing.py [--quick] [--models gpt2 llama] [--threads 2] [--output FILE]

Models have real shapes and random weights; words are random, a token each. An edit computes v* (losses over the bare
prompt, 20 texts with a prefix, and the KL text, in every step, so that each edit costs the same), the weight update,
and the answers to 17 questions, two each, before and after. The plain algorithm (tests/reference/editing.py) runs the
whole unedited model for each text, step and token of an answer. It is timed on some of the edits, ours on all. The exit
code is 1 when v* or the answers' log-probabilities differ; it does not depend on the speed-up (bench_models.py).
`--quick` takes small models and checks agreement alone.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np

import _path  # noqa: F401
from bench_models import concluded, measured, parse_arguments, random_model, stated
from kn_thesis.editing.evaluation import predict
from kn_thesis.editing.requests import Question, Request
from kn_thesis.editing.rome import Settings, find_edits
from kn_thesis.editing.weight_update import Edit
from kn_thesis.models.cloze import GapTokenizer
from kn_thesis.models.families import FAMILIES
from tests.reference.editing import evaluate, read, rome, value_module

BOUNDS = {"gpt2": 3.0}  # times faster, at least, as stated
AGREEMENT = 1e-4  # of v*, relative to its length
LOGARITHMS = 1e-3  # of answers' log-probabilities, in nats: the effect of a v* that differs by AGREEMENT
REQUESTS = 16
SOME = 2  # edits of the plain algorithm
PREFIXES = (5,) * 10 + (10,) * 10  # tokens
QUESTIONS = {"reliability": 1, "generality": 6, "locality": 10}
SUBJECT = (2, 3)  # index of its first word in the prompt, and number of its words
COLUMNS = (
    *("model", "algorithm", "layer", "layers", "texts", "steps", "questions", "edits", "seconds", "seconds_editing"),
    *("seconds_asking", "edits_per_second", "peak_mib", "measure"),
)


def main() -> int:
    """Run all benchmarks, print a table and write the CSV; return 1 when a bound on a difference is missed."""
    arguments = parse_arguments("Plain editing against ours on random models.", "editing")
    rows: list[dict[str, object]] = []
    causal = [family for family in arguments.models if FAMILIES[family].objective == "causal"]
    missed = [line for family in causal for line in bench(family, arguments.quick, rows)]
    return concluded(rows, COLUMNS, missed, arguments.output)


def bench(family: str, quick: bool, rows: list[dict[str, object]]) -> list[str]:
    """Measure one family, print, append to `rows`, and return a line on each missed bound."""
    model = random_model(family, quick)
    model.positions, model.tokenizer = model.adapter.longest, words_of(model.adapter.vocabulary)
    layers = model.adapter.layers
    # As deep as layer 17 of gpt2-xl's 48.
    settings = Settings(layer=round(17 / 48 * layers), stop=0.0)
    contexts = [random_words(model, length, number) for number, length in enumerate(PREFIXES)]
    requests = [random_request(model, number) for number in range(REQUESTS)]
    questions = [random_questions(model, request, number) for number, request in enumerate(requests)]
    about = {"model": family, "layer": settings.layer, "layers": layers, "texts": len(contexts) + 2}
    about |= {"steps": settings.steps, "questions": sum(QUESTIONS.values())}
    print(f"{family}: layer {settings.layer} of {layers}, {settings.steps} losses over {about['texts']} texts", end="")
    print(f" of 10 to 22 tokens, {about['questions']} questions", flush=True)
    ours(model, requests[:1], questions[:1], contexts[:1], settings)  # the first call is slower
    plain = [plainly(model, *pair, contexts, settings) for pair in list(zip(requests, questions, strict=True))[:SOME]]
    # Other work on the machine only adds time, so the fastest run counts.
    speed = {"plain": report_speed("plain", plain, 1, about, rows)}
    runs = [ours(model, requests, questions, contexts, settings)]
    speed["ours"] = report_speed("ours", runs, REQUESTS, about, rows)
    value = max(off_value(run, edit) for run, edit in zip(plain, runs[0].edits, strict=False))
    log = max(float(np.abs(a - b.answers).max()) for a, b in zip(runs[0].answers, plain, strict=False))
    moved = max(float(np.abs(np.subtract(*run.answers)).max()) for run in plain)
    ratio = speed["ours"] / speed["plain"]
    rows.append({"model": family, "measure": "speed-up"} | stated(ratio, None if quick else BOUNDS.get(family)))
    for measure, number in (("v*", value), ("answers", log), ("largest change", moved)):
        rows.append({"model": family, "measure": measure, "value": f"{number:.4g}"})
    print(f"  speed-up: {ratio:.1f} times")
    print(
        f"  v* differs by {value:.1e} of its length (at most {AGREEMENT:.0e}), answers by {log:.1e} nats",
        end="",
    )
    print(f" (at most {LOGARITHMS:.0e}; edits change them by up to {moved:.2g})\n", flush=True)
    missed = []
    if not value <= AGREEMENT:
        missed.append(f"{family}'s v* differs from the plain algorithm's by {value:.1e} of its length")
    if not log <= LOGARITHMS:
        missed.append(f"{family}'s answers differ from the plain algorithm's by {log:.1e} nats")
    return missed


def report_speed(
    algorithm: str, runs: list[SimpleNamespace], edits: int, about: dict[str, object], rows: list[dict[str, object]]
) -> float:
    """Print the edits per second of the fastest of several runs, append them to `rows`, and return them."""
    run = min(runs, key=lambda run: run.editing + run.asking)
    seconds = run.editing + run.asking
    row = {"algorithm": algorithm, "edits": edits, "seconds": f"{seconds:.4g}", "peak_mib": round(run.peak)}
    row |= {"seconds_editing": f"{run.editing:.4g}", "seconds_asking": f"{run.asking:.4g}"}
    rows.append(about | row | {"edits_per_second": f"{edits / seconds:.4g}"})
    print(f"  {algorithm}: {edits / seconds:.3g} edits a second; of {edits}: {run.editing:.1f} s editing, ", end="")
    print(f"{run.asking:.1f} s asking; peak {run.peak:.0f} MiB", flush=True)
    return edits / seconds


def ours(
    model: SimpleNamespace,
    requests: list[Request],
    questions: list[list[Question]],
    contexts: list[str],
    settings: Settings,
) -> SimpleNamespace:
    """Edit all requests together; `answers` has those of each edit, as in `plainly`."""
    editing, first, edits = measured(lambda: find_edits(model, requests, settings, contexts=contexts))
    targets = [[prompt for one in part for prompt in (one.expected_prompt, one.rival_prompt)] for part in questions]
    asking, second, predictions = measured(lambda: predict(model, [edit.updates for edit in edits], targets))
    answers = [np.array([one.log_probability for one in pair]) for pair in zip(*predictions, strict=True)]
    return SimpleNamespace(editing=editing, asking=asking, peak=max(first, second), edits=edits, answers=answers)


def plainly(
    model: SimpleNamespace, request: Request, questions: list[Question], contexts: list[str], settings: Settings
) -> SimpleNamespace:
    """Edit one request.

    `answers` (before and after, answers) has log P of expected and rival answer of each question in turn, in nats.
    """
    family, ids, at = model.adapter.family, model.tokenizer.tokenizer.token_to_id, SUBJECT[0] + SUBJECT[1] - 1
    texts = [request.prefix, *(f"{context} {request.prefix}" for context in contexts)]
    split = [text.split() for text in texts]
    prompts = [([ids(word) for word in words], at + len(words) - len(split[0])) for words in split]
    kl_text = [ids(word) for word in f"{request.subject} is a".split()], SUBJECT[1] - 1
    names = ("layer", "steps", "learning_rate", "weight_decay", "clamp", "kl")
    options: Any = {name: getattr(settings, name) for name in names} | {"stop_loss": settings.stop}
    target = [ids(word) for word in request.new.split()]
    editing, first, edit = measured(lambda: rome(model.module, family, prompts, target, kl_text, **options))
    asking, second, rows = measured(
        lambda: evaluate(model.module, family, "causal", {settings.layer: edit.delta}, questions)
    )
    probabilities = [[row[f"{word}_{when}"] for row in rows for word in ("p", "rival")] for when in ("before", "after")]
    peak, answers = max(first, second), np.log(probabilities)
    bare = read(model.module, value_module(model.module, family, settings.layer), prompts[0])
    return SimpleNamespace(editing=editing, asking=asking, peak=peak, edit=edit, answers=answers, read=bare)


def off_value(run: SimpleNamespace, edit: Edit) -> float:
    """Return how far the edited MLP's output for the bare prompt's key is from the plain v*, relative to its length."""
    key, v0 = (part.double() for part in run.read)
    v_star = v0 + edit.updates[0].matrix().double() @ key
    return float((v_star - run.edit.v_star).norm() / run.edit.v_star.norm())


def words_of(vocabulary: int) -> GapTokenizer:
    """Return a tokenizer with a token for each word: "is", "a", "W2", "W3" and so on."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit

    tokenizer = Tokenizer(WordLevel({"is": 0, "a": 1} | {f"W{number}": number for number in range(2, vocabulary)}))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return GapTokenizer(tokenizer, "causal")


def random_words(model: SimpleNamespace, count: int, *seed: int) -> str:
    """Return random words, separated by spaces."""
    numbers = np.random.default_rng([count, *seed]).integers(1000, min(30_000, model.adapter.vocabulary), size=count)
    return " ".join(f"W{number}" for number in numbers)


def random_request(model: SimpleNamespace, number: int) -> Request:
    """Return a request with a prompt of 8 to 12 words, a subject in it, and two answers of one or two words."""
    prefix = random_words(model, 8 + number % 5, 1, number).split()
    old, new = (random_words(model, 1 + (number + which) % 2, 2 + which, number) for which in range(2))
    start, many = SUBJECT
    text = " ".join(prefix)
    encoded = {word: model.tokenizer.encode(text, "", word) for word in (new, old)}
    return Request(
        f"{number}",
        "random",
        "relation",
        f"{number}",
        prefix=text,
        suffix="",
        subject=" ".join(prefix[start : start + many]),
        subject_at=len(" ".join(prefix[:start])) + 1,
        old=old,
        new=new,
        new_prompt=encoded[new],
        old_prompt=encoded[old],
        subject_token=start + many - 1,
    )


def random_questions(model: SimpleNamespace, request: Request, number: int) -> list[Question]:
    """Return questions: the edited prompt, the subject among other words, and other prompts, each with both answers."""
    questions = []
    for criterion, many in QUESTIONS.items():
        for which in range(many):
            around = random_words(model, 6 + which, 4, number, which)
            text = {"reliability": request.prefix, "generality": f"{request.subject} {around}"}.get(criterion, around)
            prompts = [model.tokenizer.encode(text, "", word) for word in (request.new, request.old)]
            questions.append(Question(criterion, f"{text} ___", request.new, request.old, *prompts))
    return questions


if __name__ == "__main__":
    sys.exit(main())
