"""An editor's settings as a user gives them by name, checked, with a layer for models of any depth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from numbers import Real
from typing import Any

from kn_thesis.editing.editors import editor_named
from kn_thesis.editing.keys import check_layer
from kn_thesis.errors import UserError
from kn_thesis.given_values import is_whole

DEPTH = 48  # layers of gpt2-xl, for which the editors' own default layer is meant
# `old` is the old answer for the user; these are λ₁ and λ₂ of the knowledge-neuron edit.
GIVEN = {"old": "old_factor", "new": "new_factor"}
# Of many requests together; one request's paraphrases are those that are given.
LEFT_OUT = ("shared", "paraphrases")
ABOVE_ZERO = ("learning_rate", "norm", "clamp")
MOST = {"learning_rate": 10.0, "share": 1.0}  # the first as in the study's configuration


def scaled_layer(layer: int, layers: int) -> int:
    """The layer of a model with `layers` layers that lies where `layer` does in gpt2-xl.

    Meng et al. (2022) edit layer 17 of its 48, counted from 0 (their hparams/ROME/gpt2-xl.json).
    """
    return min(round(layer / DEPTH * layers), layers - 1)


def given_settings(editor: str, layers: int, values: Mapping[str, Any]) -> Any:
    """The settings of an editor, `values` in place of its defaults, for a model with `layers` layers.

    A layer that is not given is scaled to the model's depth. Raises UserError for an unknown editor or setting, and for
    a value that cannot be.
    """
    kind = editor_named(editor).settings
    known = {GIVEN.get(field.name, field.name): field for field in fields(kind) if field.name not in LEFT_OUT}
    if unknown := [name for name in values if name not in known]:
        raise UserError(f"{editor} has no setting {unknown[0]!r}: choose of {', '.join(known)}")
    for name, value in values.items():
        _check(name, value, known[name].default)
    chosen = {known[name].name: value for name, value in values.items()}
    if "layer" in known:
        chosen.setdefault("layer", scaled_layer(known["layer"].default, layers))
        check_layer(chosen["layer"], layers)
    return kind(**chosen)


def _check(name: str, value: Any, default: Any) -> None:
    """Raise UserError for a value of another type than the default, or out of its range."""
    if isinstance(default, str):
        if not isinstance(value, str):
            raise UserError(f"{name} is {value!r}: give a text, such as {default!r}")
    elif isinstance(default, int):
        least = 0 if name == "layer" else 1
        # A layer below 0 is reported with those that the model has.
        if not is_whole(value, None if name == "layer" else least):
            raise UserError(f"{name} is {value!r}: give a whole number, {least} or more")
    else:
        number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
        most = MOST.get(name, math.inf)
        if not number or value < 0 or value > most or (name in ABOVE_ZERO and value == 0):
            low = "above 0" if name in ABOVE_ZERO else "0 or more"
            high = f", {most:g} at most" if name in MOST else ""
            raise UserError(f"{name} is {value!r}: give a number, {low}{high}")
