"""A model's folder in the hub's format: what must be in it, and a fast tokenizer for one that has only a slow one.

Only safetensors are ever read: pickled weights and code that comes with a model can do anything to the reader.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from kn_thesis.errors import UserError
from kn_thesis.given import given_text, strict_json
from kn_thesis.models.config import check_config

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}\.safetensors")
# Words, capitals, numbers, punctuation, accents, other scripts: what conversions may get wrong.
TEXTS = ("The capital of France is Paris.", 'In 1998 it\'s 3,14 (or "so")!', "Côte d'Ivoire, Straße, 首都是渥太华, ½")
SLOW_TOKENIZER = ("tokenizer.model", "vocab.txt", "vocab.json", "merges.txt")


def check_model(folder: Path, name: str, family: str | None = None) -> str:
    """The family of the model in `folder`; raises UserError unless its weights are safetensors, all shards there.

    `family` is the one it must have; `name` is what messages call the model.
    """
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise UserError(
            f"{name} has an adapter's weights alone (PEFT); merge it into its model with merge_and_unload(), save that "
            "with save_pretrained, and its tokenizer beside it, and use `path`"
        )
    config = read_json(folder / "config.json", name)
    if config.get("model_type") in (None, ""):
        entry = f'"model_type": {json.dumps((family or "llama")[:60])}' + (
            "" if family else ", or whatever its family is"
        )
        raise UserError(f"config.json of {name} lacks model_type, which names its family: write {entry} into it")
    found = " ".join(str(config["model_type"]).split())[:60]
    if family is not None and found != family:
        own = "; it brings its own code, which is never run" if "auto_map" in config else ""
        raise UserError(
            f"{name} is a model of the family '{found}', not '{family}'{own}; set `family`, or choose another"
        )
    check_config(config, name)
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
    if not all(isinstance(file, str) and SHARD.fullmatch(file) for file in files):
        raise UserError(f"{index.name} of {name} names shards that are no safetensors files beside it; fetch it again")
    shards = sorted(set(files))
    missing = [shard for shard in shards if not (folder / shard).is_file()]
    if missing or not shards:
        raise UserError(f"{name} lacks {missing[0] if missing else 'shards'} of its weights; complete it and run again")
    return found


def check_folder(path: str | Path, family: str) -> Path:
    """The folder of that name, whole; raises UserError unless it is there and has a model of this family."""
    found = found_folder(path)
    if found is None:
        raise UserError(
            f"there is no folder {str(path)[:200]!r}; set the model's `path` to a folder in the hub's format"
        )
    found = found.resolve()
    check_model(found, str(path), family)
    return found


def fast_tokenizer(found: Path, name: str, made: Path) -> Path:
    """Convert a model's slow tokenizer with transformers into `made`, the folder that then has tokenizer.json.

    One that comes as SentencePiece's tokenizer.model alone is held against SentencePiece itself on a few texts.

    Raises:
        UserError: there is none, it cannot be converted, or the converted one gives other tokens.
    """
    remedy = "save it once with AutoTokenizer.from_pretrained(...).save_pretrained(...) and use `path`"
    _check_files(found, name, remedy)
    if not any((found / file).is_file() for file in SLOW_TOKENIZER):
        raise UserError(f"{name} has no tokenizer; {remedy}")
    pieces = None
    if not any((found / file).is_file() for file in SLOW_TOKENIZER[1:]):
        pieces = _sentence_pieces(found / SLOW_TOKENIZER[0], name, remedy)
    from transformers import AutoTokenizer, LlamaTokenizer

    stated = read_json(found / TOKENIZER[1], name) if (found / TOKENIZER[1]).is_file() else {}
    try:
        if pieces is None:
            slow = AutoTokenizer.from_pretrained(found, trust_remote_code=False)  # nosec B615 # a folder of this machine
        else:
            # AutoTokenizer goes by the model's family, and leaves out Mistral's space before the text. LLaMA's and
            # Mistral's own code begins each text with <s>, unless the settings say otherwise.
            begins = stated.get("add_bos_token", True)
            slow = LlamaTokenizer.from_pretrained(found, trust_remote_code=False, add_bos_token=begins)  # nosec B615
        slow.save_pretrained(made)
    except Exception as error:  # whatever a library says of files it does not like
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{name} has no tokenizer.json, and its tokenizer cannot be converted ({reason}); {remedy}"
        ) from error
    if not (made / "tokenizer.json").is_file():
        raise UserError(f"{name} has no fast tokenizer (tokenizer.json); {remedy}")
    if pieces is not None:
        _check_pieces(made / "tokenizer.json", pieces, name)
    return made


def _sentence_pieces(path: Path, name: str, remedy: str) -> Any:
    """SentencePiece's own reader of a tokenizer.model."""
    try:
        import google.protobuf  # noqa: F401 - transformers reads the file with it
        import sentencepiece
    except ImportError as error:
        raise UserError(
            f"{name} has tokenizer.model alone: reading it takes the packages sentencepiece and protobuf ({error}); "
            f"install them as envs/requirements.txt has them, or {remedy}"
        ) from error
    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise UserError(
            f"{path.name} of {name} is not SentencePiece's (Llama 3's is tiktoken's, for one), or is damaged; {remedy}"
        ) from error


def _check_pieces(path: Path, pieces: Any, name: str) -> None:
    """Raise UserError unless a converted tokenizer gives SentencePiece's own tokens for a few texts."""
    from kn_thesis.corpora.gaps import read_tokenizer

    converted = read_tokenizer(path)
    some = range(0, len(pieces), 1 + len(pieces) // 500)
    words = [
        pieces.id_to_piece(n) for n in some if not (pieces.is_control(n) or pieces.is_unknown(n) or pieces.is_byte(n))
    ]
    for text in (*TEXTS, " ".join("".join(words).replace("▁", " ").split())):
        ours, theirs = converted.encode(text, add_special_tokens=False).ids, pieces.encode(text)
        if ours != theirs:
            first = next((n for n, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), 0)
            raise UserError(
                f"the tokenizer of {name}, converted from tokenizer.model, does not split texts as SentencePiece does "
                f"(the first difference: token {first + 1} of {text[:40]!r}); put the model's tokenizer.json beside it"
            )


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


def found_folder(path: str | Path) -> Path | None:
    """The folder of that name, its own user's home written out; None when there is none."""
    try:
        folder = Path(path).expanduser()
    except RuntimeError:  # ~somebody whom nobody knows
        return None
    return folder if os.path.isdir(folder) else None


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
