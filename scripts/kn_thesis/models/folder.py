"""Check a model's folder in the hub's format, and convert a slow tokenizer to a fast one.

Only safetensors are read: pickled weights, and code that comes with a model, can do anything to the machine. A slow
tokenizer is converted with transformers, and one that is only SentencePiece's tokenizer.model is compared with it.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kn_thesis.errors import UserError
from kn_thesis.inputs import parse_json, read_user_text
from kn_thesis.models.config import check_config, read_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer


TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}\.safetensors")
# Words, capitals, numbers, punctuation, accents, other scripts: what a conversion may get wrong.
TEXTS = ("The capital of France is Paris.", 'In 1998 it\'s 3,14 (or "so")!', "Côte d'Ivoire, Straße, 首都是渥太华, ½")
SLOW_TOKENIZER = ("tokenizer.model", "vocab.txt", "vocab.json", "merges.txt")


def resolve_folder(path: str | Path) -> Path | None:
    """Return the folder with ~ expanded; None if there is none."""
    try:
        folder = Path(path).expanduser()
    except RuntimeError:  # ~name of an unknown user
        return None
    return folder if os.path.isdir(folder) else None


def read_folder_json(path: Path, name: str) -> dict[str, Any]:
    """Read a JSON object from a file of a model.

    Args:
        path: The file.
        name: What messages call the model.

    Raises:
        UserError: The file is missing, damaged, or holds no object.
    """
    if not os.path.lexists(path):
        raise UserError(f"{name} has no {path.name}, so it is not a model in the hub's format; check the id or path")
    try:
        content = parse_json(read_user_text(path, "fetch it again"))
    except ValueError as error:
        raise UserError(
            f"{path.name} of {name} cannot be read: {' '.join(str(error).split())[:200]}; fetch it again"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path.name} of {name} is not a JSON object; fetch it again")
    return content


def check_folder(path: str | Path, family: str) -> Path:
    """Return a model's folder as an absolute path, checked by `check_model`.

    Args:
        path: The folder; ~ is expanded.
        family: The family that the model must have.

    Raises:
        UserError: There is no such folder, or the model in it cannot be used.
    """
    folder = resolve_folder(path)
    if folder is None:
        raise UserError(
            f"there is no folder {str(path)[:200]!r}; set the model's `path` to a folder in the hub's format"
        )
    folder = folder.resolve()
    check_model(folder, str(path), family)
    return folder


def check_model(folder: Path, name: str, family: str | None = None) -> str:
    """Check the configuration and the weights of a model.

    Args:
        folder: In the hub's format.
        name: What messages call the model.
        family: The family that it must have; None for any.

    Returns:
        The model's family, as its config.json names it.

    Raises:
        UserError: config.json is missing, damaged or of another family, or weights are not complete safetensors.
    """
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise UserError(
            f"{name} has only an adapter's weights (PEFT); merge it into its model with merge_and_unload(), save the "
            "result and its tokenizer with save_pretrained, and use `path`"
        )
    config = read_folder_json(folder / "config.json", name)
    if config.get("model_type") in (None, ""):
        entry = f'"model_type": {json.dumps((family or "llama")[:60])}' + (
            "" if family else ", or the family that it belongs to"
        )
        raise UserError(f"config.json of {name} lacks model_type, which names its family: write {entry} into it")
    model_type = " ".join(str(config["model_type"]).split())[:60]
    if family is not None and model_type != family:
        own = "; it comes with code of its own, which is never run" if "auto_map" in config else ""
        raise UserError(
            f"{name} is a model of the family '{model_type}', not '{family}'{own}; set `family`, or choose another"
        )
    check_config(config, name)
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        return model_type
    if not index.is_file():
        raise UserError(
            f"{name} has no weights in the safetensors format, and pickled weights are never loaded; choose a revision"
            " that has model.safetensors, or convert it with save_pretrained and use `path`"
        )
    places = read_folder_json(index, name).get("weight_map")
    files = list(places.values()) if isinstance(places, dict) else []
    if not all(isinstance(file, str) and SHARD.fullmatch(file) for file in files):
        raise UserError(
            f"{index.name} of {name} names shards that are not safetensors files next to it; fetch it again"
        )
    shards = sorted(set(files))
    missing = [shard for shard in shards if not (folder / shard).is_file()]
    if missing or not shards:
        raise UserError(f"{name} lacks {missing[0] if missing else 'shards'} of its weights; complete it and run again")
    return model_type


def check_tokenizer(path: Path, name: str, vocabulary: Any = None) -> None:
    """Raise UserError unless the tokenizer can be read and fits a model with that `vocabulary`, if it is known."""
    tokenizer = read_tokenizer(path)
    if isinstance(vocabulary, int):
        check_vocabulary(tokenizer, vocabulary, name)


def check_vocabulary(tokenizer: Tokenizer, vocabulary: int, name: str) -> None:
    """Check that a tokenizer belongs to a model.

    Added tokens that occur in no text may lie beyond the embeddings, as the padding token of some models does. A model
    may have more embeddings than there are tokens, but not twice as many.

    Args:
        tokenizer: The tokenizer.
        vocabulary: The number of the model's embeddings.
        name: What messages call the model.

    Raises:
        UserError: A token has no embedding, or there are far too many embeddings.
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
            f"the tokenizer of {name} has a token with the id {largest}, but the model has {vocabulary} embeddings;"
            f" {remedy}"
        )
    if 2 * tokenizer.get_vocab_size() < vocabulary:
        raise UserError(
            f"the tokenizer of {name} has {tokenizer.get_vocab_size()} tokens, but the model has {vocabulary}"
            f" embeddings; {remedy}"
        )


