"""Benchmark of suppression: the plain algorithm against ours on random models of real shapes.

    python scripts/tools/bench_suppression.py [--quick] [--models bert gpt2 llama] [--threads 2] [--output FILE]

The plain algorithm is that of public code (tests/reference/suppression.py): one prompt and one set of neurons at a
time, one row through the whole model, and the unchanged model once per prompt. It is timed on one prompt and some of
the sets. Sets lie in the upper quarter of the layers, as the published determiner neurons do ("published"), or in any
layer ("all"). In the latter a masked model has to compute every token in most of its layers with either algorithm, and
only batching saves time. The exit code is 1 when answers differ; it does not depend on the speed-up (bench_models.py).
`--quick` takes small models and checks agreement alone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

import _path  # noqa: F401
from bench_models import concluded, measured, parse_arguments, random_model, stated
from kn_thesis.suppression.intervention import OPERATIONS, Change, Reading, changed_answers
from tests.reference.suppression import plain_answers

BOUNDS = {("bert", "published"): 10.0}  # times faster, at least, as stated
AGREEMENT = 1e-4  # nats, or of a log-probability beyond 1 nat
WORDS, PROMPTS, SETS, NEURONS = 36, 8, 24, 3
SOME = 8  # sets of the plain algorithm
LENGTHS = (8, 16)
COLUMNS = (
    *("model", "sets", "algorithm", "tokens", "prompts", "changes"),
    *("answers_per_second", "peak_mib", "measure"),
)


def main() -> int:
    """Run all benchmarks, print a table and write the CSV; return 1 when a bound on a difference is missed."""
    arguments = parse_arguments("Plain suppression against ours on random models.", "suppression")
    rows: list[dict[str, object]] = []
    missed = [line for family in arguments.models for line in bench(family, arguments.quick, rows)]
    return concluded(rows, COLUMNS, missed, arguments.output)


def bench(family: str, quick: bool, rows: list[dict[str, object]]) -> list[str]:
    """Measure one family, print, append to `rows`, and return a line on each missed bound."""
    model = random_model(family, quick)
    layers = model.adapter.layers
    print(f"{family}: {layers} layers of {model.adapter.width} neurons, {model.adapter.vocabulary} tokens")
    print(
        f"  {'sets':<11}{'algorithm':<11}{'tokens':>6}{'prompts':>9}{'changes':>9}{'answers a s':>13}{'peak MiB':>10}"
    )
    missed = []
    for placement, lowest in (("published", layers - max(1, layers // 4)), ("all", 0)):
        changes = random_changes(model, lowest)
        changed_answers(model, random_readings(model, 8)[:1], changes, means_of(model))  # the first call is slower
        seconds, difference = {"plain": 0.0, "ours": 0.0}, 0.0
        for length in LENGTHS:
            readings = random_readings(model, length)
            answers = {}
            for algorithm, some_readings, some_changes in (
                ("plain", readings[:1], changes[:SOME]),
                ("ours", readings, changes),
            ):
                spent, peak, answers[algorithm] = cost(algorithm, model, some_readings, some_changes)
                seconds[algorithm] += spent
                row = {"model": family, "sets": placement, "algorithm": algorithm, "tokens": length}
                row |= {"prompts": len(some_readings), "changes": len(some_changes)}
                row |= {"answers_per_second": round(WORDS * SETS / spent), "peak_mib": round(peak)}
                rows.append(row)
                print(
                    f"  {placement:<11}{algorithm:<11}{length:>6}{len(some_readings):>9}{len(some_changes):>9}"
                    f"{row['answers_per_second']:>13}{row['peak_mib']:>10}",
                    flush=True,
                )
            off = np.abs(answers["ours"][:, :SOME] - answers["plain"]) / np.maximum(1, np.abs(answers["plain"]))
            difference = max(difference, float(off.max()))
        speed = seconds["plain"] / seconds["ours"]
        about = {"model": family, "sets": placement}
        rows.append(about | {"measure": "speed-up"} | stated(speed, None if quick else BOUNDS.get((family, placement))))
        rows.append(about | {"measure": "difference", "value": f"{difference:.4g}"})
        print(f"  speed-up, {LENGTHS} tokens together: {speed:.1f} times")
        print(f"  log-probabilities differ from the plain ones by {difference:.1e}", flush=True)
        if not difference <= AGREEMENT:
            missed.append(f"{family}, sets in {placement} layers: differs from the plain algorithm by {difference:.1e}")
    print()
    return missed


def cost(
    algorithm: str, model: SimpleNamespace, readings: Sequence[Reading], changes: Sequence[Change]
) -> tuple[float, float, np.ndarray]:
    """Return seconds per prompt under all sets, peak memory (MiB), and the first prompt's answers (words, changes).

    The time is the fastest of several runs, since other work on the machine only adds to them.
    """
    means = means_of(model)
    if algorithm == "ours":
        runs = [measured(lambda: changed_answers(model, readings, changes, means)[1][0]) for _ in range(2)]
        return min(run[0] for run in runs) / len(readings), runs[0][1], runs[0][2]
    runs = [measured(lambda one=one: plainly(model, readings[0], one, means)) for one in (None, *changes)]
    answers = np.stack([run[2] for run in runs[1:]], axis=1)
    return min(run[0] for run in runs) * (1 + SETS), runs[0][1], answers


def plainly(model: SimpleNamespace, reading: Reading, change: Change | None, means: np.ndarray) -> np.ndarray:
    """Return the answers (words,) of the plain algorithm."""
    changed = (change.layer, change.neuron, change.operation, means) if change else ()
    return plain_answers(model.module, reading.input_ids, reading.gap, reading.targets, *changed)


def random_readings(model: SimpleNamespace, tokens: int) -> list[Reading]:
    """Return prompts of random tokens, each with random target words."""
    random = np.random.default_rng(tokens)
    gap = tokens - 1 if model.adapter.objective == "causal" else tokens // 2
    ids = random.integers(1000, min(30_000, model.adapter.vocabulary), size=(PROMPTS, tokens + WORDS))
    return [Reading(tuple(row[:tokens]), gap, tuple(row[tokens:])) for row in ids.tolist()]


def random_changes(model: SimpleNamespace, lowest: int) -> list[Change]:
    """Return sets of random neurons from layer `lowest` on, under each operation in turn."""
    random = np.random.default_rng(lowest)
    layers = np.sort(random.integers(lowest, model.adapter.layers, size=(SETS, NEURONS)), axis=1)
    neurons = random.integers(model.adapter.width, size=(SETS, NEURONS))
    operations = list(OPERATIONS) * SETS
    return [Change(*change) for change in zip(layers, neurons, operations, strict=False)]


def means_of(model: SimpleNamespace) -> np.ndarray:
    """Return random values that stand for the neurons' means."""
    return np.random.default_rng(2).normal(size=(model.adapter.layers, model.adapter.width))


if __name__ == "__main__":
    sys.exit(main())
