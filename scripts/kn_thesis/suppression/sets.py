"""Choose the neurons that are changed together: knowledge neurons of a target or a number, and random control sets.

`selected_sets` refines knowledge neurons over the prompts of each target word and each number. `random_sets` draws
controls that match a set in layers, size and mean activation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kn_thesis.corpora.sampling import hash_rank
from kn_thesis.localization.selection import select_neurons
from kn_thesis.suppression.tables import NUMBERS, SHARED


@dataclass(frozen=True)
class NeuronSet:
    """A set of neurons, sorted by layer and index.

    Attributes:
        name: The target word, the number, or "shared" (of both numbers).
        kind: "target" (the knowledge neurons of one target word) or "number" (those of a number, or shared).
        prompts: Number of prompts over which the neurons were refined.
        layer: Layer of each neuron, int (neurons,).
        neuron: Index of each neuron in its layer, int (neurons,).
        draw: 0 for the knowledge neurons themselves, from 1 on for random sets in their place.
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
    """Select the knowledge neurons of each target word and, if a task has both numbers, of each number.

    A number's neurons are refined over all of its prompts, whatever their target (docs/method.md §4, with the number as
    the group). Neurons that both numbers select belong to neither: they form the set "shared", as the published
    singular and plural neurons are disjoint.

    Args:
        scores: Attribution scores (prompts, layers, width).
        targets: Target word of each prompt.
        numbers: Grammatical number of each prompt.
        coarse: See `select_neurons`.
        share: See `select_neurons`.

    Returns:
        All sets, including empty ones.
    """
    sets = [
        NeuronSet(name, "target", count, *neurons)
        for name, (count, neurons) in _refine(scores, targets, sorted(set(targets)), coarse, share).items()
    ]
    if not set(NUMBERS) <= set(numbers):
        return sets
    of_numbers = _refine(scores, numbers, NUMBERS, coarse, share)
    members = {
        number: set(zip(*map(np.ndarray.tolist, neurons), strict=True)) for number, (_, neurons) in of_numbers.items()
    }
    singular, plural = (members[number] for number in NUMBERS)
    parts = {"singular": singular - plural, "plural": plural - singular, SHARED: singular & plural}
    counts = {number: count for number, (count, _) in of_numbers.items()}
    for name, part in parts.items():
        arrays = np.array(sorted(part), dtype=int).reshape(-1, 2).T
        sets.append(NeuronSet(name, "number", counts.get(name, sum(counts.values())), *arrays))
    return sets


def _refine(
    scores: np.ndarray, groups: Sequence[str], names: Sequence[str], coarse: float, share: float
) -> dict[str, tuple[int, tuple[np.ndarray, np.ndarray]]]:
    """Each group's number of prompts, and layers and indices of its knowledge neurons."""
    places = [number for number, group in enumerate(groups) if group in names]
    inside = [groups[number] for number in places]
    table = select_neurons(scores[places], inside, coarse=coarse, share=share)
    rows = {name: table[table["group"] == name] for name in names}
    return {
        name: (inside.count(name), (rows[name]["layer"].to_numpy(int), rows[name]["neuron"].to_numpy(int)))
        for name in names
    }


def control_sample(prompts: Sequence[str], max_prompts: int, seed: int) -> list[int]:
    """Choose the prompts for the random sets by a hash of seed and name, and return their places, ascending."""
    order = sorted(range(len(prompts)), key=lambda number: hash_rank("controls", seed, prompts[number]))
    return sorted(order[:max_prompts])


def random_sets(selected: NeuronSet, means: np.ndarray, sets: int, nearest: int, seed: int) -> list[NeuronSet]:
    """Draw control sets from the same layers, of the same size, with similar mean activations.

    Each neuron of `selected` is replaced by one from its layer outside the set, drawn from the `nearest` in mean
    activation that are not yet taken. The result depends only on the seed and on the set's name, kind and neurons.

    Args:
        selected: The set to match.
        means: Mean activations (layers, width).
        sets: Number of control sets.
        nearest: Number of candidates for each neuron.
        seed: Random seed.

    Returns:
        The control sets. The list is empty for an empty set, or if a layer has too few other neurons.
    """
    per_layer = {int(layer): selected.neuron[selected.layer == layer] for layer in np.unique(selected.layer)}
    if not per_layer or any(2 * len(inside) > means.shape[1] for inside in per_layer.values()):
        return []
    controls = []
    for draw in range(1, sets + 1):
        random = np.random.default_rng(
            hash_rank("random set", seed, selected.kind, selected.name, selected.members, draw)
        )
        layers, neurons = [], []
        for layer, inside in per_layer.items():
            free = np.ones(means.shape[1], dtype=bool)
            free[inside] = False
            for neuron in random.permutation(inside):
                others = np.flatnonzero(free)
                distance = np.abs(means[layer, others] - means[layer, neuron])
                control = others[random.choice(np.argsort(distance, kind="stable")[:nearest])]
                free[control] = False
                layers.append(layer)
                neurons.append(control)
        order = np.lexsort((neurons, layers))
        arrays = (np.array(layers, dtype=int)[order], np.array(neurons, dtype=int)[order])
        controls.append(NeuronSet(selected.name, selected.kind, selected.prompts, *arrays, draw))
    return controls
