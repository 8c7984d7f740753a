"""Check a loaded model: no NaN or infinite numbers, and an adapter that computes what the model itself does.

A model may be damaged, or its numbers too large for its dtype: the largest number of float16 is 65,504. With a new
version of transformers, other rotary positions or an additional norm, an adapter would still run, and every result
would look plausible and be wrong. So one short prompt goes through both when a model is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from kn_thesis.errors import UserError
from kn_thesis.models.memory import REMEDY, name_of, out_of_memory

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from kn_thesis.models.adapter import Adapter


LAYER = re.compile(r"(?:^|\.)(?:h|layers?|blocks?)\.(\d+)(?:\.|$)")


def check_weights(module: torch.nn.Module, name: str) -> None:
    """Raise UserError if a weight is not finite.

    Reads the weights once, without copying them, at about the speed of memory.

    Args:
        module: The model.
        name: What messages call the model.
    """
    if (error := _weight_error(module, name)) is not None:
        raise error


def _weight_error(module: torch.nn.Module, name: str) -> UserError | None:
    """Return the error for the first weight that is not finite; None if all are."""
    import torch

    for weight_name, weight in chain(module.named_parameters(), module.named_buffers()):  # tied weights come once
        # Minimum and maximum are NaN if any weight is, and infinite if any weight is.
        if not weight.is_floating_point() or not weight.numel() or all(x.isfinite() for x in torch.aminmax(weight)):
            continue
        count = int((~weight.isfinite()).sum())
        return UserError(
            f"{name}: {_layer(weight_name)} has weights that are not finite ({weight_name}: {count} of "
            f"{weight.numel()}, in {_kind(weight)}); {_remedy(weight, 'get the model again, it is damaged')}"
        )
    return None


def not_finite(model: Any, input_ids: Sequence[int], what: str) -> UserError:
    """Return the error for a result that is not finite; it names the first layer whose output is not finite.

    Args:
        model: The model.
        input_ids: What the model read.
        what: The result, for the message.
    """
    if (error := _weight_error(model.module, name_of(model))) is not None:  # changed since loading
        return error
    weight = next(model.module.parameters())
    part = first_not_finite(model, input_ids)
    remedy = _remedy(weight, "its weights are finite but too large; check the model at its source")
    if part is None:
        return UserError(
            f"{name_of(model)}: {what}: not finite in {_kind(weight)}, though every layer's output is; {remedy}"
        )
    return UserError(
        f"{name_of(model)}: {what}: the output of {_layer(part)} is not finite ({part}, in {_kind(weight)}); {remedy}"
    )


def first_not_finite(model: Any, input_ids: Sequence[int]) -> str | None:
    """Return the name of the first module inside the model whose output is not finite; None if all are."""
    import torch

    names: list[str] = []

    def look(name: str, output: Any) -> None:
        for part in output if isinstance(output, tuple | list) else (output,):
            if not names and torch.is_tensor(part) and part.is_floating_point() and not part.isfinite().all():
                names.append(name)

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
    return names[0] if names else None


def _layer(name: str) -> str:
    """Name the layer that a weight or module belongs to."""
    match = LAYER.search(name)
    return f"layer {match[1]}" if match else "what lies outside the layers"


def _kind(weight: torch.Tensor) -> str:
    return str(weight.dtype).removeprefix("torch.")


def _remedy(weight: torch.Tensor, otherwise: str) -> str:
    """Say what to do about it."""
    return "load it with dtype float32 or bfloat16" if _kind(weight) == "float16" else otherwise


TOKENS = 12  # of the prompt
# Differences that rounding explains, in steps of the dtype (`torch.finfo.eps`). SPREAD multiplies the spread of the
# logits: two attention implementations of a 135M model in bfloat16 differ by 2 to 3 steps, and deeper models by more.
# SIZE multiplies the logits themselves: those of GPT-2 are around -100, where a step of bfloat16 is 0.5.
SPREAD, SIZE = 16, 0.5
# The minimum of SPREAD · eps: some steps are float32 in every dtype, and kernels add in different orders.
MIN_SPREAD = 1e-4


def check_agreement(module: Any, adapter: Adapter, name: str) -> None:
    """Check that the adapter's logits of a short prompt are the model's.

    The prompt has at most 12 tokens from all over the vocabulary. First, the mean of each position is subtracted from
    both logits, because the softmax ignores it. All sizes here are root mean squares. The difference may be as large as
    16 steps of the dtype times the logits' spread (at least 1e-4 times the spread), plus half a step times the size of
    the logits before the subtraction. In bfloat16 (step 2^-7) this hides differences below an eighth of the spread, so
    check a new family in float32 once. Logits that are not finite pass: the methods report them with their layer.

    Args:
        module: Hugging Face's model, in evaluation mode.
        adapter: Its adapter.
        name: What messages call the model.

    Raises:
        UserError: The two differ, or the prompt does not fit in memory in addition to the model.
    """
    import torch

    weight = adapter.word_embeddings()
    tokens = max(1, min(TOKENS, adapter.longest or TOKENS))
    ids = torch.linspace(0, adapter.vocabulary - 1, tokens + 2, device=weight.device)[None, 1:-1].long()
    try:
        with torch.inference_mode():
            plain = module(input_ids=ids, **({} if adapter.objective == "masked" else {"use_cache": False})).logits
            ours = adapter_logits(adapter, ids)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise UserError(
            f"{name}: a prompt of {tokens} tokens does not fit in memory in addition to it; {REMEDY}"
        ) from error
    size = _size(plain)
    plain, ours = (_centred(logits) for logits in (plain, ours))
    spread, difference = _size(plain), _size(plain - ours)
    step = torch.finfo(weight.dtype).eps
    allowed = max(SPREAD * step, MIN_SPREAD) * spread + SIZE * step * size
    if not plain.isfinite().all() or difference <= allowed:
        return
    import transformers

    measured, explained = (f"{100 * x / spread:.2g} %" if spread else f"{x:.2g}" for x in (difference, allowed))
    kind = str(weight.dtype).removeprefix("torch.")
    raise UserError(
        f"{name}: the adapter of the family {adapter.family} does not compute what the model does: their logits of a "
        f"short prompt differ by {measured} of the logits' spread ({kind} explains {explained}); with transformers "
        f"{transformers.__version__} this model is not covered: choose another one, or correct "
        f"{type(adapter).__module__.replace('.', '/')}.py"
    )


def adapter_logits(adapter: Adapter, input_ids: Tensor) -> Tensor:
    """Compute logits with the adapter, projecting the last token separately, as the methods do at the mask position.

    Args:
        adapter: The model's adapter.
        input_ids: Token ids (prompts, tokens), without padding.

    Returns:
        Logits (prompts, tokens, vocabulary).
    """
    import torch

    from kn_thesis.models.adapter import attend

    positions = torch.arange(input_ids.shape[1], device=input_ids.device)
    parts = [part for part in (slice(-1), slice(-1, None)) if len(positions[part])]
    hidden = adapter.embed(input_ids)
    for layer in range(adapter.layers):
        projected = [adapter.project(layer, hidden[:, part], positions[part]) for part in parts]
        queries, keys, values = (torch.cat(x, dim=1) for x in zip(*projected, strict=True))
        context = attend(queries, keys, values, adapter.scaling(layer), causal=adapter.objective == "causal")
        state = adapter.after_attention(layer, hidden, adapter.attention_output(layer, context))
        hidden = adapter.after_mlp(layer, state, adapter.mlp_output(layer, adapter.neurons(layer, state)))
    return adapter.logits(hidden)


def _centred(logits: Tensor) -> Tensor:
    """Subtract each position's mean; at least float32."""
    from kn_thesis.models.adapter import precise

    logits = logits.to(precise(logits))
    return logits - logits.mean(-1, keepdim=True)


def _size(x: Tensor) -> float:
    """Return the root mean square, in float64."""
    return float(x.double().square().mean().sqrt())
