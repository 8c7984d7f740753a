"""Numbers that are none: weights and outputs that are NaN or infinite stop a run, by the name of model and layer.

A model can be damaged, or too large for its dtype: float16 ends at 65,504.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from kn_thesis.errors import UserError
from kn_thesis.models.memory import name_of

if TYPE_CHECKING:
    import torch

LAYER = re.compile(r"(?:^|\.)(?:h|layers?|blocks?)\.(\d+)(?:\.|$)")


def check_weights(module: torch.nn.Module, name: str) -> None:
    """Raise UserError for a weight that is not finite.

    One pass over the weights, without a copy of them: about as fast as memory is read.
    """
    if (error := _wrong_weights(module, name)) is not None:
        raise error


def _wrong_weights(module: torch.nn.Module, name: str) -> UserError | None:
    import torch

    for weight_name, weight in chain(module.named_parameters(), module.named_buffers()):  # a tied one comes once
        # Least and largest are NaN where anything is, and of the finite there is none that they would hide.
        if not weight.is_floating_point() or not weight.numel() or all(x.isfinite() for x in torch.aminmax(weight)):
            continue
        count = int((~weight.isfinite()).sum())
        return UserError(
            f"{name}: {_layer(weight_name)} has weights that are not finite ({weight_name}: {count} of "
            f"{weight.numel()}, in {_kind(weight)}); {_remedy(weight, 'get the model again, it is damaged')}"
        )
    return None


def not_finite(model: Any, input_ids: Sequence[int], what: str) -> UserError:
    """The error for a result that is not finite, by the first layer whose output is not.

    input_ids: what the model reads. what: the result. Where the model itself has finite outputs, it is named alone.
    """
    if (error := _wrong_weights(model.module, name_of(model))) is not None:  # changed since it was loaded
        return error
    weight = next(model.module.parameters())
    found = first_not_finite(model, input_ids)
    remedy = _remedy(weight, "its weights are finite, but too large: look where the model comes from")
    if found is None:
        return UserError(
            f"{name_of(model)}: {what}: not finite in {_kind(weight)}, though every layer's output is; {remedy}"
        )
    return UserError(
        f"{name_of(model)}: {what}: the output of {_layer(found)} is not finite ({found}, in {_kind(weight)}); {remedy}"
    )


def first_not_finite(model: Any, input_ids: Sequence[int]) -> str | None:
    """Name of the first module inside the model whose output is not finite; None where all are."""
    import torch

    found: list[str] = []

    def look(name: str, output: Any) -> None:
        for part in output if isinstance(output, tuple | list) else (output,):
            if not found and torch.is_tensor(part) and part.is_floating_point() and not part.isfinite().all():
                found.append(name)

    hooks = [
        part.register_forward_hook(lambda _, __, output, name=name: look(name, output))
        for name, part in model.module.named_modules()
        if name
    ]
    try:
        with torch.no_grad():
            model.module(input_ids=torch.tensor([list(map(int, input_ids))], device=model.device))
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


def _layer(name: str) -> str:
    """The layer that a weight or a module belongs to, in words."""
    found = LAYER.search(name)
    return f"layer {found[1]}" if found else "what lies outside the layers"


def _kind(weight: torch.Tensor) -> str:
    return str(weight.dtype).removeprefix("torch.")


def _remedy(weight: torch.Tensor, otherwise: str) -> str:
    """What to do about it."""
    return "load it with dtype float32 or bfloat16" if _kind(weight) == "float16" else otherwise
