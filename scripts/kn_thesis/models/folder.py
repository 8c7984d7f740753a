"""A model's folder in the hub's format: what must be in it, and a fast tokenizer for one that has only a slow one.

Only safetensors are ever read: pickled weights and code that comes with a model can do anything to the reader.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kn_thesis.errors import UserError
from kn_thesis.given import given_text, strict_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
SLOW_TOKENIZER = ("tokenizer.model", "vocab.txt", "vocab.json", "merges.txt")
# What the known families call the sizes in their config.json, and the largest that is believed.
SIZES = {
    **dict.fromkeys(("num_hidden_layers", "n_layer"), 1000),
    **dict.fromkeys(("num_attention_heads", "n_head", "num_key_value_heads", "head_dim"), 100_000),
    **dict.fromkeys(("hidden_size", "n_embd", "intermediate_size", "n_inner"), 10_000_000),
    **dict.fromkeys(("vocab_size", "max_position_embeddings", "n_positions"), 100_000_000),
}
SMALL = ("layer_norm_eps", "layer_norm_epsilon", "rms_norm_eps")


def check_model(folder: Path, name: str, family: str | None = None) -> str:
    """The family of the model in `folder`; raises UserError unless its weights are safetensors, all shards there.

    `family` is the one it must have; `name` is what messages call the model.
    """
    config = read_json(folder / "config.json", name)
    found = str(config.get("model_type"))[:60]
    if family is not None and found != family:
        own = "; it brings its own code, which is never run" if "auto_map" in config else ""
        raise UserError(
            f"{name} is a model of the family '{found}', not '{family}'{own}; set `family`, or choose another"
        )
    _check_config(config, name)
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        return found
    if not index.is_file():
        raise UserError(
            f"{name} has no weights in the safetensors format, and pickled weights are never loaded; choose a revision"
            " that has model.safetensors, or convert it with save_pretrained and use `path`"
        )
    places = read_json(index, name).get("weight_map")
    files = list(places.values()) if isinstance(places, dict) else []
    if not all(isinstance(file, str) and file.endswith(".safetensors") and file == Path(file).name for file in files):
        raise UserError(f"{index.name} of {name} names shards that are no safetensors files beside it; fetch it again")
    shards = sorted(set(files))
    missing = [shard for shard in shards if not (folder / shard).is_file()]
    if missing or not shards:
        raise UserError(f"{name} lacks {missing[0] if missing else 'shards'} of its weights; complete it and run again")
    return found


def fast_tokenizer(found: Path, name: str, made: Path) -> Path:
    """Convert a model's slow tokenizer with transformers into `made`, the folder that then has tokenizer.json."""
    from transformers import AutoTokenizer

    remedy = "save it once with AutoTokenizer.from_pretrained(...).save_pretrained(...) and use `path`"
    if not any((found / file).is_file() for file in SLOW_TOKENIZER):
        raise UserError(f"{name} has no tokenizer; {remedy}")
    try:
        AutoTokenizer.from_pretrained(found, trust_remote_code=False).save_pretrained(made)
    except Exception as error:  # whatever a library says of files it does not like
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{name} has no tokenizer.json, and its tokenizer cannot be converted ({reason}); {remedy}"
        ) from error
    if not (made / "tokenizer.json").is_file():
        raise UserError(f"{name} has no fast tokenizer (tokenizer.json); {remedy}")
    return made


def _check_config(config: Mapping[str, Any], name: str) -> None:
    """Raise UserError for sizes that no model has: the library would fail in its own words, or never end."""
    for key, most in SIZES.items():
        value = config.get(key)
        if value is not None and (type(value) is not int or not 1 <= value <= most):
            raise UserError(f"config.json of {name}: {key} is a whole number from 1 to {most}, not {_few(value)}")
    for key in SMALL:
        value = config.get(key)
        if value is not None and not (type(value) in (int, float) and math.isfinite(value) and 0 <= value < 1):
            raise UserError(f"config.json of {name}: {key} is a number from 0 to 1, not {_few(value)}")
    for width, heads in (("hidden_size", "num_attention_heads"), ("n_embd", "n_head")):
        if config.get(width) and config.get(heads) and not config.get("head_dim") and config[width] % config[heads]:
            raise UserError(
                f"config.json of {name}: {heads} ({config[heads]}) does not divide {width} ({config[width]})"
            )


def _few(value: Any) -> str:
    """A value in JSON, cut short."""
    text = json.dumps(value) if not isinstance(value, int) or abs(value) < 10**40 else "a number of more than 40 digits"
    return text if len(text) <= 60 else text[:57] + "..."


def found_folder(path: str | Path) -> Path | None:
    """The folder of that name, its own user's home written out; None when there is none."""
    try:
        folder = Path(path).expanduser()
    except RuntimeError:  # ~somebody whom nobody knows
        return None
    return folder if os.path.isdir(folder) else None


def check_tokenizer(path: Path, name: str, vocabulary: Any = None) -> None:
    """Raise UserError unless the tokenizer can be read, and fits a model with a `vocabulary`, where one is known."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"the tokenizer.json of {name} cannot be read ({reason}); replace it") from error
    if isinstance(vocabulary, int):
        check_vocabulary(tokenizer, vocabulary, name)


def check_vocabulary(tokenizer: Tokenizer, vocabulary: int, name: str) -> None:
    """Raise UserError unless a tokenizer's tokens have places in a model with `vocabulary` embeddings.

    Added tokens that no text has may lie beyond them, as a padding token in some models does; and models often have
    more embeddings than there are tokens, but not twice as many.
    """
    remedy = "take tokenizer and weights from the same model"
    tokens = tokenizer.get_vocab(with_added_tokens=False)
    try:
        used = [*tokens.values(), *tokenizer.encode("The").ids]
    except Exception as error:  # the library raises nothing narrower
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"the tokenizer of {name} cannot be used ({reason}); {remedy}") from error
    largest = max(used, default=-1)
    if largest >= vocabulary:
        raise UserError(
            f"the tokenizer of {name} has a token with the number {largest}, but the model has {vocabulary} embeddings,"
            f" from 0 on; {remedy}"
        )
    if 2 * tokenizer.get_vocab_size() < vocabulary:
        raise UserError(
            f"the tokenizer of {name} has {tokenizer.get_vocab_size()} tokens, but the model has {vocabulary}"
            f" embeddings; {remedy}"
        )


def read_json(path: Path, name: str) -> dict[str, Any]:
    """A file's JSON object; raises UserError when it is missing or damaged."""
    if not os.path.lexists(path):
        raise UserError(f"{name} has no {path.name}, so it is no model in the hub's format; check the id or path")
    try:
        content = strict_json(given_text(path, "fetch it again"))
    except ValueError as error:
        raise UserError(
            f"{path.name} of {name} cannot be read: {' '.join(str(error).split())[:200]}; fetch it again"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path.name} of {name} is not a JSON object; fetch it again")
    return content
