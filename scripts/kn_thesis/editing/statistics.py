"""Statistics of edits: criteria met, fluency, directions that training states, and layers against causal tracing.

The unit is the edit: its questions of one criterion are averaged first, so that a fact with many paraphrases counts no
more than one with few. An edit that failed counts with the unedited model's answers.

`fluency_row` compares the entropy of continuations before and after. `direction_rows` asks whether symmetry fails
because training stated one direction only: it compares the same edits, of the same facts to the same new objects, in
twins of one model whose worlds state both directions of relations or one.

`layer_rows` and `localization_rows` ask which layer to edit, and whether causal tracing predicts it (Hase et al. 2023,
"Does localization inform editing?", arXiv:2301.04213, §5). A sweep edits each fact in one layer after the other. P(new)
after the edit is predicted from the layer alone (as categories), then from the layer, the fact's own tracing effect
there and their interaction: a slope per layer. The increase in R² is what tracing says about editing.

A fact's rows are not independent. With so few facts no F-test with a covariance clustered by fact keeps its level: in
simulated sweeps in which tracing says nothing, it rejects 14 % at 24 facts and 4 layers, 57 % at 24 facts and 12
layers, and more where effects are skewed. So the facts' whole profiles of effects are permuted among the facts, which
is exact for any number of them. The test statistic is the increase in R², which orders permutations as F does: the rest
of F is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from kn_thesis.editing.tables import AGREEMENT_CRITERIA, CRITERIA, EDITED, RELATION_CRITERIA, Editing
from kn_thesis.models.summary import wilson
from kn_thesis.stats import MIN_UNITS, cluster_means, clustered_interval, holm, quiet
from kn_thesis.tracing.tables import MEASURES, Tracing, measures_of

CRITERIA_OF = {"relation": RELATION_CRITERIA, "paradigm": AGREEMENT_CRITERIA}
PAIRS = {kind: [("reliability", other) for other in names[1:]] for kind, names in CRITERIA_OF.items()}
PAIRS["relation"] += [("generality", other) for other in ("symmetry_new", "symmetry_old", "synonymy")]
MEANS = [
    *("share_before", "share", "share_known", "p_before", "p_after", "p_change", "tokens_before", "tokens_after"),
    "preferred",
]
# Columns of each interval's ends, by the column that it belongs to.
ENDS = {"share": ("low", "high"), "share_known": ("known_low", "known_high"), "p_change": ("p_low", "p_high")}
CRITERIA_COLUMNS = [
    *("criterion", "edits", "failed", "questions", "share_before", "share", "low", "high"),
    *("known_edits", "share_known", "known_low", "known_high"),
    *("p_before", "p_after", "p_change", "p_low", "p_high", "tokens_before", "tokens_after", "preferred"),
]
COUNTS = ("both", "first_only", "second_only", "neither")
TESTS = ["first", "second", "edits", *COUNTS, "p"]
FLUENCY_COLUMNS = ["edits", "entropy_before", "entropy_after", "change", "low", "high", "p", "update_share"]
DIRECTION_CRITERIA = ("reliability", "generality", "symmetry_new", "symmetry_old", "locality")
DIRECTION_COLUMNS = [
    *("task", "criterion", "facts", "share_both", "low_both", "high_both", "share_one_way", "low_one_way"),
    *("high_one_way", "both_only", "one_way_only", "p", "p_both", "p_one_way"),
]
DIRECTION_HEAD = [  # of editing_directions.csv
    *("family", "both", "one_way", "editor"),
    *DIRECTION_COLUMNS[: DIRECTION_COLUMNS.index("p") + 1],
    *("p_holm", "differs", "p_both", "p_one_way"),
]


def per_edit(editing: Editing) -> pd.DataFrame:
    """Average the questions of each edit and criterion.

    Args:
        editing: tables of one task.

    Returns:
        One row per edit and criterion, sorted by both. edit, criterion, cluster, new; failed: whether it was not
        edited; questions: their number; meets: whether more than half of them hold after the edit. MEANS are means over
        the questions:
        share_before, share: whether they hold before and after.
        share_known: whether they hold after, over those that the model could answer before; nan without any.
        p_before, p_after, p_change: P(expected), and after − before.
        tokens_before, tokens_after: shares of expected's tokens that are first choices.
        preferred: P(expected) > P(rival) after, over those with a rival; nan for locality.
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
    means = groups[MEANS].mean()
    means.insert(0, "questions", groups.size())
    means["meets"] = means["share"] > 0.5
    about = editing.edits.set_index("edit")
    about = pd.DataFrame({"cluster": about["cluster"], "new": about["new"], "failed": about["status"] != EDITED})
    return means.reset_index().merge(about, on="edit", how="left", validate="many_to_one")