def fast_tokenizer(folder: Path, name: str, target: Path) -> Path:
    """Convert a model's slow tokenizer to a fast one with transformers.

    If it consists of SentencePiece's tokenizer.model only, the result is compared with SentencePiece on a few texts.

    Args:
        folder: The model's folder.
        name: What messages call the model.
        target: The folder to write to.

    Returns:
        `target`, which then contains tokenizer.json.

    Raises:
        UserError: There is no tokenizer, it cannot be converted, or the converted one gives other tokens.
    """
    remedy = "save it once with AutoTokenizer.from_pretrained(...).save_pretrained(...) and use `path`"
    _check_files(folder, name, remedy)
    if not any((folder / file).is_file() for file in SLOW_TOKENIZER):
        raise UserError(f"{name} has no tokenizer; {remedy}")
    pieces = None
    if not any((folder / file).is_file() for file in SLOW_TOKENIZER[1:]):
        pieces = _sentence_pieces(folder / SLOW_TOKENIZER[0], name, remedy)
    from transformers import AutoTokenizer, LlamaTokenizer

    settings = read_folder_json(folder / TOKENIZER[1], name) if (folder / TOKENIZER[1]).is_file() else {}
    try:
        if pieces is None:
            slow = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)  # nosec B615 # a local folder
        else:
            # AutoTokenizer goes by the model's family, and omits Mistral's space before the text. The code of LLaMA
            # and Mistral begins each text with <s>, unless the settings say otherwise.
            begins = settings.get("add_bos_token", True)
            slow = LlamaTokenizer.from_pretrained(folder, trust_remote_code=False, add_bos_token=begins)  # nosec B615
        slow.save_pretrained(target)
    except Exception as error:  # libraries raise anything for files that they reject
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{name} has no tokenizer.json, and its tokenizer cannot be converted ({reason}); {remedy}"
        ) from error
    if not (target / "tokenizer.json").is_file():
        raise UserError(f"{name} has no fast tokenizer (tokenizer.json); {remedy}")
    if pieces is not None:
        _check_pieces(target / "tokenizer.json", pieces, name)
    return target


def _check_files(folder: Path, name: str, remedy: str) -> None:
    """Raise UserError if a tokenizer's settings name files elsewhere, which the library would read."""
    path = folder / "tokenizer_config.json"
    settings = read_folder_json(path, name) if path.is_file() else {}
    for key, value in settings.items():
        if (
            key.endswith("_file")
            and key != "special_tokens_map_file"
            and value
            and (folder / str(value)).parent != folder
        ):
            raise UserError(
                f"{path.name} of {name} takes its {key} from another folder ({str(value)[:100]!r}); {remedy}"
            )


def _sentence_pieces(path: Path, name: str, remedy: str) -> Any:
    """Read a tokenizer.model with SentencePiece itself."""
    try:
        import google.protobuf  # noqa: F401 - transformers reads the file with it
        import sentencepiece
    except ImportError as error:
        raise UserError(
            f"{name} has only tokenizer.model: reading it requires the packages sentencepiece and protobuf ({error}); "
            f"install the versions in envs/requirements.txt, or {remedy}"
        ) from error
    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise UserError(
            f"{path.name} of {name} is damaged, or not a SentencePiece model (Llama 3's, for example, is tiktoken's); "
            f"{remedy}"
        ) from error


def _check_pieces(path: Path, pieces: Any, name: str) -> None:
    """Raise UserError unless a converted tokenizer gives SentencePiece's tokens for a few texts."""
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
                f"(first difference: token {first + 1} of {text[:40]!r}); put the model's tokenizer.json next to it"
            )
