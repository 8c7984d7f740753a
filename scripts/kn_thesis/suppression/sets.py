"""Which neurons are changed together: a target's or a number's knowledge neurons, and random sets to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kn_thesis.corpora.rank import rank
from kn_thesis.localization.selection import select_neurons
from kn_thesis.suppression.names import NUMBERS, SHARED


@dataclass(frozen=True)
class NeuronSet:
    """Neurons (layer, index), sorted, and whose they are.

    kind: "target" (the knowledge neurons of one target word) or "number" (of a number, or shared). prompts: over
    which they were refined. draw: 0 for the neurons themselves, from 1 on for random sets in their place.
    """

    name: str
    kind: str
    prompts: int
    layer: np.ndarray
    neuron: np.ndarray
    draw: int = 0

    @property
    def members(self) -> str:
        """The neurons as text, "layer.index" each."""
        return " ".join(f"{layer}.{neuron}" for layer, neuron in zip(self.layer, self.neuron, strict=True))


def selected_sets(
    scores: np.ndarray, targets: Sequence[str], numbers: Sequence[str], *, coarse: float = 0.2, share: float = 0.7
) -> list[NeuronSet]:
    """Knowledge neurons of each target word and, where a task has both, of each number; empty sets included.

    scores (prompts, layers, width) with each prompt's target word and number. A number's neurons are refined over all
    of its prompts, whatever their target (DESIGN.md §4 with the number as the group). Those that both numbers have are
    neither's: they make the set "shared", as the published singular and plural neurons are none of the other number's.
    """
    found = [
        NeuronSet(name, "target", count, *neurons)
        for name, (count, neurons) in _refined(scores, targets, sorted(set(targets)), coarse, share).items()
    ]
    if not set(NUMBERS) <= set(numbers):
        return found
    refined = _refined(scores, numbers, NUMBERS, coarse, share)
    members = {
        number: set(zip(*map(np.ndarray.tolist, neurons), strict=True)) for number, (_, neurons) in refined.items()
    }
    singular, plural = (members[number] for number in NUMBERS)
    parts = {"singular": singular - plural, "plural": plural - singular, SHARED: singular & plural}
    counts = {number: count for number, (count, _) in refined.items()}
    for name, part in parts.items():
        arrays = np.array(sorted(part), dtype=int).reshape(-1, 2).T
        found.append(NeuronSet(name, "number", counts.get(name, sum(counts.values())), *arrays))
    return found


def control_sample(prompts: Sequence[str], most: int, seed: int) -> list[int]:
    """Places, ascending, of the prompts that random sets are tried on: at most `most`, by a hash of seed and name."""
    order = sorted(range(len(prompts)), key=lambda number: rank("controls", seed, prompts[number]))
    return sorted(order[:most])


def _refined(
    scores: np.ndarray, groups: Sequence[str], names: Sequence[str], coarse: float, share: float
) -> dict[str, tuple[int, tuple[np.ndarray, np.ndarray]]]:
    """Each group's number of prompts, and layers and indices of its knowledge neurons."""
    kept = [number for number, group in enumerate(groups) if group in names]
    inside = [groups[number] for number in kept]
    table = select_neurons(scores[kept], inside, coarse=coarse, share=share)
    rows = {name: table[table["group"] == name] for name in names}
    return {
        name: (inside.count(name), (rows[name]["layer"].to_numpy(int), rows[name]["neuron"].to_numpy(int)))
        for name in names
    }


def random_sets(selected: NeuronSet, means: np.ndarray, sets: int, nearest: int, seed: int) -> list[NeuronSet]:
    """Sets of as many neurons from the same layers, each neuron like one of `selected` in its mean activation.

    `means` (layers, width). Each neuron is replaced by one drawn from those of its layer outside the set: the
    `nearest` in mean activation that are not drawn yet. The draws depend on the seed, the set's name, kind and
    neurons, and on nothing else. Returns none for an empty set, or where a layer has too few other neurons.
    """
    per_layer = {int(layer): selected.neuron[selected.layer == layer] for layer in np.unique(selected.layer)}
    if not per_layer or any(2 * len(inside) > means.shape[1] for inside in per_layer.values()):
        return []
    found = []
    for draw in range(1, sets + 1):
        random = np.random.default_rng(rank("random set", seed, selected.kind, selected.name, selected.members, draw))
        layers, neurons = [], []
        for layer, inside in per_layer.items():
            free = np.ones(means.shape[1], dtype=bool)
            free[inside] = False
            for neuron in random.permutation(inside):
                others = np.flatnonzero(free)
                distance = np.abs(means[layer, others] - means[layer, neuron])
                chosen = others[random.choice(np.argsort(distance, kind="stable")[:nearest])]
                free[chosen] = False
                layers.append(layer)
                neurons.append(chosen)
        order = np.lexsort((neurons, layers))
        arrays = (np.array(layers, dtype=int)[order], np.array(neurons, dtype=int)[order])
        found.append(NeuronSet(selected.name, selected.kind, selected.prompts, *arrays, draw))
    return found
