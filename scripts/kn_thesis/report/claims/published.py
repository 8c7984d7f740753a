"""What the paper reports of a part of a claim, as one number like ours, from resources/published.yaml."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kn_thesis.localization.likeness import likeness_of

Published = Mapping[str, Any]
# bert-base-cased's MLP neurons: layers × intermediate size (Devlin et al. 2019, §3)
BERT_BASE_NEURONS = 12 * 3072
DETERMINERS = {"this": "singular", "that": "singular", "these": "plural", "those": "plural"}


def neuron_share(published: Published) -> float:
    """Mean |KN| of the paradigms over all neurons of the model."""
    return float(np.mean(_values(published, "KN", relations=False))) / BERT_BASE_NEURONS


def kinds_apart(column: str) -> Callable[[Published], float]:
    """Mean over paradigms less mean over relations."""
    return lambda published: float(
        np.mean(_values(published, column, relations=False)) - np.mean(_values(published, column, relations=True))
    )


def likeness(published: Published) -> float:
    """Cosine between determiners of one number less that of two, from the neurons that are printed."""
    rows = published["determiner_neurons"]["neurons"]
    scores = {word: np.array([row[word] for row in rows], dtype=float) for word in DETERMINERS}
    return likeness_of(scores, DETERMINERS)


def overturned(published: Published) -> float:
    """Mean fall of accuracy when the neurons are edited."""
    return float(np.mean([-task["change"] for task in published["accuracy"]["tasks"].values()])) / 100


def neuron_edit_reliability(published: Published) -> float:
    """Mean over data sets and models."""
    measured = published["editing"]["neuron_edit_reliability"]
    sets = [values for name, values in measured.items() if name != "source"]
    return float(np.mean([value for values in sets for value in values.values()])) / 100


VALUES: Mapping[str, Callable[[Published], float]] = {
    "neuron_share": neuron_share,
    "KN": kinds_apart("KN"),
    "tau": kinds_apart("tau"),
    "R2_1": kinds_apart("R2_1"),
    "likeness": likeness,
    "overturned": overturned,
    "neuron_edit_reliability": neuron_edit_reliability,
}


def _values(published: Published, column: str, relations: bool) -> Sequence[float]:
    return list(_of_kind(published["localization"]["tasks"], column, relations))


def _of_kind(tasks: Mapping[str, Any], column: str, relations: bool) -> Iterator[float]:
    for name, values in tasks.items():
        if (name[0] == "P" and name[1:].isdigit()) == relations:
            yield float(values[column])
