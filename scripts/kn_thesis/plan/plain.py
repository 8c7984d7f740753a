"""Count what the plain algorithms compute, as public code runs them: one prompt, layer, set or state at a time.

Each goes through the whole model, which computes its output logits at every token. tests/reference/ has these
algorithms, and `make bench` times them against this study's. The functions have the names and arguments of plan.work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kn_thesis.plan.sizes import Shape
from kn_thesis.plan.work import CONTEXT, KL_TOKENS, Edits, Task, Work, words_of

NODES = 20  # of the published quadrature rule


def forwards(shape: Shape, count: float, tokens: float, rows: float = 1) -> Work:
    """Count `count` forward passes of the whole model, each with `rows` rows of `tokens` tokens."""
    read = count * rows * tokens
    return Work(forward=read * shape.layers, predictions=read, calls=count * shape.layers)


def there_and_back(shape: Shape, count: float, tokens: float, rows: float, down_to: float) -> Work:
    """Count the same forward passes, and back from the output to the activations of layer `down_to` (lowest: 0)."""
    above = shape.layers - down_to
    back = count * rows * tokens
    return forwards(shape, count, tokens, rows) + Work(backward=back * above, slopes=back, calls=count * above)


def evaluation(shape: Shape, task: Task) -> Work:
    """Count a forward pass for each token of a target and of a foil."""
    return forwards(shape, task.prompts * task.target * (2 if task.paradigm else 1), task.tokens)


def attribution(shape: Shape, task: Task) -> Work:
    """Count, for each layer, a forward pass that reads the activations, and one with a row per node, there and back."""
    positions = task.prompts * task.target
    middle = (shape.layers - 1) / 2
    one = forwards(shape, 1, task.tokens) + there_and_back(shape, 1, task.tokens, NODES, middle)
    return one.times(positions * shape.layers)


def suppression(shape: Shape, task: Task, sets: float, settings: Mapping[str, Any]) -> Work:
    """Count a forward pass for each text, set and operation; all words of one token share a text."""
    sample = min(task.prompts, settings["random_prompts"])
    readings = 1 + settings["longer"] * words_of(settings)
    changed = sets * len(settings["operations"]) * (task.prompts + sample * settings["random_sets"])
    texts = readings * (task.prompts + sample + changed)
    return forwards(shape, task.prompts + texts, task.tokens)


def tracing(shape: Shape, task: Task, settings: Mapping[str, Any]) -> Work:
    """Count a forward pass of the clean row and the corrupted ones for each kind of state, token and layer."""
    if not task.behind:
        return Work()
    cells = len(settings["kinds"]) * task.tokens * shape.layers
    return forwards(shape, task.prompts * task.texts * (cells + 1), task.tokens, 1 + settings["draws"])


def rome(shape: Shape, edits: Edits, layer: int, steps: int, contexts: Sequence[tuple[int, int]]) -> Work:
    """Count ROME's search: each step runs every context and the KL text through the whole model."""
    rows = 2 + sum(texts for _, texts in contexts)
    longest = edits.task.longest + max((tokens + CONTEXT for tokens, _ in contexts), default=0)
    one = forwards(shape, 1, longest, rows) + forwards(shape, 1, edits.begun + KL_TOKENS)
    return (one + there_and_back(shape, steps, longest, rows, layer)).times(edits.count)


def fine_tuning(shape: Shape, edits: Edits, layer: int, steps: int) -> Work:
    """Count fine-tuning: each step runs the prompt through the whole model and updates the matrix."""
    tokens = edits.task.longest
    updates = Work(extra=20 * steps * shape.hidden * shape.intermediate)
    return (there_and_back(shape, steps, tokens, 1, layer) + updates).times(edits.count)


def knowledge_neuron(shape: Shape, edits: Edits) -> Work:
    """Count the attribution of each fact's prompts."""
    return attribution(shape, Task(edits.count * edits.paraphrases, edits.task.tokens, edits.task.target))


def answers(shape: Shape, edits: Edits) -> Work:
    """Count a forward pass for each question and its rival, before and after each edit."""
    return forwards(shape, 4 * edits.count * edits.questions, edits.task.longest)


def continuations(shape: Shape, edits: Edits, tokens: int, samples: int) -> Work:
    """Count the continuations, one text at a time, with cached keys and values."""
    rows = 2 * edits.count * (samples + edits.criteria)
    read = 2 * edits.count * (samples * (edits.begun + tokens - 1) + edits.criteria * (edits.task.tokens + tokens - 1))
    return Work(forward=read * shape.layers, predictions=rows * tokens, calls=rows * tokens * shape.layers)
