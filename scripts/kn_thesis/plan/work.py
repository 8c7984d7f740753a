"""Count what each kind of job computes, from the model's shape, the sizes of its tasks and the study's settings.

The unit is a pass: one token through one layer. A prompt of 10 tokens through a model of 48 layers takes 480 passes,
in a forward pass of the whole model or in rows that start at any layer. Parts of a layer count by their parameters. A
backward pass goes the same way back, to the gradients of activations; gradients of weights are in `extra`. So this
study's methods can be compared with the plain algorithms of public code (plan.plain).

Some numbers are unknown before a run. The counts assume that every prompt, fact and pair can be tokenized and is
answered correctly, that every search takes all of its steps, and that every target has a knowledge neuron. They are
therefore upper bounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from kn_thesis.plan.sizes import Shape

SETS_BEGIN = 0.2  # mean relative depth of the lowest neuron of a suppressed set
DISTINCT = 0.5  # share of the texts of a task's questions that belong to one edit only
CONTEXT = 2  # tokens of a context beside those that are configured: "The" and a full stop
KL_TOKENS = 2  # tokens of the text whose continuation ROME keeps with its KL term, after the subject: "is a"


@dataclass(frozen=True)
class Work:
    """What a job computes.

    Attributes:
        forward: forward passes.
        backward: backward passes.
        predictions: positions whose output logits are computed.
        slopes: positions whose output logits have gradients.
        extra: further floating-point operations.
        calls: how often a batch enters a layer, forward or backward.
    """

    forward: float = 0.0
    backward: float = 0.0
    predictions: float = 0.0
    slopes: float = 0.0
    extra: float = 0.0
    calls: float = 0.0

    def __add__(self, other: Work) -> Work:
        """Add the work of two pieces."""
        return Work(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    def times(self, factor: float) -> Work:
        """Multiply the work by `factor`."""
        return Work(*(getattr(self, one.name) * factor for one in fields(self)))

    def flops(self, shape: Shape) -> float:
        """Return the floating-point operations: two per parameter and pass (attention is negligible)."""
        layers = (self.forward + self.backward) * shape.layer_parameters
        return 2 * (layers + (self.predictions + self.slopes) * shape.vocabulary * shape.hidden) + self.extra


@dataclass(frozen=True)
class Task:
    """A task in tokens of a model (plan.sizes.Size has it in words).

    Attributes:
        prompts: how many a job takes.
        tokens: mean length of a prompt.
        target: mean length of a target.
        behind: mean number of tokens that tracing restores; 0 without a cue.
        last: mean number of tokens from the cue's last word on, in causal models.
        paradigm: whether prompts have a foil, as those of minimal pairs do.
    """

    prompts: float
    tokens: float
    target: float = 1.0
    behind: float = 0.0
    last: float = 0.0
    paradigm: bool = False

    @property
    def longest(self) -> float:
        """Tokens of a prompt and its target without the target's last token."""
        return self.tokens + self.target - 1

    @property
    def texts(self) -> float:
        """Texts of a prompt: one for the first tokens of target and foil, one more for each of their further tokens."""
        return 2 * self.target - 1 if self.paradigm else self.target


def together(works: Iterable[Work]) -> Work:
    """Add up pieces of work."""
    return sum(works, Work())


def whole(shape: Shape, tokens: float, batches: float = 1.0) -> Work:
    """Count a forward pass of the whole model over `tokens` tokens."""
    return Work(forward=tokens * shape.layers, calls=batches * shape.layers)


def clean(shape: Shape, tokens: float) -> float:
    """Count the passes of a prompt whose last layer is computed at the mask position alone (models.forward)."""
    return tokens * (shape.layers - 1) + _all_read(shape, tokens)


def restarted(shape: Shape, masked: bool, tokens: float, layer: int) -> float:
    """Count the passes of a row whose neurons are replaced in `layer` (models.restart)."""
    above = shape.layers - 1 - layer
    if not masked or above < 2:
        return shape.writing + above
    first = shape.projecting + (1 - shape.projecting) * tokens
    return shape.writing + first + (above - 2) * tokens + _all_read(shape, tokens)


