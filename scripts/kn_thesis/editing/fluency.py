"""What edits do to free text: the entropy of what the model goes on to say, and how far its weights were moved."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from kn_thesis.clusters import FEWEST, cluster_means, clustered_interval, quiet
from kn_thesis.editing.names import EDITED

COLUMNS = ["edits", "entropy_before", "entropy_after", "change", "low", "high", "p", "update_share"]


def fluency_row(edits: pd.DataFrame, resamples: int, confidence: float, seed: int) -> dict[str, float]:
    """Of the edits that were made (`edits` of results.Editing, of one task or several): columns COLUMNS.

    edits: those with both entropies, of which entropy_before, entropy_after (bits) and change are means; low, high:
    interval of change over clusters; p: t-test of clusters' mean changes against 0, nan for fewer than 5 clusters.
    update_share: mean of the change's norm over the weights' (Frobenius), over all that were made.
    """
    made = edits[edits["status"] == EDITED]
    made = made.sort_values(["cluster", "entropy_before", "entropy_after", "update_norm", "weight_norm"])
    known = made.dropna(subset=["entropy_before", "entropy_after"])
    change = (known["entropy_after"] - known["entropy_before"]).to_numpy(dtype=float)[:, None]
    clusters = known["cluster"].astype(str).tolist()
    low, high = clustered_interval(change, clusters, resamples, confidence, seed)
    means = cluster_means(change, clusters)
    with quiet():
        p = stats.ttest_1samp(means[:, 0], 0.0).pvalue if len(means) >= FEWEST else np.nan
    share = made["update_norm"] / made["weight_norm"].where(made["weight_norm"] > 0)
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
