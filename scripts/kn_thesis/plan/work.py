"""How much each kind of job computes, from the model's shape, the number of prompts and the study's settings.

An estimate made before anything is known of the prompts: a prompt has `TOKENS` tokens, a target one. It serves to ask
a cluster for time and memory, so it rounds up: sets of neurons reach down to the first layer, no prompt is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kn_thesis.plan.shape import Shape

TOKENS = 16  # of a prompt: minimal pairs and ParaRel's sentences have 6 to 25
BACKWARD = 3  # forward and backward together, in forwards
SETS = 15  # of neurons that are suppressed in a paradigm: a dozen targets', both numbers', and what these share
FACTS = 1000  # most facts of a relation, and most pairs of a paradigm


@dataclass(frozen=True)
class Work:
    """token_layers: tokens times layers that are computed, in forwards. predictions: positions given to the output."""

    token_layers: float
    predictions: float

    def flops(self, shape: Shape) -> float:
        """Floating-point operations: two per parameter and token (attention over so few tokens adds next to none)."""
        return 2 * (self.token_layers * shape.layer_parameters + self.predictions * shape.vocabulary * shape.hidden)


def evaluation(shape: Shape, prompts: int) -> Work:
    """Each prompt with its target, and with its foil."""
    return Work(2 * prompts * TOKENS * shape.layers, 2 * prompts)


def attribution(shape: Shape, masked: bool, prompts: int, settings: Mapping[str, Any]) -> Work:
    """A clean run; then each layer at each node, from that layer up, there and back (DESIGN.md §4).

    Above the changed layer a causal model computes the last token alone, a masked one all of them.
    """
    above = shape.layers * (shape.layers + 1) / 2 * settings["nodes"]
    rows = shape.layers * settings["nodes"]
    tokens = TOKENS if masked else 1
    return Work(prompts * (TOKENS * shape.layers + BACKWARD * tokens * above), prompts * BACKWARD * rows)


def suppression(shape: Shape, masked: bool, prompts: int, settings: Mapping[str, Any]) -> Work:
    """Every word before, and after each operation on each set of neurons; random sets in their places, on a sample."""
    words = sum(map(len, settings["words"].values())) + 2
    tried = SETS * (prompts + min(prompts, settings["random_prompts"]) * settings["random_sets"])
    rows = prompts + tried * len(settings["operations"])
    # Words of one token are read off one prediction; half of them have more in the vocabularies of large models.
    steps = 1 + words / 2
    tokens = TOKENS if masked else 1
    return Work(rows * steps * tokens * shape.layers + prompts * TOKENS * shape.layers, rows * steps)


def tracing(shape: Shape, prompts: int, settings: Mapping[str, Any]) -> Work:
    """For each draw and kind of state every token and layer is restored, and the run goes on from there."""
    runs = settings["draws"] * len(settings["kinds"]) * TOKENS * shape.layers
    return Work(prompts * (runs * TOKENS * (shape.layers + 1) / 2 + TOKENS * shape.layers), prompts * runs)


def editing(shape: Shape, requests: int, steps: int, contexts: int, settings: Mapping[str, Any]) -> Work:
    """What finds an edit (`steps` forwards and backwards of `contexts` prompts), and what is asked around it."""
    questions = settings["questions"]
    asked = 6 * max(questions["each"], questions["others"])
    written = settings["continuations"]["samples"] * settings["continuations"]["tokens"]
    found = BACKWARD * steps * contexts * TOKENS
    tokens = found + 2 * (asked * TOKENS + written)
    return Work(requests * tokens * shape.layers, requests * (BACKWARD * steps * contexts + 2 * (asked + written)))


def covariance(shape: Shape, tokens: int) -> Work:
    """Every token once; nothing is predicted."""
    return Work(tokens * shape.layers, 0)


def training(shape: Shape, steps: int, batch: int) -> Work:
    """Each step reads a batch of sentences, there and back."""
    return Work(BACKWARD * steps * batch * TOKENS * shape.layers, BACKWARD * steps * batch * TOKENS)
