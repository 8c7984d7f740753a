"""Where knowledge neurons lie: how many in each layer, paradigms against relations (claim 3 of DESIGN.md §5)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd


def layer_table(neurons: pd.DataFrame, kinds: Mapping[str, str], layers: Mapping[str, int]) -> pd.DataFrame:
    """Knowledge neurons per model, kind of task and layer.

    `neurons` holds rows of `neuron_table` with their model and task; only the selected ones count, once for each group
    that they belong to. `kinds` gives each task's kind, `layers` each model's number of layers.
    Returns model, kind ("paradigm", "relation"), layer (from 0), neurons, share (of the model's neurons of that kind;
    nan when there are none), every layer included.
    """
    selected = neurons[neurons["selected"].astype(bool)]
    of_kind = selected["task"].map(kinds)
    frames = []
    for model, depth in layers.items():
        for kind in ("paradigm", "relation"):
            here = selected.loc[(selected["model"] == model) & (of_kind == kind), "layer"].astype(int)
            counts = np.bincount(here, minlength=depth)
            share = counts / counts.sum() if counts.sum() else np.full(depth, np.nan)
            rows = {"model": model, "kind": kind, "layer": range(depth), "neurons": counts, "share": share}
            frames.append(pd.DataFrame(rows))
    return pd.concat(frames, ignore_index=True)


def overlap(table: pd.DataFrame) -> pd.Series:
    """Per model, the part of both distributions over layers that they share: Σ min(paradigms, relations), 0 to 1."""
    shares = table.pivot(index=["model", "layer"], columns="kind", values="share")
    smaller = shares.min(axis=1, skipna=False)
    return smaller.groupby(level="model", sort=False).agg(lambda part: part.sum(skipna=False))


def layers_by_task(neurons: pd.DataFrame, kinds: Mapping[str, str], layers: Mapping[str, int]) -> pd.DataFrame:
    """The same task by task: model, task, kind, layer, neurons, share (nan in a task without any).

    The rows of `neurons` say which tasks a model has; a task none of whose groups has a neuron has none there.
    """
    frames = []
    for (model, task), part in neurons.groupby(["model", "task"], sort=False):
        here = part.loc[part["selected"].astype(bool), "layer"].astype(int)
        counts = np.bincount(here, minlength=layers[model])
        share = counts / counts.sum() if counts.sum() else np.full(len(counts), np.nan)
        rows = {"model": model, "task": task, "kind": kinds[task], "layer": range(len(counts)), "neurons": counts}
        frames.append(pd.DataFrame(rows | {"share": share}))
    columns = ["model", "task", "kind", "layer", "neurons", "share"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
