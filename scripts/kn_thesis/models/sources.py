"""Get a model from the hub or a folder, check it early, and record it in the study's results.

`snapshot` downloads into the hub's own cache and turns each refusal of the hub into one line. huggingface_hub names
files in its cache after words in the hub's answers. It checks itself that file names do not lead out of the cache, but
not checksums (ETag) and commits (as of 2.4.0), so `guard` checks these.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from kn_thesis.errors import UserError
from kn_thesis.files import whole_file, write_json
from kn_thesis.inputs import without_login
from kn_thesis.models.folder import (
    SLOW_TOKENIZER,
    TOKENIZER,
    check_folder,
    check_model,
    check_tokenizer,
    fast_tokenizer,
    read_folder_json,
)

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors")
DOWNLOADED = ("config.json", "generation_config.json", *WEIGHTS, *TOKENIZER, *SLOW_TOKENIZER)
REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_+-]*([./][A-Za-z0-9_+-]+)*")  # becomes a folder of the cache
NAMED_BY = ("etag", "x-linked-etag", "x-repo-commit")
LEADS_OUT = re.compile(r"[/\\\0]|\.\.")
# Names of a family's special tokens if the model's files leave them to the library's defaults.
DEFAULT_TOKENS = {
    "bert": {"mask_token": "[MASK]", "cls_token": "[CLS]", "sep_token": "[SEP]"},
    "roberta": {"mask_token": "<mask>", "cls_token": "<s>", "sep_token": "</s>"},
}


def record_hub_model(identifier: str, revision: str | None, family: str, folder: str | Path) -> None:
    """Download a model to the hub's cache, check it, and record it.

    The weights stay in the cache, see `snapshot`.

    Args:
        identifier: owner/name.
        revision: Commit, tag or branch; None for the newest. model.json gets the commit.
        family: The family that the model must have.
        folder: Gets model.json, tokenizer.json and tokenizer_config.json.

    Raises:
        UserError: The model cannot be downloaded or used.
    """
    files = snapshot(identifier, revision)
    name = f"the hub's {identifier}"
    if revision:
        name += f" at {revision}"
    check_model(files, name, family)
    _record(files, name, folder, {"family": family, "source": "hub", "location": identifier}, files.name)


def record_path_model(path: str | Path, family: str, folder: str | Path) -> None:
    """Check a model in a folder and record it.

    Args:
        path: The model's folder, in the hub's format. The weights stay there; model.json gets its absolute path.
        family: The family that the model must have.
        folder: Gets model.json, tokenizer.json and tokenizer_config.json.

    Raises:
        UserError: The model cannot be used.
    """
    files = check_folder(path, family)
    _record(files, str(path), folder, {"family": family, "source": "path", "location": str(files)}, None)


def _record(files: Path, name: str, folder: str | Path, entries: dict[str, Any], revision: str | None) -> None:
    """Write the tokenizer's two files, then model.json."""
    folder = Path(folder)
    with tempfile.TemporaryDirectory() as temporary:
        converted = files if (files / "tokenizer.json").is_file() else fast_tokenizer(files, name, Path(temporary))
        vocabulary = read_folder_json(files / "config.json", name).get("vocab_size")
        check_tokenizer(converted / "tokenizer.json", name, vocabulary)
        settings: dict[str, Any] = {}
        for file in ("special_tokens_map.json", "tokenizer_config.json"):
            if os.path.lexists(converted / file):
                settings |= read_folder_json(converted / file, name)
        settings.pop("auto_map", None)  # names code that comes with the model, which is never run
        for token, default in DEFAULT_TOKENS.get(entries["family"], {}).items():
            settings.setdefault(token, default)
        with whole_file(folder / "tokenizer.json") as path:
            shutil.copyfile(converted / "tokenizer.json", path)
    write_json(folder / "tokenizer_config.json", settings, ensure_ascii=False)
    write_json(folder / "model.json", entries | {"revision": revision}, ensure_ascii=False)


