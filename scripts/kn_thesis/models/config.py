"""Checks of a model's config.json and tokenizer.json that need neither transformers nor torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kn_thesis.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


AGAIN = "take it from its source again"
# Names of sizes in the config.json of the known families, and the maximum that is accepted.
SIZES = {
    **dict.fromkeys(("num_hidden_layers", "n_layer"), 1000),
    **dict.fromkeys(("num_attention_heads", "n_head", "num_key_value_heads", "head_dim"), 100_000),
    **dict.fromkeys(("hidden_size", "n_embd", "intermediate_size", "n_inner"), 10_000_000),
    **dict.fromkeys(("vocab_size", "max_position_embeddings", "n_positions", "sliding_window"), 100_000_000),
    "rotary_dim": 100_000,
}
SMALL = ("layer_norm_eps", "layer_norm_epsilon", "rms_norm_eps")
WINDOW = 4096  # sliding window of a Mistral whose config.json does not name one


def positions(config: Mapping[str, Any]) -> int | None:
    """Return the maximum number of tokens that a model's config.json allows; None if it does not say.

    RoBERTa counts positions from the one after its padding token's. The sliding window of Mistral and Qwen2 is a
    limit too: in a longer input, tokens would not see all tokens before them.

    Args:
        config: The content of config.json.
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
    """Check the sizes in a config.json, before a library fails on them obscurely or never ends.

    Args:
        config: The content of config.json.
        name: What messages call the model.

    Raises:
        UserError: A size is impossible, sizes do not fit together, or the weights are quantized.
    """
    if config.get("quantization_config"):
        raise UserError(
            f"{name} is quantized, and quantized weights are not read; choose the model with its own weights"
        )
    for key, maximum in SIZES.items():
        value = config.get(key)
        if value is not None and (type(value) is not int or not 1 <= value <= maximum):
            raise UserError(
                f"config.json of {name}: {key} is a whole number from 1 to {maximum}, not {_shortened(value)}; "
                "fetch it again"
            )
    for key in SMALL:
        value = config.get(key)
        if value is not None and not (type(value) in (int, float) and math.isfinite(value) and 0 <= value < 1):
            raise UserError(
                f"config.json of {name}: {key} is a number from 0 to 1, not {_shortened(value)}; fetch it again"
            )
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


def _shortened(value: Any) -> str:
    """Return a value in JSON, cut to 60 characters."""
    text = json.dumps(value) if not isinstance(value, int) or abs(value) < 10**40 else "a number of more than 40 digits"
    return text if len(text) <= 60 else text[:57] + "..."


def read_tokenizer(path: Path) -> Tokenizer:
    """Read a tokenizer.json.

    Raises:
        UserError: The file holds no tokenizer, or its vocabulary lacks the unknown token that it names.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except BaseException as error:  # the library raises nothing narrower, and Rust's panics are no `Exception`
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: no tokenizer can be read from it ({reason}): {AGAIN}") from None
    unknown = getattr(tokenizer.model, "unk_token", None)
    if unknown is not None and tokenizer.token_to_id(unknown) is None:
        raise UserError(f"{path}: its vocabulary lacks its own token for unknown words, {unknown[:60]!r}: {AGAIN}")
    return tokenizer