def pooled(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Join the tables of `per_edit` of several tasks, with the column task: an edit's name is unique within a task."""
    return pd.concat([table.assign(task=task) for task, table in tables.items()], ignore_index=True)


def criteria_rows(edits: pd.DataFrame, resamples: int, confidence: float, seed: int) -> pd.DataFrame:
    """Summarise edits by criterion.

    Args:
        edits: rows of `pooled`.
        resamples: of the bootstrap.
        confidence: of the intervals.
        seed: of the bootstrap.

    Returns:
        One row per criterion that has questions, in the order of CRITERIA, columns CRITERIA_COLUMNS. edits: those with
        such questions; failed: those of them that were not edited; questions: their number; known_edits: those with a
        question that the model could answer before. MEANS are over edits; share, share_known and p_change have
        intervals (see `stats.clustered_interval`).
    """
    if not len(edits):
        return pd.DataFrame(columns=CRITERIA_COLUMNS)
    groups = edits.groupby("criterion", sort=True)
    table = groups[MEANS].mean()
    table["edits"] = groups.size()
    table[["failed", "questions"]] = groups[["failed", "questions"]].sum().astype(int)
    table["known_edits"] = groups["share_known"].count()
    ends = interval_rows(edits, ["criterion"], list(ENDS), resamples, confidence, seed)
    for name, columns in ENDS.items():
        table[list(columns)] = ends.loc[name]
    order = [criterion for criterion in CRITERIA if criterion in table.index]
    return table.loc[order].reset_index()[CRITERIA_COLUMNS]


def interval_rows(
    edits: pd.DataFrame, key: Sequence[str], names: Sequence[str], resamples: int, confidence: float, seed: int
) -> pd.DataFrame:
    """Compute intervals of means over clusters (see `stats.clustered_interval`).

    Clusters without a value are not resampled.

    Args:
        edits: one row per edit and key, with the columns task, edit and cluster.
        key: columns by which the means are grouped.
        names: columns that are averaged.
        resamples: of the bootstrap.
        confidence: of the intervals.
        seed: of the bootstrap.

    Returns:
        Columns low and high, by name and key.
    """
    wide = edits.set_index(["task", "edit", *key])[list(names)].unstack(list(key)).sort_index()
    about = edits.drop_duplicates(["task", "edit"]).set_index(["task", "edit"])["cluster"].loc[wide.index].astype(str)
    there = wide.notna().groupby(about.to_numpy()).any()
    alike: dict[bytes, list[int]] = {}  # columns with the same clusters share their resamples
    for number, column in enumerate(there.to_numpy().T):
        alike.setdefault(column.tobytes(), []).append(number)
    ends = np.full((2, wide.shape[1]), np.nan)
    for numbers in alike.values():
        rows = about.isin(there.index[there.iloc[:, numbers[0]]]).to_numpy()
        values = wide.to_numpy(dtype=float)[rows][:, numbers]
        ends[:, numbers] = clustered_interval(values, about[rows].tolist(), resamples, confidence, seed)
    return pd.DataFrame(ends.T, wide.columns, ["low", "high"])


def criteria_tests(edits: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Test whether edits meet one criterion without another.

    Args:
        edits: rows of `pooled`, of tasks of one kind.
        kind: "relation" or "paradigm".

    Returns:
        One row per pair of criteria, columns TESTS; counts are of edits with questions about both.
    """
    if not len(edits):
        return pd.DataFrame(columns=TESTS)
    shares = edits.set_index(["task", "edit", "criterion"])["share"].unstack("criterion")
    rows = []
    for pair in PAIRS[kind]:
        both = shares.reindex(columns=list(pair)).dropna()
        met = (both > 0.5).to_numpy(dtype=bool)
        rows.append({"first": pair[0], "second": pair[1], "edits": len(both)} | compare_criteria(met[:, 0], met[:, 1]))
    return pd.DataFrame(rows, columns=TESTS)


def compare_criteria(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Compare paired booleans.

    Args:
        first: bool, (pairs,).
        second: bool, (pairs,).

    Returns:
        COUNTS, and p of the exact McNemar test (nan where no pair differs).
    """
    table = [[int((a & b).sum()) for b in (second, ~second)] for a in (first, ~first)]
    counts = dict(zip(COUNTS, (table[0][0], table[0][1], table[1][0], table[1][1]), strict=True))
    differ = counts["first_only"] + counts["second_only"]
    return counts | {"p": float(mcnemar(table, exact=True).pvalue) if differ else np.nan}


def in_order(table: pd.DataFrame, first: Sequence[str]) -> pd.DataFrame:
    """Sort rows by `first`, then by all other columns: sums round the same in whatever order a file was written."""
    return table.sort_values([*first, *(name for name in table if name not in first)], ignore_index=True)


def fluency_row(edits: pd.DataFrame, resamples: int, confidence: float, seed: int) -> dict[str, float]:
    """Summarise what edits do to continuations and to weights, over those that succeeded.

    Args:
        edits: `tables.Editing.edits` of one or several tasks.
        resamples: of the bootstrap.
        confidence: of the interval.
        seed: of the bootstrap.

    Returns:
        FLUENCY_COLUMNS. edits: those with both entropies; entropy_before, entropy_after and change are their means
        (bits). low, high: interval of change over clusters. p: t-test of the clusters' mean changes against 0, nan for
        fewer than 5 clusters. update_share: mean ratio of the norm of the change to that of the weights (Frobenius).
    """
    succeeded = edits[edits["status"] == EDITED]
    succeeded = succeeded.sort_values(["cluster", "entropy_before", "entropy_after", "update_norm", "weight_norm"])
    known = succeeded.dropna(subset=["entropy_before", "entropy_after"])
    change = (known["entropy_after"] - known["entropy_before"]).to_numpy(dtype=float)[:, None]
    clusters = known["cluster"].astype(str).tolist()
    low, high = clustered_interval(change, clusters, resamples, confidence, seed)
    means = cluster_means(change, clusters)
    with quiet():
        p = stats.ttest_1samp(means[:, 0], 0.0).pvalue if len(means) >= MIN_UNITS else np.nan
    share = succeeded["update_norm"] / succeeded["weight_norm"].where(succeeded["weight_norm"] > 0)
    return {
        "edits": len(known),
        "entropy_before": known["entropy_before"].mean(),
        "entropy_after": known["entropy_after"].mean(),
        "change": float(change.mean()) if len(known) else np.nan,
        "low": float(low[0]),
        "high": float(high[0]),
        "p": float(p),
        "update_share": share.mean(),
    }


def direction_rows(
    both: Mapping[str, pd.DataFrame], one_way: Mapping[str, pd.DataFrame], confidence: float
) -> pd.DataFrame:
    """Compare the same edits in two models whose worlds state both directions of relations, or one.

    Args:
        both: `per_edit` of each relation in the first model, by task.
        one_way: the same in the second.
        confidence: of the intervals.

    Returns:
        One row per task and criterion of DIRECTION_CRITERIA, columns DIRECTION_COLUMNS. facts: those with the same new
        object in both models. share_*: of these, the share whose edit meets the criterion, with Wilson's interval.
        both_only, one_way_only: number that meets it in that model only. p: exact McNemar test (nan where no fact
        differs). p_both, p_one_way: mean P(expected) after.
    """
    rows = []
    for task in (task for task in both if task in one_way):
        for criterion in DIRECTION_CRITERIA:
            first, second = (_facts(tables[task], criterion) for tables in (both, one_way))
            if not len(first) or not len(second):
                continue
            shared = first.index.intersection(second.index).sort_values()
            met = {"both": first.loc[shared, "meets"], "one_way": second.loc[shared, "meets"]}
            counts = compare_criteria(*(column.to_numpy(dtype=bool) for column in met.values()))
            row = {"task": task, "criterion": criterion, "facts": len(shared), "p": counts["p"]}
            row |= {"both_only": counts["first_only"], "one_way_only": counts["second_only"]}
            for name, column in met.items():
                ends = wilson([int(column.sum())], [len(shared)], confidence) if len(shared) else ([np.nan], [np.nan])
                row |= {f"share_{name}": column.mean(), f"low_{name}": ends[0][0], f"high_{name}": ends[1][0]}
            row |= {"p_both": first.loc[shared, "p_after"].mean(), "p_one_way": second.loc[shared, "p_after"].mean()}
            rows.append(row)
    return pd.DataFrame(rows, columns=DIRECTION_COLUMNS)


def correct_directions(rows: pd.DataFrame, level: float) -> pd.DataFrame:
    """Add p_holm and differs (p_holm < level) to all rows of one pair of models; columns DIRECTION_HEAD."""
    p = holm(rows["p"].to_numpy(dtype=float))
    return rows.assign(p_holm=p, differs=p < level)[DIRECTION_HEAD]


def _facts(edits: pd.DataFrame, criterion: str) -> pd.DataFrame:
    """Rows of one criterion by fact and new object; of several edits of a fact to one object the first by name."""
    rows = edits[edits["criterion"] == criterion].sort_values("edit")
    return rows.drop_duplicates(["cluster", "new"]).set_index(["cluster", "new"])


TRACED = ("mlp", "hidden")  # restored states whose effects are used
LAYERS = ["layer", "criterion", "edits", "held", "low", "high", "p_after", "trace_mlp", "trace_hidden"]
LOCALIZATION = [
    *("kind", "task", "best_layer", "peak_mlp", "peak_hidden", "agrees_mlp", "agrees_hidden", "facts"),
    *("r2_layer", "r2_both", "gain", "p", "p_holm", "informs", "note"),
]


def cue_effects(tracing: Tracing, kind: str) -> pd.DataFrame:
    """Collect the tracing effects at the cue's last token.

    The effect is on the measure that the chapter on tracing reports first: P(target) for facts, the preference for
    agreement.

    Args:
        tracing: tables of one task.
        kind: "relation" or "paradigm".

    Returns:
        Columns prompt, cluster, layer, mlp and hidden (nan where that was not restored).
    """
    rows = tracing.effects[(tracing.effects["role"] == "cue last") & tracing.effects["restored"].isin(TRACED)]
    value = rows[MEASURES[measures_of(kind)[0]].effect].astype(float)
    table = pd.DataFrame({"prompt": rows["prompt"], "layer": rows["layer"].astype(int), "value": value})
    table["restored"] = rows["restored"].astype(str)
    wide = table.groupby(["prompt", "layer", "restored"])["value"].mean().unstack("restored").reindex(columns=TRACED)
    wide = wide.reset_index().rename_axis(columns=None)
    wide.insert(1, "cluster", wide["prompt"].map(tracing.prompts.set_index("prompt")["cluster"]))
    return wide


def layer_rows(
    sweep: pd.DataFrame, effects: pd.DataFrame | None, resamples: int, confidence: float, seed: int
) -> pd.DataFrame:
    """Summarise a sweep by layer and criterion.

    Args:
        sweep: rows of `task.sweep_layers` of one or several tasks, with the column task.
        effects: rows of `cue_effects`, if the tasks were traced.
        resamples: of the bootstrap.
        confidence: of the intervals.
        seed: of the bootstrap.

    Returns:
        One row per layer and criterion, columns LAYERS: edits; held (mean over edits of the share of questions that
        hold) with its interval over clusters; p_after (mean P(expected)); trace_mlp and trace_hidden (mean effects at
        that layer, nan without any).
    """
    if not len(sweep):
        return pd.DataFrame(columns=LAYERS)
    key = ["layer", "criterion"]
    groups = sweep.sort_values(["task", "edit"]).groupby(key)
    table = groups[["held", "p_after"]].mean()
    table["edits"] = groups.size()
    table[["low", "high"]] = interval_rows(sweep, key, ["held"], resamples, confidence, seed).loc["held"]
    table = table.reset_index()
    for name in TRACED:
        means = _means(effects, name)
        table[f"trace_{name}"] = table["layer"].map(means).astype(float)
    place = table["criterion"].map(CRITERIA.index)
    return table.assign(place=place).sort_values(["layer", "place"], ignore_index=True)[LAYERS]


def localization_rows(
    sweeps: Mapping[str, pd.DataFrame],
    effects: Mapping[str, pd.DataFrame],
    kinds: Mapping[str, str],
    *,
    level: float,
    permutations: int,
    seed: int,
) -> pd.DataFrame:
    """Test for each swept task of one model whether tracing predicts where to edit.

    Args:
        sweeps: rows of `task.sweep_layers`, by task.
        effects: rows of `cue_effects`, by task, for the tasks that were traced.
        kinds: "relation" or "paradigm", by task.
        level: of significance.
        permutations: number of them.
        seed: of the permutations.

    Returns:
        One row per task, columns LOCALIZATION. best_layer: layer of the largest mean P(new) after the edit, over the
        reliability questions. peak_*: layer of the largest mean effect; of equal ones the lowest. agrees_*: whether it
        is best_layer. facts: clusters that were edited and traced at every layer; r2_layer, r2_both, gain and p are
        about these (see `informed`). p_holm: corrected over the model's tasks. informs: p_holm < level. note: why there
        is no p.
    """
    rows = []
    for task, sweep in sweeps.items():
        reliability = sweep[sweep["criterion"] == "reliability"].sort_values(["edit", "layer"])
        traced = effects.get(task)
        best = _peak(_means(reliability, "p_after"))
        peaks = {name: _peak(_means(traced, name)) for name in TRACED}
        row = {"kind": kinds[task], "task": task, "best_layer": best}
        row |= {f"peak_{name}": peak for name, peak in peaks.items()}
        row |= {f"agrees_{name}": bool(peak == best) for name, peak in peaks.items()}
        rows.append(row | informed(reliability, traced, permutations, seed))
    table = pd.DataFrame(rows, columns=LOCALIZATION)
    table["p_holm"] = holm(table["p"].to_numpy(dtype=float))
    table["informs"] = table["p_holm"] < level
    return table


def informed(edited: pd.DataFrame, traced: pd.DataFrame | None, permutations: int, seed: int) -> dict[str, object]:
    """Test whether a fact's MLP effect in a layer predicts P(new) after its edit there, beyond the layer alone.

    A fact's effect is the mean over its prompts. A layer in which the effects do not vary has no slope.

    Args:
        edited: columns edit, cluster, layer and p_after.
        traced: rows of `cue_effects`, if there are any.
        permutations: number of permutations of the facts' profiles.
        seed: of the permutations.

    Returns:
        facts, r2_layer, r2_both, gain, p and note. p is the share of permutations, the observed order among them, with
        at least the observed gain. All are nan for fewer than 5 facts, and where P(new) or the effects do not vary.
    """
    nothing = dict.fromkeys(("r2_layer", "r2_both", "gain", "p"), np.nan)
    wide = edited.pivot(index=["edit", "cluster"], columns="layer", values="p_after").dropna()
    if traced is None or not len(traced) or not len(wide):
        return {"facts": 0} | nothing | {"note": "not edited" if not len(wide) else "not traced"}
    profiles = traced.groupby(["cluster", "layer"])["mlp"].mean().unstack("layer").reindex(columns=wide.columns)
    profiles = profiles.dropna()
    wide = wide[wide.index.get_level_values("cluster").isin(profiles.index)]
    facts, about = np.unique(wide.index.get_level_values("cluster").astype(str), return_inverse=True)
    x, y = profiles.loc[facts].to_numpy(dtype=float), wide.to_numpy(dtype=float)
    varied = np.ptp(x, axis=0) > 0 if len(facts) else np.zeros(0, dtype=bool)
    notes = {
        f"fewer than {MIN_UNITS} facts both edited and traced: no test": len(facts) < MIN_UNITS,
        "no effect differs from another: no test": not varied.any(),
        "no P(new) differs from another: no test": not y.size or np.ptp(y) == 0,
    }
    if any(notes.values()):
        return {"facts": len(facts)} | nothing | {"note": next(note for note, holds in notes.items() if holds)}
    total = float(((y - y.mean()) ** 2).sum())
    centred = y - y.mean(axis=0)
    edits = np.bincount(about).astype(float)
    summed = np.stack([np.bincount(about, weights=column) for column in centred.T], axis=1)[:, varied]
    gain = gained(x[:, varied], summed, edits) / total
    random = np.random.default_rng(seed)
    orders = (random.permutation(len(facts)) for _ in range(permutations))
    permuted = np.array([gained(x[order][:, varied], summed, edits) / total for order in orders])
    alone = max(0.0, 1 - float((centred**2).sum()) / total)
    p = (1 + int((permuted >= gain - 1e-12).sum())) / (1 + permutations)
    return {"facts": len(facts), "r2_layer": alone, "r2_both": alone + gain, "gain": gain, "p": p, "note": ""}


def gained(x: np.ndarray, summed: np.ndarray, edits: np.ndarray) -> float:
    """Compute the sum of squares that a slope per layer explains beside an intercept per layer.

    No slope is shared, so each layer is a simple regression of its own.

    Args:
        x: effects, (facts, layers).
        summed: response minus its layer's mean, summed over each fact's edits, (facts, layers).
        edits: number of each fact's edits, (facts,).
    """
    centred = x - edits @ x / edits.sum()
    return float((((centred * summed).sum(axis=0)) ** 2 / (edits @ centred**2)).sum())


def _means(table: pd.DataFrame | None, name: str) -> pd.Series:
    """Means by layer; empty without a table."""
    if table is None or not len(table):
        return pd.Series(dtype=float)
    return table.groupby("layer")[name].mean()


def _peak(means: pd.Series) -> float:
    """Layer of the largest mean, the lowest of equal ones; nan without any."""
    known = means.dropna().sort_index()
    return float(known.idxmax()) if len(known) else np.nan
