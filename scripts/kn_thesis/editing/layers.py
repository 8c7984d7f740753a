"""Where an edit works, and whether causal tracing tells: Hase et al. (2023, arXiv 2301.04213), "Does localization
inform editing?"

A sweep edits each fact in one layer after the other. As they did in §5, P(new) after the edit is predicted from the
layer alone (as categories), then from the fact's own tracing effect at that layer as well, with its interaction: a
slope per layer. What the effects add to R² is what tracing tells about editing.

A fact's rows are no independent observations, and with as few facts as are traced no F-test with a covariance
clustered by fact keeps its level: of simulated sweeps in which tracing tells nothing, it rejects 14 % at 24 facts and 4
layers, 57 % at 24 facts and 12 layers, and more where effects are skewed. So facts' whole profiles of effects are
permuted among the facts instead, which is exact for any number of them. What is compared is the F of the added terms:
R² gained, as all else in it is the same under every permutation.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from kn_thesis.clusters import FEWEST, holm
from kn_thesis.editing.criteria import interval_rows
from kn_thesis.editing.names import CRITERIA
from kn_thesis.tracing.names import MEASURES, measures_of
from kn_thesis.tracing.results import Tracing

TRACED = ("mlp", "hidden")  # the restored states of which effects are looked at
LAYERS = ["layer", "criterion", "edits", "held", "low", "high", "p_after", "trace_mlp", "trace_hidden"]
LOCALIZATION = [
    *("kind", "task", "best_layer", "peak_mlp", "peak_hidden", "agrees_mlp", "agrees_hidden", "facts"),
    *("r2_layer", "r2_both", "gain", "p", "p_holm", "informs", "note"),
]


def cue_effects(tracing: Tracing, kind: str) -> pd.DataFrame:
    """Effects at the cue's last token: columns prompt, cluster, layer, and mlp and hidden (nan where not restored).

    The effect is on what the chapter on tracing reports first: P(target) of facts, the preference in agreement.
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
    """One row per layer and criterion of a sweep (one task's or several's, with the column task); columns LAYERS.

    edits, held (mean over edits of the share of questions that hold) with its interval over clusters, p_after (mean
    P(expected)); trace_mlp, trace_hidden: mean effects of `effects` (see `cue_effects`) at that layer, nan without.
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
    place = table["criterion"].map(list(CRITERIA).index)
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
    """One row per swept task of one model; columns LOCALIZATION.

    sweeps, effects (see `cue_effects`; of the tasks that were traced): by task. best_layer: of the largest mean P(new)
    after, over the reliability questions; peak_*: of the largest mean effect; the lowest of equals; agrees_*: whether
    both are one layer. facts: clusters both edited and traced at every layer, of which r2_layer, r2_both, gain and p
    are (see `informed`). p_holm over the model's tasks; informs: p_holm < level. note: why there is no p.
    """
    rows = []
    for task, sweep in sweeps.items():
        asked = sweep[sweep["criterion"] == "reliability"].sort_values(["edit", "layer"])
        traced = effects.get(task)
        best = _peak(_means(asked, "p_after"))
        peaks = {name: _peak(_means(traced, name)) for name in TRACED}
        row = {"kind": kinds[task], "task": task, "best_layer": best}
        row |= {f"peak_{name}": peak for name, peak in peaks.items()}
        row |= {f"agrees_{name}": bool(peak == best) for name, peak in peaks.items()}
        rows.append(row | informed(asked, traced, permutations, seed))
    table = pd.DataFrame(rows, columns=LOCALIZATION)
    table["p_holm"] = holm(table["p"].to_numpy(dtype=float))
    table["informs"] = table["p_holm"] < level
    return table


def informed(asked: pd.DataFrame, traced: pd.DataFrame | None, permutations: int, seed: int) -> dict[str, object]:
    """Does a fact's effect (MLP, by layer) tell P(new) after its edit in that layer, beyond what the layer tells?

    asked: rows edit, cluster, layer, p_after; traced: see `cue_effects`. A fact's effect is the mean over its prompts.
    Gives facts, r2_layer, r2_both, gain, p, note. p: the share of permutations of facts' profiles, the observed one
    among them, that gain as much. All nan for fewer than 5 facts, or where P(new) or the effects do not vary; a layer
    in which the effects do not vary has no slope.
    """
    nothing = dict.fromkeys(("r2_layer", "r2_both", "gain", "p"), np.nan)
    wide = asked.pivot(index=["edit", "cluster"], columns="layer", values="p_after").dropna()
    if traced is None or not len(traced) or not len(wide):
        return {"facts": 0} | nothing | {"note": "not edited" if not len(wide) else "not traced"}
    profiles = traced.groupby(["cluster", "layer"])["mlp"].mean().unstack("layer").reindex(columns=wide.columns)
    profiles = profiles.dropna()
    wide = wide[wide.index.get_level_values("cluster").isin(profiles.index)]
    facts, about = np.unique(wide.index.get_level_values("cluster").astype(str), return_inverse=True)
    x, y = profiles.loc[facts].to_numpy(dtype=float), wide.to_numpy(dtype=float)
    varied = np.ptp(x, axis=0) > 0 if len(facts) else np.zeros(0, dtype=bool)
    notes = {
        f"fewer than {FEWEST} facts both edited and traced: no test": len(facts) < FEWEST,
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
    drawn = np.array([gained(x[order][:, varied], summed, edits) / total for order in orders])
    alone = max(0.0, 1 - float((centred**2).sum()) / total)
    p = (1 + int((drawn >= gain - 1e-12).sum())) / (1 + permutations)
    return {"facts": len(facts), "r2_layer": alone, "r2_both": alone + gain, "gain": gain, "p": p, "note": ""}


def gained(x: np.ndarray, summed: np.ndarray, edits: np.ndarray) -> float:
    """Sum of squares that a slope per layer takes away, beside an intercept per layer.

    x: effects (facts, layers); summed: over each fact's edits, the response less its layer's mean, (facts, layers);
    edits: how many a fact has, (facts,). As no slope is shared, the layers are simple regressions of their own.
    """
    centred = x - edits @ x / edits.sum()
    return float((((centred * summed).sum(axis=0)) ** 2 / (edits @ centred**2)).sum())


def _means(table: pd.DataFrame | None, name: str) -> pd.Series:
    """Means by layer; of no table, none."""
    if table is None or not len(table):
        return pd.Series(dtype=float)
    return table.groupby("layer")[name].mean()


def _peak(means: pd.Series) -> float:
    """The layer of the largest mean, the lowest of equals; nan without any."""
    known = means.dropna().sort_index()
    return float(known.idxmax()) if len(known) else np.nan
