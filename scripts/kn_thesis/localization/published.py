"""Published values beside measured ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

MEASURES = ("KN", "tau", "R2_1")


def with_published(table: pd.DataFrame, published: Mapping[str, Any]) -> pd.DataFrame:
    """`table` (columns family, task, …) with the columns published_model, published_KN, published_tau, published_R2_1.

    `published` is the section `localization` of resources/published.yaml: `model` and `family` that the values are
    of, and `tasks`: name to values. They stand in the rows of that family and task; other cells are empty.
    """
    result = table.copy()
    tasks = published["tasks"]
    known = (table["family"] == published["family"]) & table["task"].isin(list(tasks))
    result["published_model"] = pd.Series(published["model"], index=table.index, dtype=object).where(known, "")
    for measure in MEASURES:
        values = table["task"].map({task: entry.get(measure) for task, entry in tasks.items()})
        result[f"published_{measure}"] = pd.to_numeric(values).where(known)
    return result
