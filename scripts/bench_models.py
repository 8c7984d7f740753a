"""What the benchmarks share: their arguments, models of real shapes with random weights, time and memory, the CSV."""

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

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]  # the second for the plain algorithms in tests/

from kn_thesis.files import write_csv  # noqa: E402
from kn_thesis.models.families import FAMILIES  # noqa: E402

SHAPED = ("bert", "gpt2", "llama")  # families that `random_model` has a shape for


def asked(description: str, name: str) -> argparse.Namespace:
    """The arguments quick, models, threads (set already) and output."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="small models; what is computed, no bound on speed")
    parser.add_argument("--models", nargs="+", choices=SHAPED, default=list(SHAPED))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="torch threads (default: all cores)")
    parser.add_argument("--output", type=Path, default=ROOT / f"results/bench/{name}.csv")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    return arguments


def concluded(rows: Sequence[dict[str, object]], columns: Sequence[str], missed: Sequence[str], output: Path) -> int:
    """Write the CSV, say which bounds are missed; the exit code."""
    write_csv(output, columns, rows)
    print(f"{len(rows)} measurements in {output}; {torch.get_num_threads()} threads, torch {torch.__version__}")
    for line in missed:
        print(f"MISSED: {line}")
    return 1 if missed else 0


def random_model(family: str, quick: bool, layers: int | None = None) -> SimpleNamespace:
    """A model of the shape of bert-base, gpt2 or a small LLaMA with random weights, as the methods take it.

    Matrices are larger than at the usual start, and the output matrix larger still: fresh models answer nearly at
    random and their probability is nearly linear in any activation, so that every quadrature would be right.
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
    """Seconds, the process's peak memory meanwhile (MiB, model included; Linux, else nan), and the result."""
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