def snapshot(identifier: str, revision: str | None) -> Path:
    """Download a model into the hub's cache: safetensors, configuration and tokenizer only.

    The environment variables of huggingface_hub apply (HF_ENDPOINT, HF_HUB_OFFLINE, HF_TOKEN, HF_HOME). If the hub
    cannot be reached, a copy in the cache is used.

    Args:
        identifier: owner/name.
        revision: Commit, tag or branch; None for the newest.

    Returns:
        The folder with the files; its name is the commit.

    Raises:
        UserError: The model is gated, missing, or cannot be downloaded.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub import errors as hub

    if revision and not REVISION.fullmatch(revision):
        raise UserError(f"{revision[:100]!r} is not a revision; use a commit, tag or branch of {identifier}")
    endpoint = without_login(constants.ENDPOINT)
    wanted = f"{identifier} at {revision}" if revision else identifier
    offline = "or fetch it once while online (`hf download`), or name a folder with `path`"
    guard()
    try:
        return Path(snapshot_download(identifier, revision=revision, allow_patterns=list(DOWNLOADED)))
    except hub.GatedRepoError as error:
        raise UserError(
            f"{wanted} is gated: ask for access at {endpoint}/{identifier}, then log in with `hf auth login`"
            " or set HF_TOKEN"
        ) from error
    except hub.RevisionNotFoundError as error:
        raise UserError(
            f"{identifier} has no revision '{revision}'; use a commit, tag or branch that is listed at"
            f" {endpoint}/{identifier}"
        ) from error
    except hub.DisabledRepoError as error:
        raise UserError(f"{wanted} has been disabled on the hub; choose another model") from error
    except hub.RepositoryNotFoundError as error:
        raise UserError(
            f"the hub has no model {identifier}, or it is private: check the id; for a private one log in with"
            " `hf auth login` or set HF_TOKEN"
        ) from error
    except hub.HFValidationError as error:
        raise UserError(f"{identifier[:100]!r} is not the id of a hub model; write owner/name") from error
    except hub.LocalEntryNotFoundError as error:
        if constants.is_offline_mode():
            raise UserError(f"{wanted} is not in the cache and HF_HUB_OFFLINE is set; unset it, {offline}") from error
        if isinstance(error.__cause__, hub.HfHubHTTPError):
            raise _refusal(error.__cause__, wanted, identifier, offline) from error
        raise UserError(
            f"the hub ({endpoint}) cannot be reached for {wanted}, and the cache does not have it;"
            f" check the connection, set HF_ENDPOINT to a mirror, {offline}"
        ) from error
    except hub.HfHubHTTPError as error:
        raise _refusal(error, wanted, identifier, offline) from error
    except ValueError as error:  # the library raises it for names that lead out of the model's folder, among others
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"what the hub lists for {wanted} cannot be fetched ({reason}); choose another model"
        ) from error
    except Exception as error:
        # The HTTP library under huggingface_hub has changed before, so its errors are recognized by their module.
        if not isinstance(error, OSError) and not type(error).__module__.startswith(("httpx", "requests", "urllib3")):
            raise
        reason = without_login(" ".join(str(error).split()))[:200] or type(error).__name__
        raise UserError(
            f"the download of {wanted} failed: {reason}; check the connection and the space left in"
            f" {constants.HF_HUB_CACHE}, then run again"
        ) from error


def _refusal(error: Exception, wanted: str, identifier: str, otherwise: str) -> UserError:
    """Return the error for a status that huggingface_hub has no exception of its own for."""
    from huggingface_hub import constants

    endpoint = without_login(constants.ENDPOINT)
    status = getattr(getattr(error, "response", None), "status_code", "an error")
    if status in (401, 403):
        return UserError(
            f"the hub refuses {wanted} (status {status}): ask for access at {endpoint}/{identifier},"
            " then log in with `hf auth login` or set HF_TOKEN"
        )
    return UserError(f"the hub answers {status} for {wanted}; try again later, {otherwise}")


def guard() -> None:
    """Make huggingface_hub's client check each answer; its other settings stay."""
    from huggingface_hub import get_session, set_client_factory

    usual = get_session()
    if check_answer in usual.event_hooks["response"]:
        return
    kind, asks = type(usual), list(usual.event_hooks["request"])

    def client() -> Any:
        return kind(event_hooks={"request": asks, "response": [check_answer]}, follow_redirects=True, timeout=None)

    set_client_factory(client)


def check_answer(answer: Any) -> None:
    """Raise ValueError for an answer whose checksum or commit would lead out of the cache."""
    words = [answer.headers.get(name) for name in NAMED_BY] if answer.request.method == "HEAD" else []
    if "/api/models/" in answer.request.url.path and answer.is_success:
        answer.read()
        content = answer.json()
        words += [content.get("sha")] if isinstance(content, dict) else []
    for word in words:
        if word and LEADS_OUT.search(str(word).removeprefix("W/")):
            raise ValueError(f"the hub names a checksum or commit {str(word)[:80]!r}")
