"""How much each kind of job computes, from the model's shape, the sizes of its tasks and the study's settings.

The unit is a pass: one token through one layer. A prompt of 10 tokens through a model of 48 layers is 480 passes, in a
whole forward of the model or in rows that start anywhere in it; parts of a layer count by their parameters. A backward
pass is the same way back, to activations; what gradients of weights cost on top is in `extra`. That makes the methods
of this study comparable with the plain algorithms of public code (plan.plain).

Assumed, since nobody knows it before a run: every prompt, fact and pair can be put in tokens and is answered rightly,
every search takes all of its steps, every target has a knowledge neuron. So estimates are rather too large.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from kn_thesis.plan.shape import Shape

SETS_BEGIN = 0.2  # of the depth: where the lowest neuron of a suppressed set lies, on average


@dataclass(frozen=True)
class Work:
    """What is computed.

    forward, backward: passes. predictions, slopes: positions given to the output, and their gradients. extra: further
    floating-point operations. calls: how often the program enters a layer with a batch, there or back.
    """

    forward: float = 0.0
    backward: float = 0.0
    predictions: float = 0.0
    slopes: float = 0.0
    extra: float = 0.0
    calls: float = 0.0

    def __add__(self, other: Work) -> Work:
        """Both, one after the other."""
        return Work(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    def times(self, factor: float) -> Work:
        """The same so many times."""
        return Work(*(getattr(self, one.name) * factor for one in fields(self)))

    def flops(self, shape: Shape) -> float:
        """Floating-point operations: two per parameter and pass (attention over so few tokens adds next to none)."""
        layers = (self.forward + self.backward) * shape.layer_parameters
        return 2 * (layers + (self.predictions + self.slopes) * shape.vocabulary * shape.hidden) + self.extra


@dataclass(frozen=True)
class Task:
    """A task of a model, in tokens: plan.sizes.Size. prompts: as many as a job takes; target: tokens of a target."""

    prompts: float
    tokens: float
    target: float = 1.0
    behind: float = 0.0
    last: float = 0.0
    paradigm: bool = False

    @property
    def longest(self) -> float:
        """Tokens of a prompt and of the target but its last."""
        return self.tokens + self.target - 1

    @property
    def texts(self) -> float:
        """Texts that are read for a prompt's target and foil: each of their tokens but the first has its own."""
        return 2 * self.target - 1 if self.paradigm else self.target


def together(works: Iterable[Work]) -> Work:
    """Several pieces of work in one job."""
    return sum(works, Work())


def whole(shape: Shape, tokens: float, batches: float = 1.0) -> Work:
    """The model's own forward."""
    return Work(forward=tokens * shape.layers, calls=batches * shape.layers)


def clean(shape: Shape, tokens: float) -> float:
    """Passes of a prompt whose last layer is asked at the gap alone (localization.clean)."""
    return tokens * (shape.layers - 1) + _all_read(shape, tokens)


def restarted(shape: Shape, masked: bool, tokens: float, layer: int) -> float:
    """Passes of a row whose neurons are replaced in a layer (localization.causal and .masked)."""
    above = shape.layers - 1 - layer
    if not masked or above < 2:
        return shape.writing + above
    first = shape.projecting + (1 - shape.projecting) * tokens
    return shape.writing + first + (above - 2) * tokens + _all_read(shape, tokens)


def _all_read(shape: Shape, tokens: float) -> float:
    """Passes of a layer in which all tokens have queries, keys and values, and one goes on."""
    return shape.projecting * tokens + 1 - shape.projecting


def evaluation(shape: Shape, masked: bool, task: Task, batch_tokens: int) -> Work:
    """Each prompt with its target, and a pair's with its foil. A masked model's output is computed at every token."""
    rows = task.prompts * (task.target if masked else 1) * (2 if task.paradigm else 1)
    tokens = task.tokens if masked else task.longest
    done = whole(shape, rows * tokens, batches_of(rows * tokens, batch_tokens))
    return done + Work(predictions=rows * (tokens if masked else task.target))


