"""Rules in a process that may not have the memory that they ask for end in the results of an undisturbed run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kn_thesis.files import write_task_tables
from kn_thesis.localization.selection import select_neurons
from kn_thesis.localization.tables import Attribution
from kn_thesis.models.evaluate import target_log_probabilities
from kn_thesis.models.load import Model, load_model
from tests.helpers.tiny_models import loaded_model
from tests.helpers.tiny_tokenizers import TEXT

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests/helpers/limited_memory.py"
WIDE = {"n_inner": 1024, "n_embd": 32}
PREFIX = "The women admire the old king and the capital of Italy"
ALL = 10**7  # batch_tokens: everything at once

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="what a process may have is limited and measured as Linux does"
)


def prompts_of(model: Model, count: int) -> pd.DataFrame:
    """Facts at the end of one prompt, each with a target of its own; the first is what the model answers."""
    encoded = model.tokenizer.encode(PREFIX, "", "Rome")
    targets = np.random.default_rng(1).integers(5, 60, count)
    tried = [type(encoded)(encoded.input_ids, encoded.gap, (token,)) for token in range(model.adapter.vocabulary)]
    targets[0] = int(target_log_probabilities(model, tried).rank.argmin())
    columns = {"kind": "relation", "prefix": PREFIX, "suffix": "", "target": "Rome", "foil": "", "noun": ""}
    columns |= {
        "text": f"{PREFIX} ___",
        "cue": "women",
        "cue_at": PREFIX.index("women"),
        "distractor": "",
        "distractor_at": -1,
    }
    columns |= {"gap": encoded.gap, "attributed": True, "task": "facts", "split": "all", "number": ""}
    rows = [
        {"prompt": f"p{n}", "group": f"g{n % 5}", "input_ids": encoded.input_ids, "target_ids": (int(token),)}
        for n, token in enumerate(targets)
    ]
    return pd.DataFrame([columns | row | {"foil_ids": ()} for row in rows])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of both rules, undisturbed ("free") and limited, and their logs."""
    folder = tmp_path_factory.mktemp("limited")
    loaded_model("gpt2", folder / "model", TEXT, **WIDE)
    prompts = prompts_of(load_model(folder / "model", device="cpu"), 100)
    for name, rows in (("prompts", prompts), ("small", prompts[:2])):
        write_task_tables({"P1": rows}, folder / f"{name}.parquet")

    def job(script: str, params: dict[str, Any], **outputs: str) -> dict[str, Any]:
        return {
            "script": str(ROOT / "scripts" / f"{script}.py"),
            "log": str(folder / f"{script}.{{run}}.log"),
            "input": {"model": [str(folder / "model/config.json")], "prompts": [str(folder / "prompts.parquet")]},
            "small": [str(folder / "small.parquet")],
            "output": {name: str(folder / f"{{run}}.{file}") for name, file in outputs.items()},
            "params": {"loading": {"device": "cpu", "dtype": "float32"}, "tasks": None, "shard": None, **params},
        }

    tracing = {"noise": 3.0, "draws": 200, "window": 0.3, "kinds": ["hidden", "mlp"], "batch_tokens": ALL, "seed": 1}
    jobs = [
        job("attribute_neurons", {"settings": {"nodes": 16, "batch_tokens": ALL}}, attributions="safetensors"),
        job(
            "trace_prompts",
            {"settings": tracing, "most": 1, "evaluation_batch": 4096},
            prompts="prompts.parquet",
            effects="effects.parquet",
        ),
    ]
    (folder / "jobs.json").write_text(json.dumps(jobs))
    # Large pieces go back to the system as soon as nobody has them: glibc would keep some.
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts"), "MALLOC_MMAP_THRESHOLD_": "1048576"}
    environment |= {"OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder / "jobs.json")],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=600,
    )
    logs = "".join(log.read_text()[-2000:] for log in sorted(folder.glob("*.limited.log")))
    assert done.returncode == 0, done.stdout[-4000:] + logs
    print(done.stdout)
    return folder


def halvings(log: Path) -> list[tuple[int, int]]:
    """From how many tokens to how many, for each time that memory was out."""
    words = [line.split() for line in log.read_text().splitlines() if "do not fit in memory" in line]
    return [(int(line[line.index("tokens") - 1]), int(line[-1])) for line in words]


def test_attribution_is_the_same(results: Path) -> None:
    (free, names), (limited, again) = (
        Attribution.load(results / f"{run}.safetensors", "P1") for run in ("free", "limited")
    )
    assert names == again
    for part in ("scores", "probability", "baseline"):
        assert np.allclose(getattr(free, part), getattr(limited, part), rtol=1e-5, atol=1e-9)
    groups = list(pd.read_parquet(results / "prompts.parquet")["group"])
    one, other = (select_neurons(found.scores, groups, coarse=0.1, share=0.4) for found in (free, limited))
    assert len(one) and one[["group", "layer", "neuron"]].equals(other[["group", "layer", "neuron"]])
    said = halvings(results / "attribute_neurons.limited.log")
    assert said and all(after == before // 2 for before, after in said)
    assert not halvings(results / "attribute_neurons.free.log")


def test_traces_are_the_same(results: Path) -> None:
    for table in ("prompts", "effects"):
        free, limited = (pd.read_parquet(results / f"{run}.{table}.parquet") for run in ("free", "limited"))
        pd.testing.assert_frame_equal(free, limited, rtol=1e-4, atol=1e-6)
        assert len(free)
    assert halvings(results / "trace_prompts.limited.log") and not halvings(results / "trace_prompts.free.log")
