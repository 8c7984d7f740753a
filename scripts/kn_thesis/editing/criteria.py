"""What edits achieve: shares of questions that hold, with intervals, and whether one criterion is met where another is.

The unit is the edit: its questions of one criterion are averaged first, so that a fact with many paraphrases counts no
more than one with few. An edit that failed counts with the model as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from statsmodels.stats.contingency_tables import mcnemar

from kn_thesis.clusters import clustered_interval
from kn_thesis.editing.names import AGREEMENT_CRITERIA, CRITERIA, EDITED, RELATION_CRITERIA
from kn_thesis.editing.results import Editing

CRITERIA_OF = {"relation": RELATION_CRITERIA, "paradigm": AGREEMENT_CRITERIA}
PAIRS = {kind: [("reliability", other) for other in names[1:]] for kind, names in CRITERIA_OF.items()}
PAIRS["relation"] += [("generality", other) for other in ("symmetry_new", "symmetry_old", "synonymy")]

MEANS = [
    *("share_before", "share", "share_known", "p_before", "p_after", "p_change", "tokens_before", "tokens_after"),
    "preferred",
]
# Columns of the interval's ends, by what they are the interval of.
ENDS = {"share": ("low", "high"), "share_known": ("known_low", "known_high"), "p_change": ("p_low", "p_high")}
COLUMNS = [
    *("criterion", "edits", "failed", "questions", "share_before", "share", "low", "high"),
    *("known_edits", "share_known", "known_low", "known_high"),
    *("p_before", "p_after", "p_change", "p_low", "p_high", "tokens_before", "tokens_after", "preferred"),
]
COUNTS = ("both", "first_only", "second_only", "neither")
TESTS = ["first", "second", "edits", *COUNTS, "p"]


def per_edit(editing: Editing) -> pd.DataFrame:
    """One row per edit and criterion that it is asked, sorted by both.

    Columns: edit, criterion, cluster, new, failed (whether it was not edited), questions (their number), and means over
    its questions MEANS: share_before, share (that hold before and after), share_known (after; over the questions that
    the model could answer before, nan without any), p_before, p_after, p_change (P(expected), and after − before),
    tokens_before, tokens_after, preferred (P(expected) > P(rival) after; over the questions with a rival, nan for
    locality). meets: whether more than half of the questions hold after.
    """
    rows = in_order(editing.questions, ["edit", "criterion", "question", "expected", "rival"])
    after = rows["holds_after"].astype(float)
    rival = rows["rival_after"].notna() & (rows["criterion"] != "locality")
    columns = {
        "share_before": rows["holds_before"].astype(float),
        "share": after,
        "share_known": after.where(rows["known"].astype(bool)),
        "p_change": rows["p_after"] - rows["p_before"],
        "preferred": (rows["p_after"] > rows["rival_after"]).astype(float).where(rival),
    }
    groups = rows.assign(**columns).groupby(["edit", "criterion"], sort=True, observed=True)
    found = groups[MEANS].mean()
    found.insert(0, "questions", groups.size())
    found["meets"] = found["share"] > 0.5
    about = editing.edits.set_index("edit", verify_integrity=True)
    about = pd.DataFrame({"cluster": about["cluster"], "new": about["new"], "failed": about["status"] != EDITED})
    return found.reset_index().merge(about, on="edit", how="left", validate="many_to_one")


def pooled(asked: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Tables of `per_edit` under each other, with the column task: an edit's name is its own within a task alone."""
    return pd.concat([table.assign(task=task) for task, table in asked.items()], ignore_index=True)


def criteria_rows(asked: pd.DataFrame, resamples: int, confidence: float, seed: int) -> pd.DataFrame:
    """One row per criterion (those that an edit is asked, as CRITERIA has them), from `pooled`; columns COLUMNS.

    edits that have such a question; failed of them; questions; MEANS over edits, with intervals of share, share_known
    and p_change (see `clustered_interval`); known_edits: with a question that the model could answer.
    """
    if not len(asked):
        return pd.DataFrame(columns=COLUMNS)
    groups = asked.groupby("criterion", sort=True)
    table = groups[MEANS].mean()
    table["edits"] = groups.size()
    table[["failed", "questions"]] = groups[["failed", "questions"]].sum().astype(int)
    table["known_edits"] = groups["share_known"].count()
    wide = asked.set_index(["task", "edit", "criterion"])[list(ENDS)].unstack("criterion").sort_index()
    ends = clustered_interval(wide.to_numpy(dtype=float), clusters_of(asked, wide), resamples, confidence, seed)
    for side, values in enumerate(ends):
        found = pd.Series(values, index=wide.columns)
        for name, columns in ENDS.items():
            table[columns[side]] = found[name]
    order = [criterion for criterion in CRITERIA if criterion in table.index]
    return table.loc[order].reset_index()[COLUMNS]


def clusters_of(asked: pd.DataFrame, wide: pd.DataFrame) -> list[str]:
    """The cluster of each row (task, edit) of `wide`."""
    clusters = asked.drop_duplicates(["task", "edit"]).set_index(["task", "edit"])["cluster"]
    return clusters.loc[wide.index].astype(str).tolist()


def criteria_tests(asked: pd.DataFrame, kind: str) -> pd.DataFrame:
    """One row per pair of criteria: is one met by edits that do not meet the other? Columns TESTS.

    asked: tables of `per_edit` of tasks of one kind, `pooled`. Counts are of edits that are asked both; see `compared`.
    """
    if not len(asked):
        return pd.DataFrame(columns=TESTS)
    shares = asked.set_index(["task", "edit", "criterion"])["share"].unstack("criterion")
    rows = []
    for pair in PAIRS[kind]:
        both = shares.reindex(columns=list(pair)).dropna()
        met = (both > 0.5).to_numpy(dtype=bool)
        rows.append({"first": pair[0], "second": pair[1], "edits": len(both)} | compared(met[:, 0], met[:, 1]))
    return pd.DataFrame(rows, columns=TESTS)


def compared(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Counts COUNTS of paired booleans, and p of the exact McNemar test; nan where no pair differs."""
    table = [[int((a & b).sum()) for b in (second, ~second)] for a in (first, ~first)]
    counts = dict(zip(COUNTS, (table[0][0], table[0][1], table[1][0], table[1][1]), strict=True))
    differ = counts["first_only"] + counts["second_only"]
    return counts | {"p": float(mcnemar(table, exact=True).pvalue) if differ else np.nan}


def in_order(table: pd.DataFrame, first: Sequence[str]) -> pd.DataFrame:
    """Rows in an order that follows from what they hold: sums round alike however the file was written."""
    return table.sort_values([*first, *(name for name in table if name not in first)], ignore_index=True)
