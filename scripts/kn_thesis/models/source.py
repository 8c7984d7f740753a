"""Models that exist already, on the hub or in a folder: looked at once, early, so that a run fails here or not at all.

Only safetensors are ever read: pickled weights and code that comes with a model can do anything to the reader.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from kn_thesis.errors import UserError
from kn_thesis.files import whole_file

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors")
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
SLOW_TOKENIZER = ("tokenizer.model", "vocab.txt", "vocab.json", "merges.txt")
WANTED = ("config.json", "generation_config.json", *WEIGHTS, *TOKENIZER, *SLOW_TOKENIZER)
# What a family's tokens are called when the model's files leave it to the library's defaults.
USUAL = {"bert": {"mask_token": "[MASK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}}


def record_hub_model(identifier: str, revision: str | None, family: str, folder: str | Path) -> None:
    """Download a hub model to the hub's own cache, check it, and record it in `folder`.

    `revision` is a commit, tag or branch; None is the newest. It is resolved to a commit, and that is what model.json
    says. Writes model.json, tokenizer.json and tokenizer_config.json; weights stay in the cache. A complete copy in
    the cache serves when the hub cannot be reached. Raises UserError for everything that can be wrong with it.
    """
    snapshot = _download(identifier, revision)
    name = f"the hub's {identifier}"
    if revision:
        name += f" at {revision}"
    _check(snapshot, family, name)
    _record(snapshot, name, folder, {"family": family, "source": "hub", "location": identifier}, snapshot.name)


def record_path_model(path: str | Path, family: str, folder: str | Path) -> None:
    """Check a model in a folder in the hub's format and record it in `folder`, as `record_hub_model` does.

    The weights stay where they are; model.json says where (an absolute path) and has no revision.
    """
    found = Path(path).expanduser().resolve()
    if not found.is_dir():
        raise UserError(f"there is no folder {path}; set the model's `path` to a folder in the hub's format")
    _check(found, family, str(path))
    _record(found, str(path), folder, {"family": family, "source": "path", "location": str(found)}, None)


def _download(identifier: str, revision: str | None) -> Path:
    """The folder in the hub's cache that holds the wanted files; its name is the commit."""
    import httpx2
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub import errors as hub

    wanted = f"{identifier} at {revision}" if revision else identifier
    offline = "or fetch it once while online (`hf download`), or name a folder with `path`"
    try:
        return Path(snapshot_download(identifier, revision=revision, allow_patterns=list(WANTED)))
    except hub.GatedRepoError as error:
        raise UserError(
            f"{wanted} is gated: ask for access at {constants.ENDPOINT}/{identifier}, then log in with `hf auth login`"
            " or set HF_TOKEN"
        ) from error
    except hub.RevisionNotFoundError as error:
        raise UserError(
            f"{identifier} has no revision '{revision}'; use a commit, tag or branch that is listed at"
            f" {constants.ENDPOINT}/{identifier}"
        ) from error
    except hub.DisabledRepoError as error:
        raise UserError(f"{wanted} has been disabled on the hub; choose another model") from error
    except hub.RepositoryNotFoundError as error:
        raise UserError(
            f"the hub has no model {identifier}, or it is private: check the id; for a private one log in with"
            " `hf auth login` or set HF_TOKEN"
        ) from error
    except hub.HFValidationError as error:
        raise UserError(f"'{identifier}' is no id of a hub model; write owner/name") from error
    except hub.LocalEntryNotFoundError as error:
        if constants.is_offline_mode():
            raise UserError(f"{wanted} is not in the cache and HF_HUB_OFFLINE is set; unset it, {offline}") from error
        if isinstance(error.__cause__, hub.HfHubHTTPError):
            raise _refusal(error.__cause__, wanted, identifier, offline) from error
        raise UserError(
            f"the hub ({constants.ENDPOINT}) cannot be reached for {wanted}, and the cache does not have it;"
            f" check the connection, set HF_ENDPOINT to a mirror, {offline}"
        ) from error
    except hub.HfHubHTTPError as error:
        raise _refusal(error, wanted, identifier, offline) from error
    except (httpx2.HTTPError, OSError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"the download of {wanted} failed: {reason}; check the connection and the space left in"
            f" {constants.HF_HUB_CACHE}, then run again"
        ) from error


def _refusal(error: Exception, wanted: str, identifier: str, otherwise: str) -> UserError:
    """What to say of a status that is neither success nor one of the hub's own kinds of refusal."""
    from huggingface_hub import constants

    status = getattr(getattr(error, "response", None), "status_code", "an error")
    if status in (401, 403):
        return UserError(
            f"the hub refuses {wanted} (status {status}): ask for access at {constants.ENDPOINT}/{identifier},"
            " then log in with `hf auth login` or set HF_TOKEN"
        )
    return UserError(f"the hub answers {status} for {wanted}; try again later, {otherwise}")


def _check(folder: Path, family: str, name: str) -> None:
    """Raise UserError unless `folder` holds a model of `family` with weights in safetensors, all shards there."""
    config = _read_json(folder / "config.json", name)
    found = config.get("model_type")
    if found != family:
        own = "; it brings its own code, which is never run" if "auto_map" in config else ""
        raise UserError(
            f"{name} is a model of the family '{found}', not '{family}'{own}; set `family`, or choose another"
        )
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        return
    if not index.is_file():
        raise UserError(
            f"{name} has no weights in the safetensors format, and pickled weights are never loaded; choose a revision"
            " that has model.safetensors, or convert it with save_pretrained and use `path`"
        )
    shards = sorted(set(_read_json(index, name).get("weight_map", {}).values()))
    missing = [shard for shard in shards if not (folder / shard).is_file()]
    if missing or not shards:
        raise UserError(f"{name} lacks {missing[0] if missing else 'shards'} of its weights; complete it and run again")


def _record(found: Path, name: str, folder: str | Path, entries: dict[str, Any], revision: str | None) -> None:
    """Write the tokenizer's two files, then model.json."""
    folder = Path(folder)
    with tempfile.TemporaryDirectory() as made:
        converted = found if (found / "tokenizer.json").is_file() else _fast_tokenizer(found, name, Path(made))
        _check_tokenizer(converted / "tokenizer.json", name)
        settings: dict[str, Any] = {}
        for file in ("special_tokens_map.json", "tokenizer_config.json"):
            if (converted / file).is_file():
                settings |= _read_json(converted / file, name)
        settings.pop("auto_map", None)  # code that comes with a model is never run
        for token, usual in USUAL.get(entries["family"], {}).items():
            settings.setdefault(token, usual)
        with whole_file(folder / "tokenizer.json") as path:
            shutil.copyfile(converted / "tokenizer.json", path)
    _write_json(folder / "tokenizer_config.json", settings)
    _write_json(folder / "model.json", entries | {"revision": revision})


def _fast_tokenizer(found: Path, name: str, made: Path) -> Path:
    """Convert a model's slow tokenizer with transformers; the folder that then has tokenizer.json."""
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


def _check_tokenizer(path: Path, name: str) -> None:
    from tokenizers import Tokenizer

    try:
        Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"the tokenizer.json of {name} cannot be read ({reason}); replace it") from error


def _read_json(path: Path, name: str) -> dict[str, Any]:
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


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
