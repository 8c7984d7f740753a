"""Load a model from a folder or the hub: safetensors only, never code from elsewhere, one line when it cannot be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kn_thesis.errors import UserError

if TYPE_CHECKING:
    import torch

    from kn_thesis.corpora.gaps import GapTokenizer
    from kn_thesis.models.adapter import Adapter

DTYPES = ("float32", "float64", "bfloat16", "float16")
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Model:
    """A model ready to be asked: Hugging Face's module (evaluation mode, no gradients), and how to take it apart."""

    module: Any
    adapter: Adapter
    tokenizer: GapTokenizer
    device: torch.device


@dataclass(frozen=True)
class Place:
    """Where a model's parts lie: `weights` is a folder, or a hub id when `on_hub`."""

    weights: str
    revision: str | None
    on_hub: bool
    tokenizer: Path
    family: str


def load_model(
    source: str | Path,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "float32",
    attention: str = "eager",
) -> Model:
    """Load a model and its tokenizer.

    source: a folder in the hub's format; or a folder with a `model.json` (family, location, revision) that keeps the
        tokenizer, while the weights lie at `location`: ".", another folder, or a hub id; or a hub id.
    revision: commit, tag or branch on the hub. device: "auto" takes a GPU when there is one. dtype: of the weights
        in memory; probabilities are float32 at least. attention: Hugging Face's implementation in `module`.

    Environment variables of huggingface_hub are heeded (HF_ENDPOINT, HF_HUB_OFFLINE, HF_TOKEN, HF_HOME).
    Raises UserError for what is missing, gated, pickled, damaged, of an unknown family, or does not fit.
    """
    if dtype not in DTYPES:
        raise UserError(f"unknown dtype {dtype!r}: choose one of {', '.join(DTYPES)}")
    if device not in DEVICES:
        raise UserError(f"unknown device {device!r}: choose one of {', '.join(DEVICES)}")
    place = _find(source, revision)

    import torch

    from kn_thesis.corpora.gaps import GapTokenizer
    from kn_thesis.models.families import family_named

    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device cuda: this machine has no usable GPU; choose cpu or auto")
    target = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    family = family_named(place.family, str(source))
    module = _weights(family.model_class(), place, getattr(torch, dtype), attention)
    module = module.to(target).eval().requires_grad_(False)
    return Model(module, family.adapter(module), GapTokenizer.from_folder(place.tokenizer), target)


def _find(source: str | Path, revision: str | None) -> Place:
    """Resolve `source`; everything that can be checked before the weights are read is checked here."""
    folder = Path(source)
    if folder.is_dir():
        record = _json(folder / "model.json") if (folder / "model.json").is_file() else {}
        location = str(record.get("location") or ".")
        inner = next((path for path in (folder / location, Path(location)) if path.is_dir()), None)
        if inner is not None:
            family = record.get("family") or _json(inner / "config.json").get("model_type")
            _check_weights(inner)
            return Place(str(inner), None, False, _tokenizer(folder, inner), str(family))
        if record.get("source") != "hub":
            raise UserError(f"{folder / 'model.json'}: location {location!r} is not there; correct it or get it again")
        _tokenizer(folder)
        family = record.get("family") or _json(_from_hub(location, "config.json", record.get("revision"))).get(
            "model_type"
        )
        return Place(location, revision or record.get("revision"), True, folder, str(family))
    name = str(source)
    if folder.exists():
        raise UserError(f"{name} is a file: a model is a folder in the hub's format, or an id on the hub")
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or not name:
        raise UserError(f"{name!r}: no such folder, and not an id on the hub (owner/name)")
    config = _json(_from_hub(name, "config.json", revision))
    tokenizer = [_from_hub(name, file, revision) for file in ("tokenizer.json", "tokenizer_config.json")]
    return Place(name, revision, True, tokenizer[0].parent, str(config.get("model_type")))


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: a model's folder needs it") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no JSON object")
    return content


