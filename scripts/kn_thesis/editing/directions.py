"""Does symmetry fail because training stated one direction alone? Twins of one model, in worlds that state both or one.

The same edits, of the same facts to the same new objects, are compared in the model whose world states both directions
of relations and in its twin whose world states one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from kn_thesis.clusters import holm
from kn_thesis.editing.criteria import compared
from kn_thesis.models.summary import wilson

ASKED = ("reliability", "generality", "symmetry_new", "symmetry_old", "locality")
COLUMNS = [
    *("task", "criterion", "facts", "share_both", "low_both", "high_both", "share_one_way", "low_one_way"),
    *("high_one_way", "both_only", "one_way_only", "p", "p_both", "p_one_way"),
]
HEAD = [
    *("family", "both", "one_way", "editor", *COLUMNS[: COLUMNS.index("p") + 1], "p_holm", "differs"),
    *("p_both", "p_one_way"),
]


def direction_rows(
    both: Mapping[str, pd.DataFrame], one_way: Mapping[str, pd.DataFrame], confidence: float
) -> pd.DataFrame:
    """One row per task and criterion (of ASKED) that both models are asked; columns COLUMNS.

    both, one_way: `criteria.per_edit` of each relation, by task. facts: with the same new object in both models. share_*:
    of the facts of which the edit meets the criterion, with Wilson's interval; both_only, one_way_only: met in that
    model alone; p: exact McNemar test (nan where no fact differs); p_both, p_one_way: mean P(expected) after.
    """
    rows = []
    for task in (task for task in both if task in one_way):
        for criterion in ASKED:
            first, second = (_facts(tables[task], criterion) for tables in (both, one_way))
            if not len(first) or not len(second):
                continue
            shared = first.index.intersection(second.index).sort_values()
            met = {"both": first.loc[shared, "meets"], "one_way": second.loc[shared, "meets"]}
            counts = compared(*(column.to_numpy(dtype=bool) for column in met.values()))
            row = {"task": task, "criterion": criterion, "facts": len(shared), "p": counts["p"]}
            row |= {"both_only": counts["first_only"], "one_way_only": counts["second_only"]}
            for name, column in met.items():
                ends = wilson([int(column.sum())], [len(shared)], confidence) if len(shared) else ([np.nan], [np.nan])
                row |= {f"share_{name}": column.mean(), f"low_{name}": ends[0][0], f"high_{name}": ends[1][0]}
            row |= {"p_both": first.loc[shared, "p_after"].mean(), "p_one_way": second.loc[shared, "p_after"].mean()}
            rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def corrected(rows: pd.DataFrame, level: float) -> pd.DataFrame:
    """`rows` of one pair of models (all editors) with p_holm, over all of them, and differs (p_holm < level)."""
    p = holm(rows["p"].to_numpy(dtype=float))
    return rows.assign(p_holm=p, differs=p < level)[HEAD]


def _facts(asked: pd.DataFrame, criterion: str) -> pd.DataFrame:
    """Rows of one criterion by fact and new object; of several edits of a fact to one object, the first by name."""
    rows = asked[asked["criterion"] == criterion].sort_values("edit")
    return rows.drop_duplicates(["cluster", "new"]).set_index(["cluster", "new"])
