"""Load a model and its tokenizer from a folder or the hub, check both, and put it on its device.

Only safetensors are loaded, and never code that comes with a model. Every failure is a UserError of one line.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kn_thesis.errors import UserError
from kn_thesis.inputs import checked_whole, in_one_line
from kn_thesis.models.folder import check_model, fast_tokenizer, read_folder_json, resolve_folder
from kn_thesis.models.memory import REMEDY, out_of_memory
from kn_thesis.models.self_check import check_agreement, check_weights
from kn_thesis.models.sources import snapshot

if TYPE_CHECKING:
    import torch

    from kn_thesis.models.adapter import Adapter
    from kn_thesis.models.cloze import GapTokenizer
    from kn_thesis.models.devices import Claim


DTYPES = ("float32", "float64", "bfloat16", "float16")
DEVICES = ("auto", "cpu", "cuda")
FLOATS = ("F64", "F32", "F16", "BF16")  # dtypes in safetensors' words


@dataclass(frozen=True)
class Model:
    """A loaded model.

    Attributes:
        module: Hugging Face's module, in evaluation mode and without gradients.
        adapter: The module split into steps.
        tokenizer: Encodes prompts with a blank.
        device: Where inputs go.
        name: Where the model was loaded from.
        claims: Claims to GPUs, which last as long as the model.
    """

    module: Any
    adapter: Adapter
    tokenizer: GapTokenizer
    device: torch.device
    name: str = ""
    claims: tuple[Claim, ...] = ()

    @property
    def positions(self) -> int:
        """The maximum number of tokens in an input."""
        return self.adapter.longest


def load_model(
    source: str | Path,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "float32",
    gpus: int = 1,
) -> Model:
    """Load a model and its tokenizer.

    Attention is the implementation that transformers chooses for the family. `check_agreement` compares the adapter
    with the model on one short prompt. The environment variables of huggingface_hub apply (HF_ENDPOINT, HF_HUB_OFFLINE,
    HF_TOKEN, HF_HOME).

    Args:
        source: A hub id (owner/name), or a folder in the hub's format, or a folder with the tokenizer and a model.json
            (family, location, revision) whose `location` is ".", another folder or a hub id.
        revision: Commit, tag or branch on the hub.
        device: "auto", "cpu" or "cuda". "auto" takes a GPU if there is one. If there are several, it takes one that no
            other job of this study uses.
        dtype: Of the weights: float32, float64, bfloat16 or float16. Probabilities are at least float32.
        gpus: Number of GPUs to distribute the layers over, for a model that does not fit on one.

    Raises:
        UserError: The model is missing, gated, pickled, damaged, of an unknown family, does not fit in memory, has
            weights that are not finite, or its family's adapter does not compute what it does.
    """
    if not isinstance(source, str | Path):
        raise UserError(f"the model is {in_one_line(source)}: give a folder, or an id on the hub (owner/name)")
    checked_whole("gpus", gpus, 1)
    if dtype not in DTYPES:
        raise UserError(f"unknown dtype {dtype!r}: choose one of {', '.join(DTYPES)}")
    if device not in DEVICES:
        raise UserError(f"unknown device {device!r}: choose one of {', '.join(DEVICES)}")
    tokenizer, weights, recorded = _find(source, revision)
    family_name = check_model(weights, str(source), recorded)

    with _nothing_collected():
        import torch

        from kn_thesis.models.cloze import GapTokenizer
        from kn_thesis.models.devices import claim_devices, gpu_names
        from kn_thesis.models.families import family_named
        from kn_thesis.models.folder import check_vocabulary

        family = family_named(family_name, str(source))
        model_class = family.model_class()

    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device cuda: this machine has no usable GPU; choose cpu or auto")
    claims = claim_devices(gpu_names(), gpus) if device != "cpu" and torch.cuda.is_available() else []
    targets = [torch.device("cuda", claim.number) for claim in claims] or [torch.device("cpu")]
    if device == "cuda" and len(targets) < gpus:
        raise UserError(f"gpus {gpus}: this machine has {len(targets)}; choose as many or fewer")
    gap_tokenizer = _gap_tokenizer(GapTokenizer, tokenizer, str(source))
    module = _module(model_class, weights, getattr(torch, dtype))
    module = module.eval().requires_grad_(False)
    try:
        adapter = family.adapter(module)
    except UserError as error:
        raise UserError(f"{source}: {error}; choose another model") from None
    check_vocabulary(gap_tokenizer.tokenizer, adapter.vocabulary, str(source))
    adapter = _place(module, adapter, targets, str(source))
    check_weights(module, str(source))
    check_agreement(module, adapter, str(source))
    return Model(module, adapter, gap_tokenizer, targets[0], str(source), tuple(claims))


def load_job_model(files: Sequence[str | Path], **loading: Any) -> Model:
    """Load the model of a job: a process that does nothing but run it.

    Modules and weights live until such a process ends. The garbage collector ignores them from here on, which halves
    the time that it takes to start and end the process.

    Args:
        files: Files of the model's folder, as a job's inputs name them.
        loading: Arguments of `load_model`.
    """
    model = load_model(Path(files[0]).parent, **loading)
    gc.freeze()
    return model


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Import without the garbage collector, which would take a fifth of the time and find nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _find(source: str | Path, revision: str | None) -> tuple[Path, Path, str | None]:
    """Return the folders of tokenizer and weights and the recorded family; download what is on the hub."""
    folder = resolve_folder(source) if str(source).strip() else None
    if folder is not None:
        record = read_folder_json(folder / "model.json", str(folder)) if os.path.lexists(folder / "model.json") else {}
        for key in ("family", "source", "location", "revision"):
            if not isinstance(record.get(key), str | None):
                raise UserError(f"{folder / 'model.json'}: {key} is text, or null; correct it or get the model again")
        location, family = record.get("location") or ".", record.get("family")
        if record.get("source") == "hub":
            return folder, snapshot(location, revision or record.get("revision")), family
        weights = next((path for path in (folder / location, Path(location)) if os.path.isdir(path)), None)
        if weights is None:
            place = location if len(location) <= 200 else location[:197] + "..."
            raise UserError(f"{folder / 'model.json'}: location {place!r} is not there; correct it or get it again")
        return (folder if (folder / "tokenizer.json").is_file() else weights), weights, family
    name = str(source) if len(str(source)) <= 200 else str(source)[:197] + "..."
    if os.path.exists(source):
        raise UserError(f"{name} is a file: a model is a folder in the hub's format, or an id on the hub")
    if os.path.isabs(source) or name.startswith((".", "~")) or name.count("/") > 1 or not name:
        raise UserError(f"{name!r}: no such folder, and not an id on the hub (owner/name)")
    folder = snapshot(name, revision)
    return folder, folder, None


def _gap_tokenizer(kind: type[GapTokenizer], folder: Path, name: str) -> GapTokenizer:
    """Read the tokenizer in `folder`; convert it if it is a slow one."""
    if (folder / "tokenizer.json").is_file():
        return kind.from_folder(folder)
    with tempfile.TemporaryDirectory() as temporary:
        converted = fast_tokenizer(folder, name, Path(temporary))
        for file in ("config.json", "model.json"):
            if (folder / file).is_file() and not (converted / file).is_file():
                shutil.copyfile(folder / file, converted / file)
        return kind.from_folder(converted)


def _module(model_class: Any, folder: Path, dtype: torch.dtype) -> Any:
    """Load the module, with all of its weights from the folder."""
    try:
        with _quiet():
            config = model_class.config_class.from_dict(read_folder_json(folder / "config.json", str(folder)))
            config._attn_implementation = None  # ignore config.json: `attend` computes the class's default
            module, report = model_class.from_pretrained(
                str(folder),
                config=config,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=dtype,
                output_loading_info=True,
            )
    except Exception as error:  # libraries raise anything for files that they reject
        if out_of_memory(error):
            raise UserError(f"{folder}: the model does not fit in memory; {REMEDY}") from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{folder}: the model cannot be loaded ({reason[:300]}); get it again") from error
    missing, misfit = sorted(report["missing_keys"]), sorted(map(str, report.get("mismatched_keys", ())))
    if missing or misfit:
        wrong = (missing or misfit)[0]
        raise UserError(
            f"{folder}: {len(missing)} weights of {model_class.__name__} are missing and {len(misfit)} have "
            f"another shape (the first: {wrong}); it is damaged, or another kind of model"
        )
    _check_numbers(folder, set(dict(module.named_parameters())))
    return module


def _place(module: Any, adapter: Adapter, devices: Sequence[torch.device], name: str) -> Adapter:
    """Move the weights to their devices; return the adapter that knows where they are."""
    from kn_thesis.models.devices import distribute_layers

    try:
        if len(devices) > 1:
            return distribute_layers(module, adapter, devices)
        module.to(devices[0])
        return adapter
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        size = sum(weight.numel() * weight.element_size() for weight in module.parameters()) / 2**30
        place = devices[0].type if len(devices) == 1 else f"{len(devices)} {devices[0].type}s"
        raise UserError(f"{name}: its {size:.1f} GiB of weights do not fit on {place}; {REMEDY}") from error


def _check_numbers(folder: Path, parameters: set[str]) -> None:
    """Raise UserError unless weights are floating-point numbers: quantized ones mean nothing by themselves."""
    from safetensors import safe_open

    whole = folder / "model.safetensors"
    for file in [whole] if whole.is_file() else sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in sorted(parameters.intersection(tensors.keys())):
                kind = tensors.get_slice(name).get_dtype()
                if kind not in FLOATS:
                    raise UserError(
                        f"{file}: the weight {name} is stored as {kind}; save the model with one of {', '.join(FLOATS)}"
                    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep progress bars and log messages of transformers off the terminal."""
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
