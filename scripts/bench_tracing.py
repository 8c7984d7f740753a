"""Benchmark of causal tracing: the plain algorithm against ours on random models of real shapes, in one run.

    python scripts/bench_tracing.py [--quick] [--models bert gpt2 llama] [--threads 2] [--output FILE]

The plain algorithm is the one public code runs (tests/reference_tracing.py): for each token, layer and kind one whole
forward of a clean row and a row per draw. It is timed on some of the tokens and layers, spread evenly, and the fastest
forward stands for all of them; ours is timed on all, and compared where the plain one ran. A causal model's tokens
before the cue cost ours nothing, for nothing can change there, and those before the restored one little; a masked
model has to take every token through every layer above. Exit code 1 when probabilities differ; the speed-up is a
statement (bench_models.py). `--quick` takes small models and checks agreement alone.
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

from bench_models import asked, concluded, measured, random_model, stated
from kn_thesis.corpora.gaps import Encoded
from kn_thesis.tracing.prompt import Probabilities, Settings, trace_prompt
from kn_thesis.tracing.restore import scaled_window
from kn_thesis.tracing.runs import cue_noise
from tests.reference_tracing import plain_trace

BOUNDS = {"gpt2": 5.0}  # times faster, at least, as stated
AGREEMENT = 1e-5  # of probabilities
RELATIVE = 1e-3  # of the largest effect: probabilities are float32, and random models' effects are small
KINDS = ("hidden", "mlp", "attention")
LENGTHS = (12, 16)
CUE = (2, 5)
SOME = 4  # tokens, and as many layers, that the plain algorithm is timed on
COLUMNS = (
    *("model", "kind", "algorithm", "tokens", "layers", "draws", "prompts", "batch_tokens", "cells", "seconds"),
    *("seconds_per_prompt", "peak_mib", "growth_mib", "measure"),
)


def main() -> int:
    """Run everything, print a table, write the CSV; 1 when something is missed."""
    arguments = asked("Plain causal tracing against ours on random models.", "tracing")
    rows: list[dict[str, object]] = []
    missed = [line for family in arguments.models for line in bench(family, arguments.quick, rows)]
    return concluded(rows, COLUMNS, missed, arguments.output)


def bench(family: str, quick: bool, rows: list[dict[str, object]]) -> list[str]:
    """Measure one family, append to `rows`, print; returns what is missed."""
    model = made(family, quick)
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
        spent, (_, peak, found) = min(run[0] for run in runs), runs[0]
        seconds["ours"] += spent
        about = {"model": family, "tokens": tokens, "layers": layers, "draws": settings.draws, "prompts": 1}
        whole = {"cells": tokens * layers, "seconds_per_prompt": f"{spent:.4g}", "peak_mib": round(peak)}
        rows.append(about | whole | {"kind": " ".join(KINDS), "algorithm": "ours", "seconds": f"{spent:.4g}"})
        largest = max(largest, float(np.abs(found.effects()[2]).max()))
        plain = 0.0
        for kind in KINDS:
            row, difference = plainly(model, prompt, kind, found, settings)
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
    """The plain algorithm's row of the CSV, and how far from its probabilities ours are at most."""
    tokens, layers = len(prompt.input_ids), model.adapter.layers
    some = [np.unique(np.linspace(0, most - 1, SOME).round().astype(int)).tolist() for most in (tokens, layers)]
    noise = cue_noise(model.adapter, tokens, CUE, settings.draws, settings.noise, settings.seed, "prompt")
    window = scaled_window(layers, settings.window)
    asked = (model.module, prompt.input_ids, prompt.gap, prompt.target_ids[0], noise, kind, window)
    found, fastest, highest, off = ours.restored[KINDS.index(kind), ..., 0].mean(axis=-1), np.inf, 0.0, 0.0
    for cell in product(*some):
        seconds, peak, (clean, corrupted, restored) = measured(lambda cell=cell: plain_trace(*asked, cells=[cell]))
        apart = (found - restored)[cell], ours.clean[0] - clean, ours.corrupted[:, 0].mean() - corrupted
        off = max(off, float(np.abs(apart).max()))
        # Two forwards: of the corrupted run and of the restored one. Other work on the machine only adds to them.
        fastest, highest = min(fastest, seconds / 2), max(highest, peak)
    row = {"kind": kind, "algorithm": "plain", "cells": SOME**2, "peak_mib": round(highest)}
    row |= {"seconds": f"{fastest:.4g}", "seconds_per_prompt": f"{fastest * (1 + tokens * layers):.4g}"}
    return row, off


def memory(family: str, quick: bool, rows: list[dict[str, object]]) -> None:
    """What tracing takes beside the model: as much for many prompts as for one, and bounded by batch_tokens."""
    model, said = made(family, quick, 4), []
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
        said.append(f"{peak - before:.0f} MiB for {prompts} at {batch_tokens}")
    print(f"  memory beside the model's, 4 layers, by prompts and batch_tokens: {', '.join(said)}", flush=True)


def resident() -> float:
    """The process's memory now, without what it keeps for later (MiB; Linux, else nan)."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), float("nan"))


def made(family: str, quick: bool, layers: int | None = None) -> SimpleNamespace:
    """A random model that knows how long its prompts may be."""
    model = random_model(family, quick, layers)
    model.positions = model.adapter.longest
    return model


def random_prompt(model: SimpleNamespace, tokens: int) -> Encoded:
    """Random tokens; the target is what the model would say, for prompts are traced that it gets right."""
    random = np.random.default_rng(tokens)
    ids = tuple(random.integers(1000, min(30_000, model.adapter.vocabulary), size=tokens).tolist())
    gap = tokens - 1 if model.adapter.objective == "causal" else tokens - 3
    answer = int(model.module(torch.tensor([ids])).logits[0, gap].argmax())
    return Encoded(ids, gap, (answer,))


if __name__ == "__main__":
    sys.exit(main())
