"""Shared code of the benchmarks: arguments, models of real shapes with random weights, time and memory, the CSV.

A ratio of two times depends on the processor. The table therefore says whether this machine meets the bound on a
ratio, and the exit code does not depend on it. Results must agree with those of the plain algorithm on every machine:
a difference above its bound is MISSED, with exit code 1.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

import _path  # noqa: F401
from kn_thesis.files import write_csv
from kn_thesis.models.families import FAMILIES

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # for the plain algorithms of tests/
STATED = ("value", "least", "most", "verdict")  # columns of every CSV
SHAPED = ("bert", "gpt2", "llama")  # families of `random_model`


def parse_arguments(description: str, name: str) -> argparse.Namespace:
    """Read the arguments quick, models, threads and output from the command line, and set the number of threads."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="small models; what is computed, no statement on speed")
    parser.add_argument("--models", nargs="+", choices=SHAPED, default=list(SHAPED))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="torch threads (default: all cores)")
    parser.add_argument("--output", type=Path, default=ROOT / f"results/bench/{name}.csv")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    return arguments


def stated(value: float, least: float | None = None, most: float | None = None) -> dict[str, object]:
    """Return the columns of a ratio: its value, its bounds (None: no bound), and "met", "below" or "above"."""
    verdict = "" if least is None and most is None else "met"
    if least is not None and value < least:
        verdict = "below"
    elif most is not None and value > most:
        verdict = "above"
    bounds = {"least": "" if least is None else f"{least:g}", "most": "" if most is None else f"{most:g}"}
    return {"value": f"{value:.4g}"} | bounds | {"verdict": verdict}


def statements(rows: Sequence[dict[str, object]]) -> str:
    """Return the rows of `stated` as a table: the quantity, its value, the bounds and the verdict."""
    ratios = [row for row in rows if "verdict" in row]
    names = [" ".join(str(row[key]) for key in ("model", "sets", "part", "measure") if row.get(key)) for row in ratios]
    wide = max(map(len, names), default=0)
    lines = [f"{'ratio':<{wide}}{'measured':>10}{'at least':>10}{'at most':>10}"]
    for name, row in zip(names, ratios, strict=True):
        line = f"{name:<{wide}}{row['value']:>10}{row['least']:>10}{row['most']:>10}  {row['verdict']}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def concluded(rows: Sequence[dict[str, object]], columns: Sequence[str], missed: Sequence[str], output: Path) -> int:
    """Write the CSV, print the ratios and the missed bounds; return the exit code, 1 when a bound is missed."""
    write_csv(output, [*columns, *STATED], rows)
    print(statements(rows))
    print(f"{len(rows)} measurements in {output}; {torch.get_num_threads()} threads, torch {torch.__version__}")
    for line in missed:
        print(f"MISSED: {line}")
    return 1 if missed else 0


def random_model(family: str, quick: bool, layers: int | None = None) -> SimpleNamespace:
    """Return a model of the shape of bert-base, gpt2 or a small LLaMA with random weights, as the methods take it.

    Its matrices are larger than at the usual initialization, and the output matrix is larger still. A newly initialized
    model answers nearly at random, with probabilities nearly linear in any activation, so every quadrature would agree.
    """
    from transformers import BertConfig, GPT2Config, LlamaConfig
    from transformers.utils import logging

    logging.set_verbosity_error()
    deep, wide, heads = (layers or 4, 128, 4) if quick else (layers or (8 if family == "llama" else 12), 768, 12)
    config: Any
    if family == "bert":
        config = BertConfig(
            num_hidden_layers=deep, hidden_size=wide, num_attention_heads=heads, intermediate_size=4 * wide
        )
    elif family == "gpt2":
        config = GPT2Config(n_layer=deep, n_embd=wide, n_head=heads)
    else:
        config = LlamaConfig(
            num_hidden_layers=deep,
            hidden_size=wide,
            num_attention_heads=heads,
            num_key_value_heads=heads // 2,
            intermediate_size=wide * 8 // 3,
        )
    config.tie_word_embeddings = False
    torch.manual_seed(0)
    module = FAMILIES[family].model_class()(config).eval().requires_grad_(False)
    output = module.get_output_embeddings().weight
    for name, weight in module.named_parameters():
        if weight is output:
            weight.mul_(5)
        elif weight.dim() == 2 and "embed" not in name and ".wte" not in name and ".wpe" not in name:
            weight.mul_(2)
    return SimpleNamespace(
        module=module, adapter=FAMILIES[family].adapter(module), tokenizer=None, device=torch.device("cpu")
    )


def measured(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Run `work`; return seconds, the process's peak memory (MiB with the model; nan outside Linux), and the result."""
    peak = Path("/proc/self/clear_refs")
    if peak.exists():
        peak.write_text("5")
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    mib = next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), float("nan"))
    return seconds, mib, result
