"""How much an edit computes: what finds it, and what is asked and written before and after it. See plan.work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kn_thesis.plan.shape import Shape
from kn_thesis.plan.work import SETS_BEGIN, Task, Work, attribution, batches_of, whole

DISTINCT = 0.5  # of the texts that edits of a task are asked about, the share that no other edit has
CONTEXT = 2  # tokens of a context beside those that are stated: "The", and a point
KEPT = 2  # tokens of the text whose continuation shall stay, beside the subject's: "is a"


@dataclass(frozen=True)
class Edits:
    """Edits of a task. count: how many. considered: facts or pairs that could be edited. task: its prompts. questions:
    asked of each edit. criteria: that these belong to. paraphrases: prompts of a fact that are attributed.
    """

    count: float
    considered: float
    task: Task
    questions: float
    criteria: int
    paraphrases: float = 1.0

    @property
    def begun(self) -> float:
        """Tokens up to the subject's last."""
        return self.task.tokens - self.task.last + 1

    @property
    def texts(self) -> float:
        """Texts that are read for each edit: a word of several tokens needs its own."""
        return self.questions * (2 * self.task.target - 1)


def questions_of(
    paradigm: bool, each: int, others: int, paraphrases: float, inverse: float = 0, synonym: float = 0
) -> tuple[float, int]:
    """Most questions of an edit, and the criteria that they belong to (editing.questions).

    paraphrases: prompts of a fact; inverse, synonym: the same of the linked relations, 0 where there is none.
    """
    if paradigm:
        return 1 + 4 * others, 5
    linked = [min(each, inverse)] * 2 + [min(each, synonym)]
    return 1 + min(each, max(0, paraphrases - 1)) + others + sum(linked), 3 + sum(1 for one in linked if one)


def rome(
    shape: Shape, edits: Edits, layer: int, steps: int, contexts: Sequence[tuple[int, int]], last: bool, batch: int
) -> Work:
    """Each text once as it is; then, step by step, its tokens from the edited one on above the edited layer.

    contexts: (tokens, texts) that go before the prompt. last: whether the prompt's last token is edited.
    """
    target = edits.task.target
    rows, longest, moving = _texts(edits, contexts, last)
    above = rows * moving * (shape.layers - 1 - layer)
    batches = max(1.0, edits.count * rows * longest / batch)
    answers = (rows - 1) * target + 1
    one = Work(
        forward=rows * longest * shape.layers + (steps + 1) * above,
        backward=(steps - 1) * above,
        predictions=steps * answers + 1,
        slopes=(steps - 1) * answers,
    )
    return one.times(edits.count) + Work(calls=batches * (shape.layers + 2 * steps * (shape.layers - layer)))


def rome_graph(
    shape: Shape, edits: Edits, layer: int, contexts: Sequence[tuple[int, int]], last: bool, batch: int
) -> float:
    """Numbers that a step of ROME keeps for its way back, in the largest batch: of the layers above the edited one.

    Some eight times the states and four times the neurons of tokens that move, and keys and values of whole texts.
    """
    rows, longest, moving = _texts(edits, contexts, last)
    together = min(edits.count, max(1.0, batch // (rows * longest)))
    one = moving * (8 * shape.hidden + 4 * shape.intermediate) + longest * 4 * shape.hidden
    return together * rows * (shape.layers - 1 - layer) * one


def _texts(edits: Edits, contexts: Sequence[tuple[int, int]], last: bool) -> tuple[float, float, float]:
    """Texts of an edit, the bare prompt and the kept text among them; tokens of the longest; tokens that move."""
    rows = 2 + sum(texts for _, texts in contexts)
    longest = edits.task.longest + max((tokens + CONTEXT for tokens, _ in contexts), default=0)
    return rows, longest, edits.task.target if last else edits.task.last + edits.task.target - 1


def fine_tuning(shape: Shape, edits: Edits, layer: int, steps: int, values: int = 2**24) -> Work:
    """The prompt once up to the edited matrix; then, step by step, from there up, and Adam on all entries.

    values: most entries of the matrix in memory at once.
    """
    tokens = edits.task.longest
    above = tokens * (shape.layers - 1 - layer + shape.writing)
    entries = shape.hidden * shape.intermediate
    one = Work(
        forward=tokens * (layer + 1) + steps * above,
        backward=(steps - 1) * above,
        predictions=steps * edits.task.target,
        slopes=(steps - 1) * edits.task.target,
        extra=20 * steps * entries,
    )
    together = max(1, values // entries)
    return one.times(edits.count) + Work(calls=edits.count / together * 2 * steps * (shape.layers - layer))


def knowledge_neuron(shape: Shape, masked: bool, edits: Edits, nodes: int, batch_tokens: int) -> Work:
    """The attribution of each fact's prompts; what is changed then takes no time."""
    task = Task(edits.count * edits.paraphrases, edits.task.tokens, edits.task.target)
    return attribution(shape, masked, task, nodes, batch_tokens)


def answers(shape: Shape, edits: Edits, layer: int, batch_tokens: int) -> Work:
    """Each distinct text once below the edited layer's MLP; above it in the model as it is, and in every edited one.

    layer: the lowest that is edited.
    """
    tokens = edits.task.longest
    texts = edits.count * edits.texts
    below, above = layer + 1 - _mlp(shape), shape.layers - 1 - layer + _mlp(shape)
    passes = tokens * (DISTINCT * texts * (below + above) + texts * above)
    batches = batches_of(2 * texts * tokens, batch_tokens)
    return Work(passes, predictions=4 * edits.count * edits.questions * edits.task.target, calls=batches * shape.layers)


def continuations(shape: Shape, edits: Edits, tokens: int, samples: int, batch_tokens: int) -> Work:
    """What models write before and after each edit: samples after the subject, and one text for each criterion."""
    sampled, written = 2 * samples * edits.count, (1 + DISTINCT) * edits.criteria * edits.count
    read = sampled * (edits.begun + tokens - 1) + written * (edits.task.tokens + tokens - 1)
    batches = batches_of(read, batch_tokens) * tokens
    done = whole(shape, read, batches)
    return done + Work(predictions=(sampled + written) * tokens)


def edited_layer(shape: Shape, layer: int | None) -> int:
    """The layer that is edited, or the lowest one where the method finds it itself."""
    return round(SETS_BEGIN * shape.layers) if layer is None else min(layer, shape.layers - 1)


def _mlp(shape: Shape) -> float:
    """The MLP's share of a layer."""
    return 1 - shape.projecting - shape.hidden**2 / shape.layer_parameters
