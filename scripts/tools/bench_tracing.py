"""Benchmark of causal tracing: the plain algorithm against ours on random models of real shapes.

    python scripts/tools/bench_tracing.py [--quick] [--models bert gpt2 llama] [--threads 2] [--output FILE]

The plain algorithm is that of public code (tests/reference/tracing.py): for each token, layer and kind a forward pass
of the whole model with a clean row and a row per noise sample. It is timed on some of the tokens and layers, spread
evenly, and the fastest forward pass stands for all of them. Ours is timed on all, and compared where the plain one ran.
In a causal model ours computes nothing for tokens before the cue, which cannot change, and little for those before the
restored token; in a masked model it computes every token in every layer above. The exit code is 1 when probabilities
differ; it does not depend on the speed-up (bench_models.py). `--quick` takes small models and checks agreement alone.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

import _path  # noqa: F401
from bench_models import concluded, measured, parse_arguments, random_model, stated
from kn_thesis.models.cloze import Encoded
from kn_thesis.tracing.corruption import cue_noise
from kn_thesis.tracing.patching import scaled_window
from kn_thesis.tracing.trace import Probabilities, Settings, trace_prompt
from tests.reference.tracing import plain_trace

BOUNDS = {"gpt2": 5.0}  # times faster, at least, as stated
AGREEMENT = 1e-5  # of probabilities
RELATIVE = 1e-3  # of the largest effect: probabilities are float32, and random models' effects are small
KINDS = ("hidden", "mlp", "attention")
LENGTHS = (12, 16)
CUE = (2, 5)
SOME = 4  # tokens, and as many layers, of the plain algorithm
COLUMNS = (
    *("model", "kind", "algorithm", "tokens", "layers", "draws", "prompts", "batch_tokens", "cells", "seconds"),
    *("seconds_per_prompt", "peak_mib", "growth_mib", "measure"),
)


def main() -> int:
    """Run all benchmarks, print a table and write the CSV; return 1 when a bound on a difference is missed."""
    arguments = parse_arguments("Plain causal tracing against ours on random models.", "tracing")
    rows: list[dict[str, object]] = []
    missed = [line for family in arguments.models for line in bench(family, arguments.quick, rows)]
    return concluded(rows, COLUMNS, missed, arguments.output)


def bench(family: str, quick: bool, rows: list[dict[str, object]]) -> list[str]:
    """Measure one family, print, append to `rows`, and return a line on each missed bound."""
    model = traced_model(family, quick)
    layers, settings = model.adapter.layers, Settings(kinds=KINDS)
    print(f"{family}: {layers} layers, {model.adapter.vocabulary} tokens; {settings.draws} draws; {', '.join(KINDS)}")
    trace_prompt(model, [random_prompt(model, 6)], CUE, "first", Settings(draws=1))  # the first call is slower
    seconds, off, largest = {"plain": 0.0, "ours": 0.0}, 0.0, 0.0
    for tokens in LENGTHS:
        prompt = random_prompt(model, tokens)
        runs = [
            measured(lambda prompt=prompt: trace_prompt(model, [prompt], CUE, "prompt", settings))
            for _ in range(2 if quick or family in BOUNDS else 1)
        ]
        spent, (_, peak, probabilities) = min(run[0] for run in runs), runs[0]
        seconds["ours"] += spent
        about = {"model": family, "tokens": tokens, "layers": layers, "draws": settings.draws, "prompts": 1}
        whole = {"cells": tokens * layers, "seconds_per_prompt": f"{spent:.4g}", "peak_mib": round(peak)}
        rows.append(about | whole | {"kind": " ".join(KINDS), "algorithm": "ours", "seconds": f"{spent:.4g}"})
        largest = max(largest, float(np.abs(probabilities.effects()[2]).max()))
        plain = 0.0
        for kind in KINDS:
            row, difference = plainly(model, prompt, kind, probabilities, settings)
            rows.append(about | row)
            plain += float(row["seconds_per_prompt"])
            off = max(off, difference)
        seconds["plain"] += plain
        print(
            f"  {tokens} tokens: plain {plain:.1f} s a prompt (from {row['cells']} of {tokens * layers} cells of each "
            f"kind), ours {spent:.1f} s, {plain / spent:.1f} times faster; peak {peak:.0f} MiB",
            flush=True,
        )
    speed = seconds["plain"] / seconds["ours"]
    rows.append({"model": family, "measure": "speed-up"} | stated(speed, None if quick else BOUNDS.get(family)))
    for measure, value in (("difference", off), ("largest effect", largest)):
        rows.append({"model": family, "measure": measure, "value": f"{value:.4g}"})
    print(f"  speed-up, {LENGTHS} tokens together: {speed:.1f} times")
    print(f"  probabilities differ by {off:.1e}: {off / largest:.1e} of the largest effect, {largest:.2g}", flush=True)
    memory(family, quick, rows)
    print()
    missed = []
    if not (off <= AGREEMENT and off <= RELATIVE * largest):
        missed.append(f"{family} differs from the plain algorithm by {off:.1e}, where effects go up to {largest:.1e}")
    return missed


def plainly(
    model: SimpleNamespace, prompt: Encoded, kind: str, ours: Probabilities, settings: Settings
) -> tuple[dict[str, object], float]:
    """Return the plain algorithm's row of the CSV, and the largest difference between its probabilities and ours."""
    tokens, layers = len(prompt.input_ids), model.adapter.layers
    some = [np.unique(np.linspace(0, most - 1, SOME).round().astype(int)).tolist() for most in (tokens, layers)]
    noise = cue_noise(model.adapter, tokens, CUE, settings.draws, settings.noise, settings.seed, "prompt")
    window = scaled_window(layers, settings.window)
    arguments = (model.module, prompt.input_ids, prompt.gap, prompt.target_ids[0], noise, kind, window)
    means, fastest, highest, off = ours.restored[KINDS.index(kind), ..., 0].mean(axis=-1), np.inf, 0.0, 0.0
    for cell in product(*some):
        seconds, peak, (clean, corrupted, restored) = measured(lambda cell=cell: plain_trace(*arguments, cells=[cell]))
        apart = (means - restored)[cell], ours.clean[0] - clean, ours.corrupted[:, 0].mean() - corrupted
        off = max(off, float(np.abs(apart).max()))
        # Two forward passes, corrupted and restored. Other work on the machine only adds time.
        fastest, highest = min(fastest, seconds / 2), max(highest, peak)
    row = {"kind": kind, "algorithm": "plain", "cells": SOME**2, "peak_mib": round(highest)}
    row |= {"seconds": f"{fastest:.4g}", "seconds_per_prompt": f"{fastest * (1 + tokens * layers):.4g}"}
    return row, off


