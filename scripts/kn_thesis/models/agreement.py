"""Whether a family's adapter computes what the model itself does: one short prompt, both ways, before anything else.

A new version of transformers, another kind of rotary positions or one norm more would leave an adapter running, and
every result of the methods plausible and wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kn_thesis.errors import UserError
from kn_thesis.models.memory import REMEDY, out_of_memory

if TYPE_CHECKING:
    from torch import Tensor

    from kn_thesis.models.adapter import Adapter

TOKENS = 12  # of the prompt
# What rounding explains, in steps of the dtype (`torch.finfo.eps`). SPREAD, of the logits' spread: two attention
# implementations of a 135M model in bfloat16 differ by 2 to 3 steps, and deeper models by more. SIZE, of the logits
# themselves: GPT-2's lie around -100, where a step of bfloat16 is 0.5.
SPREAD, SIZE = 16, 0.5
# The least of it: some steps are float32 in every dtype, and kernels add up in orders of their own.
LEAST = 1e-4


def check_agreement(module: Any, adapter: Adapter, name: str) -> None:
    """Raise UserError when the adapter's logits of a short prompt are not the model's.

    The prompt has at most 12 tokens, spread over the whole vocabulary. Of both logits each position's mean is taken off
    first: the softmax does not see it. Their difference (root mean square, as all sizes here) may be 16 steps of the
    dtype of the logits' spread, or 1e-4 of it where that is more, and half a step of the logits with their mean. So
    bfloat16 (step 2^-7) hides differences below an eighth of the spread: a family is best held in float32 once. Logits
    that are not finite are left to the methods, which name the layer.

    Args:
        module: Hugging Face's model, in evaluation mode.
        adapter: the same model, taken apart.
        name: what messages call the model.

    Raises:
        UserError: the two differ, or the prompt does not fit in memory beside the model.
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
        raise UserError(f"{name}: a prompt of {tokens} tokens does not fit in memory beside it; {REMEDY}") from error
    size = _size(plain)
    plain, ours = (_centred(logits) for logits in (plain, ours))
    spread, difference = _size(plain), _size(plain - ours)
    step = torch.finfo(weight.dtype).eps
    allowed = max(SPREAD * step, LEAST) * spread + SIZE * step * size
    if not plain.isfinite().all() or difference <= allowed:
        return
    import transformers

    of, most = (f"{100 * x / spread:.2g} %" if spread else f"{x:.2g}" for x in (difference, allowed))
    kind = str(weight.dtype).removeprefix("torch.")
    raise UserError(
        f"{name}: the adapter of the family {adapter.family} does not compute what the model does: their logits of a "
        f"short prompt differ by {of} of the logits' spread ({kind} explains {most}); with transformers "
        f"{transformers.__version__} this model is not covered: choose another one, or mend "
        f"kn_thesis/models/{adapter.family}.py"
    )


def adapter_logits(adapter: Adapter, input_ids: Tensor) -> Tensor:
    """Logits (prompts, tokens, vocabulary) of ids (prompts, tokens) without padding, step by step.

    The last token is projected by itself, as the methods do with a gap's; each token's projections are its own.
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
    """Each position's logits less their mean, float32 at least."""
    from kn_thesis.models.adapter import precise

    logits = logits.to(precise(logits))
    return logits - logits.mean(-1, keepdim=True)


def _size(x: Tensor) -> float:
    """The root of the mean square, in float64."""
    return float(x.double().square().mean().sqrt())
