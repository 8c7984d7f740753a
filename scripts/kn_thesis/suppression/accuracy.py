"""Is suppression enough to overturn the prediction? Pairs right before and after, with McNemar's test (claim 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.stats.contingency_tables import mcnemar

from kn_thesis.clusters import FEWEST
from kn_thesis.models.summary import wilson
from kn_thesis.suppression.names import FORMS, NUMBERS, OWN

COLUMNS = [
    *("kind", "operation", "prompts", "without_neurons", "correct_before", "correct_after", "overturned", "restored"),
    *("accuracy_before", "low_before", "high_before", "accuracy_after", "low_after", "high_after", "change"),
    *("p_mcnemar", "controls", "control_accuracy", "control_low", "note"),
]


def accuracy_table(
    effects: pd.DataFrame, sets: pd.DataFrame, prompts: pd.DataFrame, confidence: float = 0.95
) -> pd.DataFrame:
    """One row per kind of set and operation of one model and task: every prompt under its own number's (target's) set.

    `effects`, `sets`: tables of `effects.Suppression`; `prompts`: columns prompt, group, number. A prompt is right when
    its target is more probable than its foil. Columns: prompts that have such a set with neurons in it, without_neurons
    (the others of that kind); counts correct_before, correct_after, overturned (right, then wrong), restored (wrong,
    then right); accuracies with Wilson's intervals; change (after − before); p_mcnemar (exact; nan for fewer than 5
    prompts); control_accuracy and control_low, mean and least accuracy over random sets in place of the numbers' own,
    on the sample of prompts that those are tried on; note.
    """
    own = _own_words(effects, prompts)
    rows = []
    for kind, column in (("number", "number"), ("target", "group")):
        for operation in dict.fromkeys(sets["operation"]):
            wanted = prompts[prompts[column].isin(sets.loc[_counted(sets, kind), "set"])]
            if not len(wanted):
                continue
            found = own[(own["kind"] == kind) & (own["operation"] == operation)]
            found = found.merge(wanted[["prompt", column]], left_on=["prompt", "set"], right_on=["prompt", column])
            rows.append(
                {"kind": kind, "operation": operation, "without_neurons": len(wanted) - len(found)}
                | _counts(found["before"].to_numpy(bool), found["after"].to_numpy(bool))
                | _controls(sets[_counted(sets, kind) & (sets["operation"] == operation) & (sets["draw"] > 0)])
            )
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    for when in ("before", "after"):
        n, correct = table["prompts"], table[f"correct_{when}"]
        some = n > 0
        table.loc[some, f"accuracy_{when}"] = correct[some] / n[some]
        ends = wilson(correct[some].astype(int), n[some].astype(int), confidence)
        table.loc[some, f"low_{when}"], table.loc[some, f"high_{when}"] = ends
    table["change"] = table["accuracy_after"] - table["accuracy_before"]
    return table


def with_published(table: pd.DataFrame, published: Mapping[str, Any], families: Mapping[str, str]) -> pd.DataFrame:
    """`table` (columns model, task, kind, operation) with published_model, published_before, published_after (0 to 1).

    `published` is the section `accuracy` of resources/published.yaml. Its values stand where that family's numbers are
    erased; other cells are empty.
    """
    tasks = published["tasks"]
    known = table["task"].isin(list(tasks)) & (table["kind"] == "number") & (table["operation"] == "erase")
    known &= table["model"].map(dict(families)) == published["family"]
    result = table.assign(
        published_model=pd.Series(published["model"], index=table.index, dtype=object).where(known, "")
    )
    for when in ("before", "after"):
        values = table["task"].map({task: entry[when] / 100 for task, entry in tasks.items()})
        result[f"published_{when}"] = pd.to_numeric(values).where(known)
    return result


def _counted(sets: pd.DataFrame, kind: str) -> pd.Series:
    """Sets that prompts can have as their own: a number's or a target's, not the shared one."""
    return (sets["kind"] == kind) & ((kind == "target") | sets["set"].isin(NUMBERS))


def _own_words(effects: pd.DataFrame, prompts: pd.DataFrame) -> pd.DataFrame:
    """Per prompt and set: whether the target was, and is, more probable than the foil."""
    number = prompts.set_index("prompt")["number"]
    key = ["prompt", "kind", "set", "operation"]
    rows = effects[effects["word"].isin([*FORMS.values(), *OWN.values()])]
    numbers = rows["prompt"].map(number).astype(str)
    target = rows["word"].astype(str).isin([OWN["target"]]) | (rows["word"].astype(str) == numbers.map(FORMS))
    good, bad = (part.set_index(key)[["before", "after"]] for part in (rows[target], rows[~target]))
    return (good > bad.reindex(good.index)).reset_index()


def _counts(before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    table = [[int((a & b).sum()) for b in (after, ~after)] for a in (before, ~before)]
    n = len(before)
    return {
        "prompts": n,
        "correct_before": int(before.sum()),
        "correct_after": int(after.sum()),
        "overturned": table[0][1],
        "restored": table[1][0],
        "p_mcnemar": mcnemar(table, exact=True).pvalue if n >= FEWEST else np.nan,
        "note": "" if n >= FEWEST else "no neuron is selected" if not n else f"fewer than {FEWEST} prompts: no test",
    }


def _controls(draws: pd.DataFrame) -> dict[str, Any]:
    """Accuracy under random sets, a draw for all sets of the kind together."""
    sums = draws.groupby("draw")[["own_prompts", "correct_after"]].sum()
    sums = sums[sums["own_prompts"] > 0]
    shares = sums["correct_after"] / sums["own_prompts"]
    return {
        "controls": len(shares),
        "control_accuracy": shares.mean() if len(shares) else np.nan,
        "control_low": shares.min() if len(shares) else np.nan,
    }