def memory(family: str, quick: bool, rows: list[dict[str, object]]) -> None:
    """Measure the memory of tracing beside the model: independent of the number of prompts, bounded by batch_tokens."""
    model, phrases = traced_model(family, quick, 4), []
    prompt = random_prompt(model, LENGTHS[0])
    for batch_tokens, prompts in ((240, 1), (240, 10), (4096, 1)):
        settings, before = Settings(kinds=KINDS, batch_tokens=batch_tokens), resident()
        seconds, peak, _ = measured(
            lambda prompts=prompts, settings=settings: [
                trace_prompt(model, [prompt], CUE, f"{number}", settings) for number in range(prompts)
            ]
        )
        row = {"model": family, "algorithm": "ours", "tokens": LENGTHS[0], "layers": 4, "draws": settings.draws}
        row |= {"prompts": prompts, "batch_tokens": batch_tokens, "seconds": f"{seconds:.4g}"}
        row |= {"seconds_per_prompt": f"{seconds / prompts:.4g}", "peak_mib": round(peak)}
        rows.append(row | {"growth_mib": round(peak - before)})
        phrases.append(f"{peak - before:.0f} MiB for {prompts} at {batch_tokens}")
    print(f"  memory beside the model's, 4 layers, by prompts and batch_tokens: {', '.join(phrases)}", flush=True)


def resident() -> float:
    """Return the process's memory now in MiB, without free blocks of its allocator; nan outside Linux."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), float("nan"))


def traced_model(family: str, quick: bool, layers: int | None = None) -> SimpleNamespace:
    """Return a random model with its maximum prompt length."""
    model = random_model(family, quick, layers)
    model.positions = model.adapter.longest
    return model


def random_prompt(model: SimpleNamespace, tokens: int) -> Encoded:
    """Return a prompt of random tokens with the model's own answer as target, since only right answers are traced."""
    random = np.random.default_rng(tokens)
    ids = tuple(random.integers(1000, min(30_000, model.adapter.vocabulary), size=tokens).tolist())
    gap = tokens - 1 if model.adapter.objective == "causal" else tokens - 3
    answer = int(model.module(torch.tensor([ids])).logits[0, gap].argmax())
    return Encoded(ids, gap, (answer,))


if __name__ == "__main__":
    sys.exit(main())
