"""What the same would take as public code runs it: one prompt, one layer, one set or one state at a time.

Each goes through the whole model, whose output is computed at every token. tests/reference_*.py have these algorithms,
`make bench` times them against this study's. Nodes are the published rule's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kn_thesis.plan.editing import CONTEXT, KEPT, Edits
from kn_thesis.plan.shape import Shape
from kn_thesis.plan.work import Task, Work, words_of

NODES = 20


def forwards(shape: Shape, count: float, tokens: float, rows: float = 1) -> Work:
    """So many forwards of the whole model with rows of so many tokens."""
    read = count * rows * tokens
    return Work(forward=read * shape.layers, predictions=read, calls=count * shape.layers)


def there_and_back(shape: Shape, count: float, tokens: float, rows: float, down_to: float) -> Work:
    """The same, and back from the output down to a layer (0 the lowest), to its activations."""
    above = shape.layers - down_to
    back = count * rows * tokens
    return forwards(shape, count, tokens, rows) + Work(backward=back * above, slopes=back, calls=count * above)


def evaluation(shape: Shape, task: Task) -> Work:
    """One forward for each token of a target, and of a foil."""
    return forwards(shape, task.prompts * task.target * (2 if task.paradigm else 1), task.tokens)


def attribution(shape: Shape, task: Task) -> Work:
    """For each layer a forward that reads the activation, and one with a row per node, there and back to the layer."""
    asked = task.prompts * task.target
    middle = (shape.layers - 1) / 2
    one = forwards(shape, 1, task.tokens) + there_and_back(shape, 1, task.tokens, NODES, middle)
    return one.times(asked * shape.layers)


def suppression(shape: Shape, task: Task, sets: float, settings: Mapping[str, Any]) -> Work:
    """One forward for each text, set and operation; words of one token are read off one."""
    sample = min(task.prompts, settings["random_prompts"])
    readings = 1 + settings["longer"] * words_of(settings)
    changed = sets * len(settings["operations"]) * (task.prompts + sample * settings["random_sets"])
    texts = readings * (task.prompts + sample + changed)
    return forwards(shape, task.prompts + texts, task.tokens)


def tracing(shape: Shape, task: Task, settings: Mapping[str, Any]) -> Work:
    """One forward of the clean row and the corrupted ones for each kind of state, token and layer."""
    if not task.behind:
        return Work()
    cells = len(settings["kinds"]) * task.tokens * shape.layers
    return forwards(shape, task.prompts * task.texts * (cells + 1), task.tokens, 1 + settings["draws"])


def rome(shape: Shape, edits: Edits, layer: int, steps: int, contexts: Sequence[tuple[int, int]]) -> Work:
    """Each step runs every context, and the text whose continuation shall stay, through the whole model."""
    rows = 2 + sum(texts for _, texts in contexts)
    longest = edits.task.longest + max((tokens + CONTEXT for tokens, _ in contexts), default=0)
    one = forwards(shape, 1, longest, rows) + forwards(shape, 1, edits.begun + KEPT)
    return (one + there_and_back(shape, steps, longest, rows, layer)).times(edits.count)


def fine_tuning(shape: Shape, edits: Edits, layer: int, steps: int) -> Work:
    """Each step runs the prompt through the whole model and updates the matrix."""
    tokens = edits.task.longest
    updates = Work(extra=20 * steps * shape.hidden * shape.intermediate)
    return (there_and_back(shape, steps, tokens, 1, layer) + updates).times(edits.count)


def knowledge_neuron(shape: Shape, edits: Edits) -> Work:
    """The attribution of each fact's prompts."""
    return attribution(shape, Task(edits.count * edits.paraphrases, edits.task.tokens, edits.task.target))


def answers(shape: Shape, edits: Edits) -> Work:
    """A forward for each question and its rival, before and after."""
    return forwards(shape, 4 * edits.count * edits.questions, edits.task.longest)


def continuations(shape: Shape, edits: Edits, tokens: int, samples: int) -> Work:
    """One text at a time, beside the keys and values of what is written already."""
    rows = 2 * edits.count * (samples + edits.criteria)
    read = 2 * edits.count * (samples * (edits.begun + tokens - 1) + edits.criteria * (edits.task.tokens + tokens - 1))
    return Work(forward=read * shape.layers, predictions=rows * tokens, calls=rows * tokens * shape.layers)
