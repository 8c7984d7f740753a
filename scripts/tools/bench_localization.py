"""Benchmark of attribution: the plain algorithm against ours on random models of real shapes.

    python scripts/tools/bench_localization.py [--quick] [--models bert gpt2 llama] [--threads 2] [--output FILE]

The plain algorithm is the published one (tests/reference/attribution.py): one prompt and one layer at a time, 20 rows
through the whole model. The exit code is 1 when the integration error against 1,000 nodes is above the plain
algorithm's, or scores under the same quadrature differ; it does not depend on the speed-up (bench_models.py). `--quick`
takes small models and checks agreement and error alone.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

import _path  # noqa: F401
from bench_models import concluded, measured, parse_arguments, random_model, stated
from kn_thesis.localization.attribution import attribute, quadrature_rule
from kn_thesis.models.cloze import Encoded
from tests.reference.attribution import reference_attribution

BOUNDS = {"bert": 8.0, "gpt2": 20.0}  # times faster, at least, as stated
AGREEMENT = 1e-5  # of the largest score
NODES = 5  # enough for random models, whose answers vary little; the bounds above were set with them
LENGTHS = (8, 16, 24)
COLUMNS = ("model", "part", "algorithm", "layers", "tokens", "prompts", "seconds_per_prompt", "peak_mib")


def main() -> int:
    """Run all benchmarks, print a table and write the CSV; return 1 when a bound on a difference is missed."""
    arguments = parse_arguments("Plain attribution against ours on random models.", "localization")
    rows: list[dict[str, object]] = []
    missed = [line for family in arguments.models for line in bench(family, arguments.quick, rows)]
    return concluded(rows, COLUMNS, missed, arguments.output)


def bench(family: str, quick: bool, rows: list[dict[str, object]]) -> list[str]:
    """Measure one family, print, append to `rows`, and return a line on each missed bound."""
    model = random_model(family, quick)
    layers, few = model.adapter.layers, 2 if quick else 8
    print(
        f"{family}: {layers} layers of {model.adapter.width} neurons, {model.adapter.vocabulary} tokens; {NODES} nodes"
    )
    print(
        f"  {'cost by':<10}{'algorithm':<11}{'layers':>6}{'tokens':>8}{'prompts':>9}{'s a prompt':>12}{'peak MiB':>10}"
    )

    def cost(part: str, one: SimpleNamespace, prompts: list[Encoded], plain: bool = False) -> tuple[float, Any]:
        seconds, peak, result = measured(
            lambda: plainly(one, prompts[0]) if plain else attribute(one, prompts, nodes=NODES)
        )
        row = {"model": family, "part": part, "algorithm": "plain" if plain else "ours"}
        row |= {"layers": one.adapter.layers, "tokens": len(prompts[0].input_ids), "prompts": len(prompts)}
        rows.append(row | {"seconds_per_prompt": f"{seconds / len(prompts):.4g}", "peak_mib": f"{peak:.0f}"})
        print(
            f"  {part:<10}{row['algorithm']:<11}{row['layers']:>6}{row['tokens']:>8}{row['prompts']:>9}"
            f"{seconds / len(prompts):>12.3f}{peak:>10.0f}",
            flush=True,
        )
        return seconds / len(prompts), result

    def value(part: str, algorithm: str, number: float, sentence: str) -> None:
        rows.append({"model": family, "part": part, "algorithm": algorithm, "value": f"{number:.4g}"})
        print(f"  {sentence}", flush=True)

    prompts = {length: random_prompts(model, length, 2 * few) for length in LENGTHS}
    attribute(model, prompts[8][:1], nodes=NODES)  # the first call is slower
    plain, ours, agreement = [], [], 0.0
    for length in LENGTHS:
        ours.append(cost("tokens", model, prompts[length][:few])[0])
        seconds, scores = cost("tokens", model, prompts[length][:1], plain=True)
        plain.append(seconds)
        same = attribute(model, prompts[length][:1], quadrature="riemann", nodes=20).scores[0]
        agreement = max(agreement, float(np.abs(same - scores).max() / np.abs(scores).max()))
    for count in sorted({1, few, 2 * few}):
        cost("prompts", model, prompts[16][:count])
    for depth in sorted({max(1, layers // 4), layers // 2, layers}):
        cost("layers", random_model(family, quick, depth), prompts[16][:few])

    speed, one = sum(plain) / sum(ours), prompts[8][:1]
    exact = attribute(model, one, nodes=100 if quick else 1000).scores[0]
    errors = {
        name: float(np.abs(attribute(model, one, quadrature=rule, nodes=nodes).scores[0] - exact).sum())
        / float(np.abs(exact).sum())
        for name, rule, nodes in (("plain", "riemann", 20), ("ours", "gauss-legendre", NODES))
    }
    about = {"model": family, "part": "speed-up", "algorithm": "ours"}
    rows.append(about | stated(speed, None if quick else BOUNDS.get(family)))
    print(f"  speed-up, {LENGTHS} tokens together: {speed:.1f} times", flush=True)
    value(
        "agreement",
        "ours",
        agreement,
        f"same quadrature as the plain one: equal to {agreement:.1e} of the largest score",
    )
    for name, error in errors.items():
        value("error", name, error, f"integration error of {name}: {error:.2e} of the scores' absolute sum")
    print()
    missed = []
    if not agreement <= AGREEMENT:
        missed.append(f"{family} under riemann differs from the plain algorithm by {agreement:.1e}")
    if not errors["ours"] <= errors["plain"]:
        missed.append(
            f"{family}'s integration error {errors['ours']:.2e} is above the plain one's {errors['plain']:.2e}"
        )
    return missed


def random_prompts(model: SimpleNamespace, tokens: int, count: int) -> list[Encoded]:
    """Return prompts of random tokens with the model's own answers as targets."""
    random = np.random.default_rng(tokens)
    ids = random.integers(1000, min(30_000, model.adapter.vocabulary), size=(count, tokens))
    gap = tokens - 1 if model.adapter.objective == "causal" else tokens // 2
    answers = model.module(torch.tensor(ids)).logits[:, gap].argmax(-1).tolist()
    return [Encoded(tuple(row), gap, (answer,)) for row, answer in zip(ids.tolist(), answers, strict=True)]


def plainly(model: SimpleNamespace, prompt: Encoded) -> np.ndarray:
    """Return the scores (layers, width) of the plain algorithm with the published quadrature."""
    rule = quadrature_rule("riemann", 20)
    return reference_attribution(model.module, prompt.input_ids, prompt.gap, prompt.target_ids, *rule, baseline=False)[
        0
    ]


if __name__ == "__main__":
    sys.exit(main())