def _all_read(shape: Shape, tokens: float) -> float:
    """Count the passes of a layer with all tokens' queries, keys and values, and with one token's output."""
    return shape.projecting * tokens + 1 - shape.projecting


def evaluation(shape: Shape, masked: bool, task: Task, batch_tokens: int) -> Work:
    """Count the evaluation of a task: each prompt with its target, and with its foil in a paradigm.

    A masked model computes its output logits at every token.
    """
    rows = task.prompts * (task.target if masked else 1) * (2 if task.paradigm else 1)
    tokens = task.tokens if masked else task.longest
    states = whole(shape, rows * tokens, batches_of(rows * tokens, batch_tokens))
    return states + Work(predictions=rows * (tokens if masked else task.target))


def attribution(
    shape: Shape, masked: bool, task: Task, nodes: int, batch_tokens: int, recomputed: bool = False
) -> Work:
    """Count integrated gradients (docs/method.md §3).

    After a clean run each layer is run at each node, from that layer up and back, and once with its neurons at zero.

    Args:
        shape: the model's sizes.
        masked: whether it is a masked language model.
        task: the attributed prompts.
        nodes: quadrature nodes.
        batch_tokens: tokens of a batch.
        recomputed: whether the backward pass runs each layer forward again, where the graph exceeds the memory budget.
    """
    positions = task.prompts * task.target
    above = sum(restarted(shape, masked, task.tokens, layer) for layer in range(shape.layers))
    there, back = positions * (nodes + 1) * above, positions * nodes * above
    again = back if recomputed else 0
    rows = positions * nodes * shape.layers * (task.tokens if masked else 1)
    return Work(
        forward=positions * clean(shape, task.tokens) + there + again,
        backward=back,
        predictions=positions * (1 + shape.layers * (nodes + 1)),
        slopes=positions * shape.layers * nodes,
        calls=batches_of(rows, batch_tokens) * shape.layers * 4,
    )


def suppression(
    shape: Shape, masked: bool, task: Task, sets: float, settings: Mapping[str, Any], batch_tokens: int
) -> Work:
    """Count the suppression of neuron sets: every studied word before and after each operation on each set.

    Random sets replace each set on a sample of the prompts.

    Args:
        shape: the model's sizes.
        masked: whether it is a masked language model.
        task: the prompts.
        sets: how many sets of neurons are suppressed.
        settings: `operations`, `words` (a list per group), `random_sets`, `random_prompts`, and `longer`: further
            texts that a word of several tokens needs, per studied word.
        batch_tokens: tokens of a batch.
    """
    readings = 1 + settings["longer"] * words_of(settings)
    sample = min(task.prompts, settings["random_prompts"])
    changes = sets * len(settings["operations"])
    unchanged = readings * (task.prompts + sample)
    changed = readings * changes * (task.prompts + sample * settings["random_sets"])
    above = restarted(shape, masked, task.tokens, round(SETS_BEGIN * shape.layers))
    rows = changed * (task.tokens if masked else 1)
    return Work(
        forward=(task.prompts + unchanged) * clean(shape, task.tokens) + changed * above,
        predictions=unchanged + changed,
        calls=(batches_of(rows, batch_tokens) + 2 * batches_of(unchanged * task.tokens, batch_tokens)) * shape.layers,
    )


def words_of(settings: Mapping[str, Any]) -> int:
    """Count the studied words: those in the settings, and each prompt's own two."""
    return sum(map(len, settings["words"].values())) + 2


