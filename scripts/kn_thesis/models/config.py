"""What a model's config.json may say: sizes that a model can have, and weights as they are."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from kn_thesis.errors import UserError

# What the known families call the sizes in their config.json, and the largest that is believed.
SIZES = {
    **dict.fromkeys(("num_hidden_layers", "n_layer"), 1000),
    **dict.fromkeys(("num_attention_heads", "n_head", "num_key_value_heads", "head_dim"), 100_000),
    **dict.fromkeys(("hidden_size", "n_embd", "intermediate_size", "n_inner"), 10_000_000),
    **dict.fromkeys(("vocab_size", "max_position_embeddings", "n_positions", "sliding_window"), 100_000_000),
    "rotary_dim": 100_000,
}
SMALL = ("layer_norm_eps", "layer_norm_epsilon", "rms_norm_eps")


WINDOW = 4096  # of Mistral's attention, where its config.json does not say


def positions(config: Mapping[str, Any]) -> int | None:
    """The longest input, in tokens, that a model's config.json allows; None when it does not say.

    RoBERTa counts positions from the one after its padding token's. A window of attention (Mistral's, Qwen2's) leaves
    an input alone that is no longer than it: every token still sees all before it.
    """
    family, limits = config.get("model_type"), [config.get("max_position_embeddings"), config.get("n_positions")]
    if family == "mistral" or (family == "qwen2" and config.get("use_sliding_window")):
        limits.append(config.get("sliding_window", WINDOW))
    longest = min((limit for limit in limits if type(limit) is int), default=None)
    padding = config.get("pad_token_id", 1)
    if family == "roberta" and longest is not None and type(padding) is int:
        return longest - padding - 1
    return longest


def check_config(config: Mapping[str, Any], name: str) -> None:
    """Raise UserError for sizes that no model has: the library would fail in its own words, or never end."""
    if config.get("quantization_config"):
        raise UserError(
            f"{name} is quantized, and quantized weights are not read; choose the model with its own weights"
        )
    for key, most in SIZES.items():
        value = config.get(key)
        if value is not None and (type(value) is not int or not 1 <= value <= most):
            raise UserError(
                f"config.json of {name}: {key} is a whole number from 1 to {most}, not {_few(value)}; fetch it again"
            )
    for key in SMALL:
        value = config.get(key)
        if value is not None and not (type(value) in (int, float) and math.isfinite(value) and 0 <= value < 1):
            raise UserError(f"config.json of {name}: {key} is a number from 0 to 1, not {_few(value)}; fetch it again")
    for width, heads in (("hidden_size", "num_attention_heads"), ("n_embd", "n_head")):
        if config.get(width) and config.get(heads) and not config.get("head_dim") and config[width] % config[heads]:
            raise UserError(
                f"config.json of {name}: {heads} ({config[heads]}) does not divide {width} ({config[width]})"
            )
    heads, shared = (config.get(key) for key in ("num_attention_heads", "num_key_value_heads"))
    if heads and shared and heads % shared:
        raise UserError(
            f"config.json of {name}: num_key_value_heads ({shared}) does not divide num_attention_heads ({heads})"
        )


def _few(value: Any) -> str:
    """A value in JSON, cut short."""
    text = json.dumps(value) if not isinstance(value, int) or abs(value) < 10**40 else "a number of more than 40 digits"
    return text if len(text) <= 60 else text[:57] + "..."