def _tokenizer(*folders: Path) -> Path:
    for folder in folders:
        if (folder / "tokenizer.json").is_file():
            return folder
    raise UserError(f"{folders[0] / 'tokenizer.json'} is missing: save the model's fast tokenizer there")


def _check_weights(folder: Path) -> None:
    """Raise UserError unless the folder has safetensors, all of them if they are in several files."""
    if (folder / "model.safetensors").is_file():
        return
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        missing = sorted(
            {name for name in _json(index).get("weight_map", {}).values() if not (folder / name).is_file()}
        )
        if missing:
            raise UserError(f"{folder}: {', '.join(missing)} of model.safetensors.index.json is missing")
        return
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")):
        raise UserError(f"{folder} has pickled weights only, which could run code: convert them to model.safetensors")
    raise UserError(f"{folder / 'model.safetensors'} is missing: there are no weights to load")


def _from_hub(name: str, file: str, revision: str | None, optional: bool = False) -> Path | None:
    """One file of a model on the hub, from the cache when it is there; None if it is `optional` and does not exist."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    with _hub_errors(name, revision, file):
        try:
            return Path(hf_hub_download(name, file, revision=revision))
        except EntryNotFoundError as error:
            if optional and not isinstance(error, LocalEntryNotFoundError):
                return None
            raise


@contextmanager
def _hub_errors(name: str, revision: str | None, file: str) -> Iterator[None]:
    """Say in one line what the hub, or the way to it, refused."""
    import httpx
    from huggingface_hub import errors

    what = f"{name}{f' at revision {revision}' if revision else ''}"
    try:
        yield
    except errors.GatedRepoError:
        raise UserError(f"{what} is gated: accept its terms on the hub, then set HF_TOKEN") from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"{what}: no such folder, and no such model on the hub (set HF_TOKEN if it is private)"
        ) from None
    except errors.RevisionNotFoundError:
        raise UserError(f"{what}: the hub has the model but not this revision") from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, httpx.TransportError):
        raise UserError(
            f"{what}: {file} is not in the cache and the hub cannot be reached (no network, or HF_HUB_OFFLINE is set); "
            "download it while connected, or give a folder"
        ) from None
    except errors.EntryNotFoundError:
        raise UserError(f"{what} has no {file}: it needs safetensors weights and a fast tokenizer") from None
    except errors.HfHubHTTPError as error:
        code = getattr(error.response, "status_code", "an error")
        why = "access is refused: set HF_TOKEN to a token that may read it" if code in (401, 403) else "try again later"
        raise UserError(f"{what}: the hub answered {code} for {file}; {why}") from None
    except errors.HFValidationError as error:
        raise UserError(f"{what!r}: no such folder, and not an id on the hub ({error})") from None


def _weights(model_class: Any, place: Place, dtype: torch.dtype, attention: str) -> Any:
    """The module with every one of its weights from the file."""
    from safetensors import SafetensorError

    kept = {"revision": place.revision} if place.revision else {}
    try:
        with _quiet():
            if place.on_hub:
                _hub_weights(place)
            module, report = model_class.from_pretrained(
                place.weights,
                **kept,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=dtype,
                attn_implementation=attention,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{place.weights}: the model cannot be loaded ({reason[:300]})") from error
    missing, misfit = sorted(report["missing_keys"]), sorted(map(str, report.get("mismatched_keys", ())))
    if missing or misfit:
        wrong = (missing or misfit)[0]
        raise UserError(
            f"{place.weights}: {len(missing)} weights of {model_class.__name__} are missing and {len(misfit)} have "
            f"another shape (the first: {wrong}); it is damaged, or another kind of model"
        )
    return module


def _hub_weights(place: Place) -> None:
    """Fetch the weights, or for weights in several files their index, so that the hub's own words are understood."""
    from huggingface_hub import try_to_load_from_cache

    index = "model.safetensors.index.json"
    if isinstance(try_to_load_from_cache(place.weights, index, revision=place.revision), str):
        return
    if _from_hub(place.weights, "model.safetensors", place.revision, optional=True) is None:
        _from_hub(place.weights, index, place.revision)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' bars and remarks off the terminal while a model is loaded."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