def tracing(shape: Shape, masked: bool, task: Task, settings: Mapping[str, Any], batch_tokens: int) -> Work:
    """Count causal tracing: every token and layer is restored for each noise sample and kind of state.

    Each run goes on from the restored state. In a causal model no token before the cue or before the restored token
    changes.

    Args:
        shape: the model's sizes.
        masked: whether it is a masked language model.
        task: the traced prompts.
        settings: `draws`, `kinds`, and `window` (a share of the layers).
        batch_tokens: tokens of a batch.
    """
    tokens, draws, layers = task.tokens, settings["draws"], shape.layers
    restored = task.behind
    if not restored:
        return Work()
    enters = [e for kind in settings["kinds"] for e in _enters(kind, layers, settings["window"])]
    moving = tokens if masked else (restored + 1) / 2
    passes = sum((layers - e - 1) * moving + _all_read(shape, moving) for e in enters if e < layers)
    rows = draws * restored * len(enters)
    batches = restored * batches_of(draws * len(enters) * tokens, batch_tokens)
    one = Work(
        forward=(1 + draws) * tokens * layers + draws * restored * passes,
        predictions=1 + draws + rows,
        calls=(2 + batches) * layers,
    )
    return one.times(task.prompts * task.texts)


def _enters(kind: str, layers: int, share: float) -> list[int]:
    """Return the first layer that each restored cell changes: one past its window (tracing.patching)."""
    window = 1 if kind == "hidden" or kind.startswith("severed") else max(1, round(share * layers))
    return [max(0, layer - window // 2) + 1 for layer in range(layers)]


def covariance(shape: Shape, tokens: int, layers: Iterable[int], batch_tokens: int) -> Work:
    """Count the keys' second moments: every token once up to the highest layer's neurons, each layer's products."""
    collected = list(layers)
    passes = tokens * (max(collected) + 1 - shape.writing)
    products = 2 * tokens * len(collected) * shape.intermediate**2
    return Work(forward=passes, extra=products, calls=batches_of(tokens, batch_tokens) * (max(collected) + 1))


def training(
    shape: Shape, masked: bool, steps: int, batch: int, tokens: float, causal_steps: int = 0, rate: float = 0.0
) -> Work:
    """Count the training of a model: each step runs a batch of sentences forward and backward.

    Args:
        shape: the model's sizes.
        masked: whether it is a masked language model.
        steps: the maximum number of steps.
        batch: sentences of a batch.
        tokens: mean length of a sentence.
        causal_steps: steps at the start in which a masked model predicts every token; at most half of all count.
        rate: share of the tokens that a masked model predicts in the other steps.
    """
    read = steps * batch * tokens
    causal = min(causal_steps / steps, 0.5)
    predicted = read * (causal + (1 - causal) * rate if masked else 1)
    weights = 2 * (read * shape.layers * shape.layer_parameters + predicted * shape.vocabulary * shape.hidden)
    updates = 20 * steps * shape.parameters  # AdamW, and the norm of the gradients
    return Work(
        read * shape.layers, read * shape.layers, predicted, predicted, weights + updates, 2 * steps * shape.layers
    )


def batches_of(tokens: float, batch_tokens: int) -> float:
    """Return how many batches `tokens` tokens fill, at least one."""
    return max(1.0, tokens / batch_tokens)


@dataclass(frozen=True)
class Edits:
    """The edits of a task.

    Attributes:
        count: how many.
        considered: facts or pairs that could be edited.
        task: the task's prompts.
        questions: how many an edit has.
        criteria: how many criteria the questions belong to.
        paraphrases: prompts of a fact that are attributed.
    """

    count: float
    considered: float
    task: Task
    questions: float
    criteria: int
    paraphrases: float = 1.0

    @property
    def begun(self) -> float:
        """Tokens of a prompt up to the subject's last."""
        return self.task.tokens - self.task.last + 1

    @property
    def texts(self) -> float:
        """Texts of an edit: words of several tokens need further ones."""
        return self.questions * (2 * self.task.target - 1)


def questions_of(
    paradigm: bool, each: int, others: int, paraphrases: float, inverse: float = 0, synonym: float = 0
) -> tuple[float, int]:
    """Return the maximum number of an edit's questions, and the number of their criteria (editing.questions).

    Args:
        paradigm: whether a pair is edited, not a fact.
        each: maximum number of questions for a criterion.
        others: how many other items are asked about.
        paraphrases: prompts of a fact.
        inverse: prompts of a fact of the inverse relation; 0 without one.
        synonym: prompts of a fact of the synonymous relation; 0 without one.
    """
    if paradigm:
        return 1 + 4 * others, 5
    linked = [min(each, inverse)] * 2 + [min(each, synonym)]
    return 1 + min(each, max(0, paraphrases - 1)) + others + sum(linked), 3 + sum(1 for one in linked if one)


def rome(
    shape: Shape, edits: Edits, layer: int, steps: int, contexts: Sequence[tuple[int, int]], last: bool, batch: int
) -> Work:
    """Count ROME's search: a clean run of each text, then, in each step, the changed tokens above the edited layer.

    Args:
        shape: the model's sizes.
        edits: the edits of a task.
        layer: the edited layer.
        steps: optimization steps.
        contexts: (tokens, texts) of the contexts that go before the prompt.
        last: whether the prompt's last token is edited, not the subject's.
        batch: tokens of a batch.
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
    """Return how many numbers a step of ROME keeps for its backward pass, in the largest batch.

    A layer above the edited one keeps about eight times the states and four times the neurons of the changed tokens,
    and the keys and values of whole texts. The arguments are those of `rome`.
    """
    rows, longest, moving = _texts(edits, contexts, last)
    together = min(edits.count, max(1.0, batch // (rows * longest)))
    one = moving * (8 * shape.hidden + 4 * shape.intermediate) + longest * 4 * shape.hidden
    return together * rows * (shape.layers - 1 - layer) * one


def _texts(edits: Edits, contexts: Sequence[tuple[int, int]], last: bool) -> tuple[float, float, float]:
    """Return the texts of an edit (with the bare prompt and the KL text), tokens of the longest, changed tokens."""
    rows = 2 + sum(texts for _, texts in contexts)
    longest = edits.task.longest + max((tokens + CONTEXT for tokens, _ in contexts), default=0)
    return rows, longest, edits.task.target if last else edits.task.last + edits.task.target - 1


def fine_tuning(shape: Shape, edits: Edits, layer: int, steps: int, values: int = 2**24) -> Work:
    """Count fine-tuning: the prompt once up to the edited matrix; in each step from there up, and Adam on all entries.

    Args:
        shape: the model's sizes.
        edits: the edits of a task.
        layer: the edited layer.
        steps: optimization steps.
        values: maximum number of matrix entries in memory, over the edits that are searched together.
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
    """Count the knowledge-neuron edit: the attribution of each fact's prompts. The change itself is negligible."""
    task = Task(edits.count * edits.paraphrases, edits.task.tokens, edits.task.target)
    return attribution(shape, masked, task, nodes, batch_tokens)


def answers(shape: Shape, edits: Edits, layer: int, batch_tokens: int) -> Work:
    """Count the answers to an edit's questions, before and after.

    Each distinct text goes once through the layers below the edited MLP, and through those above it in the unedited
    model and in every edited one. `layer` is the lowest edited layer.
    """
    tokens = edits.task.longest
    texts = edits.count * edits.texts
    below, above = layer + 1 - _mlp(shape), shape.layers - 1 - layer + _mlp(shape)
    passes = tokens * (DISTINCT * texts * (below + above) + texts * above)
    batches = batches_of(2 * texts * tokens, batch_tokens)
    return Work(passes, predictions=4 * edits.count * edits.questions * edits.task.target, calls=batches * shape.layers)


def continuations(shape: Shape, edits: Edits, tokens: int, samples: int, batch_tokens: int) -> Work:
    """Count the continuations before and after each edit: samples after the subject, and a text for each criterion."""
    sampled, written = 2 * samples * edits.count, (1 + DISTINCT) * edits.criteria * edits.count
    read = sampled * (edits.begun + tokens - 1) + written * (edits.task.tokens + tokens - 1)
    batches = batches_of(read, batch_tokens) * tokens
    return whole(shape, read, batches) + Work(predictions=(sampled + written) * tokens)


def edited_layer(shape: Shape, layer: int | None) -> int:
    """Return the edited layer, or the expected lowest one where the method chooses it."""
    return round(SETS_BEGIN * shape.layers) if layer is None else min(layer, shape.layers - 1)


def _mlp(shape: Shape) -> float:
    """Return the MLP's share of a layer's parameters."""
    return 1 - shape.projecting - shape.hidden**2 / shape.layer_parameters
