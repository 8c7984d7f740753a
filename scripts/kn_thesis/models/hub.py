"""Models on the hub: fetched into the hub's own cache, and what its refusals mean in one line."""

from __future__ import annotations

import re
from pathlib import Path

from kn_thesis.addresses import without_login
from kn_thesis.errors import UserError
from kn_thesis.models.folder import SLOW_TOKENIZER, TOKENIZER
from kn_thesis.models.hub_answers import guard

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors")
WANTED = ("config.json", "generation_config.json", *WEIGHTS, *TOKENIZER, *SLOW_TOKENIZER)

REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_+-]*([./][A-Za-z0-9_+-]+)*")  # it becomes a folder of the cache


def snapshot(identifier: str, revision: str | None) -> Path:
    """The folder in the hub's cache that holds a model's files; its name is the commit.

    Only safetensors, configuration and tokenizer files are fetched. Variables of huggingface_hub are heeded
    (HF_ENDPOINT, HF_HUB_OFFLINE, HF_TOKEN, HF_HOME); a copy in the cache serves when the hub cannot be reached.
    Raises UserError, one line, when the model is gated, missing, or cannot be had.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub import errors as hub

    if revision and not REVISION.fullmatch(revision):
        raise UserError(f"{revision[:100]!r} is no revision; use a commit, tag or branch of {identifier}")
    endpoint = without_login(constants.ENDPOINT)
    wanted = f"{identifier} at {revision}" if revision else identifier
    offline = "or fetch it once while online (`hf download`), or name a folder with `path`"
    guard()
    try:
        return Path(snapshot_download(identifier, revision=revision, allow_patterns=list(WANTED)))
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
        raise UserError(f"{identifier[:100]!r} is no id of a hub model; write owner/name") from error
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
    except ValueError as error:  # the library's word for names that lead out of the model's folder, and others
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"what the hub lists for {wanted} cannot be fetched ({reason}); choose another model"
        ) from error
    except Exception as error:
        # The library under huggingface_hub has changed its name before: its errors are known by where they come from.
        if not isinstance(error, OSError) and not type(error).__module__.startswith(("httpx", "requests", "urllib3")):
            raise
        reason = without_login(" ".join(str(error).split()))[:200] or type(error).__name__
        raise UserError(
            f"the download of {wanted} failed: {reason}; check the connection and the space left in"
            f" {constants.HF_HUB_CACHE}, then run again"
        ) from error


def _refusal(error: Exception, wanted: str, identifier: str, otherwise: str) -> UserError:
    """What to say of a status that is neither success nor one of the hub's own kinds of refusal."""
    from huggingface_hub import constants

    endpoint = without_login(constants.ENDPOINT)
    status = getattr(getattr(error, "response", None), "status_code", "an error")
    if status in (401, 403):
        return UserError(
            f"the hub refuses {wanted} (status {status}): ask for access at {endpoint}/{identifier},"
            " then log in with `hf auth login` or set HF_TOKEN"
        )
    return UserError(f"the hub answers {status} for {wanted}; try again later, {otherwise}")