def attribution(
    shape: Shape, masked: bool, task: Task, nodes: int, batch_tokens: int, recomputed: bool = False
) -> Work:
    """A clean run; then each layer at each node, from that layer up, there and back (DESIGN.md §4), and once at zero.

    recomputed: whether each layer's forward is done a second time on the way back, where the graph has no room.
    """
    asked = task.prompts * task.target
    above = sum(restarted(shape, masked, task.tokens, layer) for layer in range(shape.layers))
    there, back = asked * (nodes + 1) * above, asked * nodes * above
    again = back if recomputed else 0
    rows = asked * nodes * shape.layers * (task.tokens if masked else 1)
    return Work(
        forward=asked * clean(shape, task.tokens) + there + again,
        backward=back,
        predictions=asked * (1 + shape.layers * (nodes + 1)),
        slopes=asked * shape.layers * nodes,
        calls=batches_of(rows, batch_tokens) * shape.layers * 4,
    )


def suppression(
    shape: Shape, masked: bool, task: Task, sets: float, settings: Mapping[str, Any], batch_tokens: int
) -> Work:
    """Every word before, and after each operation on each set of neurons; random sets in their places, on a sample.

    settings: operations, words (a list per group), random_sets, random_prompts; longer: texts that are read beside a
    prompt for words of several tokens, per word that is looked at.
    """
    readings = 1 + settings["longer"] * words_of(settings)
    sample = min(task.prompts, settings["random_prompts"])
    changes = sets * len(settings["operations"])
    asked = readings * (task.prompts + sample)
    changed = readings * changes * (task.prompts + sample * settings["random_sets"])
    above = restarted(shape, masked, task.tokens, round(SETS_BEGIN * shape.layers))
    rows = changed * (task.tokens if masked else 1)
    return Work(
        forward=(task.prompts + asked) * clean(shape, task.tokens) + changed * above,
        predictions=asked + changed,
        calls=(batches_of(rows, batch_tokens) + 2 * batches_of(asked * task.tokens, batch_tokens)) * shape.layers,
    )


def words_of(settings: Mapping[str, Any]) -> int:
    """Words that are looked at: those listed, and each prompt's own two."""
    return sum(map(len, settings["words"].values())) + 2


def tracing(shape: Shape, masked: bool, task: Task, settings: Mapping[str, Any], batch_tokens: int) -> Work:
    """For each draw and kind of state every token and layer is restored, and the run goes on from there.

    settings: draws, kinds, window (a share of the layers). In a causal model tokens before the cue change nothing, nor
    do those before the restored one.
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
    done = Work(
        forward=(1 + draws) * tokens * layers + draws * restored * passes,
        predictions=1 + draws + rows,
        calls=(2 + batches) * layers,
    )
    return done.times(task.prompts * task.texts)


def _enters(kind: str, layers: int, share: float) -> list[int]:
    """The layer that each restored cell enters with its token changed (tracing.restore.Cell)."""
    window = 1 if kind == "hidden" or kind.startswith("severed") else max(1, round(share * layers))
    return [max(0, layer - window // 2) + 1 for layer in range(layers)]


def covariance(shape: Shape, tokens: int, layers: Iterable[int], batch_tokens: int) -> Work:
    """Every token once, up to the highest layer's neurons; and the products of each layer's."""
    wanted = list(layers)
    passes = tokens * (max(wanted) + 1 - shape.writing)
    products = 2 * tokens * len(wanted) * shape.intermediate**2
    return Work(forward=passes, extra=products, calls=batches_of(tokens, batch_tokens) * (max(wanted) + 1))


def training(
    shape: Shape, masked: bool, steps: int, batch: int, tokens: float, causal_steps: int = 0, rate: float = 0.0
) -> Work:
    """Each step reads a batch of sentences, there and back; `steps` are the most that there may be.

    A masked model predicts every token in its `causal_steps` (half of all at most), and then a share `rate` of them.
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
    """Batches that so many tokens make."""
    return max(1.0, tokens / batch_tokens)
