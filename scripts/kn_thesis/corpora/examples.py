"""One prompt of each task, as people read it, and the tasks of which there is none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

COLUMNS = ["task", "kind", "text", "target", "foil", "tokens"]


def example_prompts(tables: Sequence[Path]) -> pd.DataFrame:
    """The first prompt (by its name) of each table results/prompts/{model}/{task}.parquet.

    Columns: model, task, kind, text (gap as ___), target, foil (the ungrammatical word; empty for facts),
    tokens (number of input tokens). Tables without a prompt have no row.
    """
    rows = []
    for path in tables:
        prompts = pd.read_parquet(path)
        if len(prompts):
            first = prompts.sort_values("prompt", kind="stable").iloc[0]
            rows.append({"model": path.parent.name, **first, "tokens": len(first["input_ids"])})
    return pd.DataFrame(rows, columns=["model", *COLUMNS])


def say_nothing_kept(counts: pd.DataFrame) -> list[str]:
    """A sentence for each task of which nothing is kept for some models; `counts` is corpora.csv."""
    nothing = counts[(counts["reason"] == "kept") & (counts["count"] == 0)]
    models = nothing.groupby("task", sort=False)["model"].agg(", ".join)
    return [f"Nothing is kept of {task} for {names}." for task, names in models.items()]
