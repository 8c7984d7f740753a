"""A model's folder in the hub's format: what must be in it, and a fast tokenizer for one that has only a slow one.

Only safetensors are ever read: pickled weights and code that comes with a model can do anything to the reader.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from kn_thesis.errors import UserError

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.safetensors")
SLOW_TOKENIZER = ("tokenizer.model", "vocab.txt", "vocab.json", "merges.txt")


def check_model(folder: Path, name: str, family: str | None = None) -> str:
    """The family of the model in `folder`; raises UserError unless its weights are safetensors, all shards there.

    `family` is the one it must have; `name` is what messages call the model.
    """
    config = read_json(folder / "config.json", name)
    found = str(config.get("model_type"))
    if family is not None and found != family:
        own = "; it brings its own code, which is never run" if "auto_map" in config else ""
        raise UserError(
            f"{name} is a model of the family '{found}', not '{family}'{own}; set `family`, or choose another"
        )
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        return found
    if not index.is_file():
        raise UserError(
            f"{name} has no weights in the safetensors format, and pickled weights are never loaded; choose a revision"
            " that has model.safetensors, or convert it with save_pretrained and use `path`"
        )
    shards = _shards(read_json(index, name).get("weight_map"), name)
    missing = [shard for shard in shards if not (folder / shard).is_file()]
    if missing or not shards:
        raise UserError(f"{name} lacks {missing[0] if missing else 'shards'} of its weights; complete it and run again")
    return found


def _shards(weights: Any, name: str) -> list[str]:
    """The files that an index of weights names; raises UserError unless they are plain names of safetensors files."""
    found = list(weights.values()) if isinstance(weights, dict) else [weights] if weights else []
    for shard in found:
        if not isinstance(shard, str) or not PLAIN.fullmatch(shard):
            raise UserError(
                f"model.safetensors.index.json of {name} names {str(shard)[:100]!r}, which is no safetensors file"
                " beside it, and no other is read; fetch it again, or choose another model"
            )
    return sorted(set(found))


def fast_tokenizer(found: Path, name: str, made: Path) -> Path:
    """Convert a model's slow tokenizer with transformers into `made`, the folder that then has tokenizer.json."""
    remedy = "save it once with AutoTokenizer.from_pretrained(...).save_pretrained(...) and use `path`"
    _check_files(found, name, remedy)
    if not any((found / file).is_file() for file in SLOW_TOKENIZER):
        raise UserError(f"{name} has no tokenizer; {remedy}")
    from transformers import AutoTokenizer

    try:
        slow = AutoTokenizer.from_pretrained(found, trust_remote_code=False)  # nosec B615 # a folder of this machine
        slow.save_pretrained(made)
    except Exception as error:  # whatever a library says of files it does not like
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{name} has no tokenizer.json, and its tokenizer cannot be converted ({reason}); {remedy}"
        ) from error
    if not (made / "tokenizer.json").is_file():
        raise UserError(f"{name} has no fast tokenizer (tokenizer.json); {remedy}")
    return made


def _check_files(found: Path, name: str, remedy: str) -> None:
    """Raise UserError when a tokenizer's settings name files elsewhere: the library would read them as vocabularies."""
    path = found / "tokenizer_config.json"
    settings = read_json(path, name) if path.is_file() else {}
    for key, value in settings.items():
        if (
            key.endswith("_file")
            and key != "special_tokens_map_file"
            and value
            and (found / str(value)).parent != found
        ):
            raise UserError(f"{path.name} of {name} takes its {key} from elsewhere ({str(value)[:100]!r}); {remedy}")


def check_tokenizer(path: Path, name: str) -> None:
    """Raise UserError unless the tokenizer can be read."""
    from tokenizers import Tokenizer

    try:
        Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"the tokenizer.json of {name} cannot be read ({reason}); replace it") from error


def read_json(path: Path, name: str) -> dict[str, Any]:
    """A file's JSON object; raises UserError when it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"{name} has no {path.name}, so it is no model in the hub's format; check the id or path"
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path.name} of {name} cannot be read: {' '.join(str(error).split())}; fetch it again"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path.name} of {name} is not a JSON object; fetch it again")
    return content
