"""Covariance of a layer's keys, C = E[k kᵀ] (Meng et al. 2022, §3.1 and appendix), and C⁻¹k.

A key is a token's neurons, which the down-projection is multiplied with. C says which keys occur in ordinary text, so
that an edit can spare them: the weights are changed along u = C⁻¹k. The text is a study's own or a data set from the
hub or a disk, read as a stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from tqdm import tqdm

from kn_thesis.errors import UserError
from kn_thesis.files import whole_file
from kn_thesis.models.adapter import precise
from kn_thesis.models.forward import state_in
from kn_thesis.models.memory import MemoryBudget, halves, name_of, run_batches

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from kn_thesis.models.load import Model


FORMAT = "kn-thesis covariance 1"
WAITING = 64  # batches' worth of tokens that may wait for rows of the same length
READERS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv", ".arrow": "arrow", ".txt": "text"}
REMEDY = "read more tokens for the covariance, or edit without one (covariance: none)"


class SingularCovariance(UserError):
    """A covariance without an inverse, or whose precision does not resolve it."""


@dataclass(frozen=True, eq=False)
class Covariance:
    """Second moments of the keys of some layers.

    Attributes:
        matrices: by layer, float32 (width, width), exactly symmetric, on the CPU.
        count: number of tokens that were averaged over.
    """

    matrices: dict[int, Tensor]
    count: int

    def matrix(self, layer: int) -> Tensor:
        """Matrix of a layer. Raises UserError when it was not collected."""
        if layer not in self.matrices:
            have = ", ".join(map(str, self.matrices)) or "none"
            raise UserError(f"the covariance of layer {layer} was not collected (only {have}); collect it again")
        return self.matrices[layer]

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, all or nothing; the same covariance gives the same bytes."""
        from safetensors.torch import save_file

        tensors = {f"layer.{layer}": matrix.contiguous() for layer, matrix in self.matrices.items()}
        # The count is a tensor: the library writes metadata in any order.
        tensors["count"] = torch.tensor(self.count)
        with whole_file(path) as temporary:
            save_file(tensors, temporary, metadata={"format": FORMAT})

    @staticmethod
    def load(path: str | Path, layers: Sequence[int] | None = None) -> Covariance:
        """Read a file written by `save`.

        Args:
            path: the file.
            layers: which layers are read; None: all.

        Raises:
            UserError: for any other file, for a layer that is not in it, and for numbers that are not finite.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                if (file.metadata() or {}).get("format") != FORMAT:
                    raise UserError(f"{path}: not a file of covariances; delete it and collect it again")
                stored = sorted(int(name.split(".")[1]) for name in file.keys() if name != "count")  # noqa: SIM118
                wanted = stored if layers is None else list(dict.fromkeys(layers))
                if missing := [layer for layer in wanted if layer not in stored]:
                    have = ", ".join(map(str, stored))
                    raise UserError(f"{path}: has no layer {missing[0]} (only {have}); delete it and collect it again")
                matrices = {layer: file.get_tensor(f"layer.{layer}") for layer in wanted}
                covariance = Covariance(matrices, int(file.get_tensor("count")))
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; collect the covariance first") from None
        except (SafetensorError, OSError, ValueError, IndexError) as error:
            raise UserError(f"{path}: not a file of covariances ({error}); delete it and collect it again") from error
        for layer, matrix in matrices.items():
            if not matrix.isfinite().all():
                raise UserError(f"{path}: layer {layer} is not finite; delete it and collect it again")
        return covariance


def collect_covariance(
    model: Model,
    texts: Iterable[str],
    layers: Sequence[int],
    *,
    tokens: int,
    batch_tokens: int,
    progress: bool = False,
) -> Covariance:
    """Compute Σ k kᵀ / count over the tokens of some texts.

    A text is encoded by the model's tokenizer with its special tokens (LLaMA's <s>, BERT's [CLS] and [SEP], none for
    GPT-2), which count as well; nothing is masked. A text that is longer than the model's positions is cut into pieces,
    each with those special tokens.

    Pieces of equal length go together, so that nothing is padded; beyond rounding, neither batches nor the order of
    layers change a number. A batch's sum is at least float32, that of all batches float64 on the model's device: it
    takes 8·width² bytes per layer, however long the text.

    Args:
        model: masked or causal.
        texts: in the order in which they are read.
        layers: whose keys are collected.
        tokens: how many are read. The piece that reaches this number counts whole; the texts may have fewer.
        batch_tokens: most tokens in memory at once; at least one piece is.
        progress: whether a progress bar is shown.

    Raises:
        UserError: for texts that are all empty, layers that the model does not have, keys that are not finite, and a
            piece that does not fit in memory.
    """
    adapter = model.adapter
    wanted = sorted(set(layers))
    if not wanted or wanted[0] < 0 or wanted[-1] >= adapter.layers:
        raise UserError(f"layers {list(layers)} of the covariance: name some from 0 to {adapter.layers - 1}")
    if tokens < 1 or batch_tokens < 1:
        raise UserError(f"the covariance needs tokens ({tokens}) and batch_tokens ({batch_tokens}) of 1 or more")
    totals = {
        layer: torch.zeros(adapter.width, adapter.width, dtype=torch.float64, device=model.device) for layer in wanted
    }
    count = 0
    rows = _first_tokens(_pieces(model.tokenizer.tokenizer, texts, model.positions), tokens)
    bar = tqdm(total=tokens, desc="covariance", unit=" tokens", disable=not progress, mininterval=2)

    def add(batch: _Batch, _: int) -> None:
        ids = torch.tensor(batch.rows, device=model.device)
        for layer, keys in _keys(model, ids, sorted(batch.layers)):
            # Products in float64 would take longer than the model itself.
            keys = keys.flatten(0, 1).to(precise(keys))
            totals[layer] += keys.T @ keys
            batch.layers.remove(layer)

    with bar, torch.inference_mode():
        batches = (_Batch(rows, set(wanted)) for rows in _batches(rows, batch_tokens))
        budget = MemoryBudget(model, "covariance", batch_tokens)
        for batch, _ in run_batches(batches, add, budget, lambda batch, _: batch.tokens, _Batch.halves):
            count += batch.tokens
            bar.update(batch.tokens)
    if not count:
        raise UserError("there is no text to collect the covariance from; name a file or data set that has some")
    matrices = {}
    for layer in wanted:
        total = totals.pop(layer)
        matrices[layer] = ((total + total.T) / (2 * count)).float().cpu()
        if not matrices[layer].isfinite().all():
            raise UserError(
                f"{name_of(model)}: the keys of layer {layer} are not finite; load the model with dtype float32 or "
                "bfloat16 and try again"
            )
    return Covariance(matrices, count)


def factor(matrix: Tensor) -> Tensor:
    """Compute the Cholesky factor L of C = L Lᵀ.

    C is scaled to a diagonal of ones first, so that neurons of different size lose no digits (van der Sluis 1969;
    Demmel 1989). C counts as singular when the smallest eigenvalue of the scaled matrix may be rounding alone. That is
    when it is at most ε/2 of `matrix`'s dtype times the Frobenius norm, the most that storing the numbers can change
    (Weyl), or at most width · ε of float64 times the largest eigenvalue.

    Args:
        matrix: C, (width, width).

    Returns:
        L, float64 (width, width).

    Raises:
        SingularCovariance: when a neuron was never active, when C is not finite, or when it is singular as above.
    """
    if not bool(matrix.isfinite().all()):
        raise SingularCovariance(f"the covariance is not finite; {REMEDY}")
    scale = matrix.diagonal().double().clamp(min=0).sqrt()
    if bool((scale == 0).any()):
        raise SingularCovariance(
            f"the covariance is singular: {int((scale == 0).sum())} of {len(scale)} neurons were never active; {REMEDY}"
        )
    scaled = matrix.double() / scale[:, None] / scale
    eigenvalues = torch.linalg.eigvalsh(scaled)
    stored = torch.finfo(matrix.dtype).eps / 2 * float(scaled.norm())
    resolved = max(stored, len(scale) * torch.finfo(torch.float64).eps * float(eigenvalues[-1]))
    lower, failed = torch.linalg.cholesky_ex(scaled)
    if not float(eigenvalues[0]) > resolved or int(failed):
        directions = int((eigenvalues > resolved).sum())
        raise SingularCovariance(
            f"the covariance is singular: {directions} of {len(scale)} directions are resolved; {REMEDY}"
        )
    return scale[:, None] * lower


def solve(matrix: Tensor, keys: Tensor) -> Tensor:
    """Compute u = C⁻¹k by Cholesky, best for all keys of a layer at once.

    Args:
        matrix: C, (width, width).
        keys: (…, width).

    Returns:
        u, float64 (…, width), on the keys' device.

    Raises:
        SingularCovariance: as `factor` does.
    """
    columns = keys.double().reshape(-1, keys.shape[-1]).T
    return torch.cholesky_solve(columns, factor(matrix.to(keys.device))).T.reshape(keys.shape)


def _pieces(tokenizer: Tokenizer, texts: Iterable[str], longest: int) -> Iterator[list[int]]:
    """Token ids of each text, in pieces of at most `longest` tokens (0: no limit), each with its special tokens."""
    for text in texts:
        encoding = tokenizer.encode(text)
        ids, content = encoding.ids, [n for n, special in enumerate(encoding.special_tokens_mask) if not special]
        if not content:
            continue
        if not longest or len(ids) <= longest:
            yield ids
            continue
        before, inside, after = ids[: content[0]], ids[content[0] : content[-1] + 1], ids[content[-1] + 1 :]
        size = longest - len(before) - len(after)
        yield from ([*before, *inside[at : at + size], *after] for at in range(0, len(inside), size))


def _first_tokens(rows: Iterable[list[int]], tokens: int) -> Iterator[list[int]]:
    """Rows up to the one with which they reach `tokens` tokens."""
    read = 0
    for row in rows:
        yield row
        read += len(row)
        if read >= tokens:
            return


@dataclass
class _Batch:
    """Rows of one length, and the layers whose sums do not include them yet.

    Each layer's products are added at once. A batch that runs out of memory half-way is halved, and its halves go on
    with the other layers.
    """

    rows: list[list[int]]
    layers: set[int]

    @property
    def tokens(self) -> int:
        return len(self.rows) * len(self.rows[0])

    def halves(self) -> list[_Batch]:
        return [_Batch(list(rows), set(self.layers)) for rows in halves(self.rows)]


def _batches(rows: Iterable[list[int]], batch_tokens: int) -> Iterator[list[list[int]]]:
    """Batches of rows of equal length: as soon as one is full, or when too many rows are waiting."""
    waiting: dict[int, list[list[int]]] = {}
    tokens = 0
    for row in rows:
        length = len(row)
        alike = waiting.setdefault(length, [])
        alike.append(row)
        tokens += length
        full = len(alike) >= max(batch_tokens // length, 1)
        if not full and tokens > WAITING * batch_tokens:
            length = max(waiting, key=lambda length: (length * len(waiting[length]), length))
            full = True
        if full:
            batch = waiting.pop(length)
            tokens -= length * len(batch)
            yield batch
    yield from (waiting[length] for length in sorted(waiting))


def _keys(model: Model, ids: Tensor, layers: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
    """Each of `layers` with its keys (rows, tokens, width); nothing is computed above the last."""
    adapter = model.adapter
    positions = torch.arange(ids.shape[1], device=ids.device)
    hidden = adapter.embed(ids)
    for layer in range(adapter.layers):
        state = state_in(adapter, layer, hidden, positions)
        neurons = adapter.neurons(layer, state)
        if layer in layers:
            yield layer, neurons
        if layer == layers[-1]:
            return
        hidden = adapter.after_mlp(layer, state, adapter.mlp_output(layer, neurons))


def text_lines(path: str | Path) -> Iterator[str]:
    """Read the lines of a text file one at a time, without empty ones. Raises UserError when it cannot be read."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            yield from (stripped for line in file if (stripped := line.strip()))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the text cannot be read ({error}); make it again") from error


def dataset_texts(source: Mapping[str, Any]) -> Iterator[str]:
    """Read the texts of a data set in its order, without empty ones; only what is read is downloaded.

    No code of the data set is run. The environment variables of huggingface_hub apply.

    Args:
        source: `id` on the hub (with `revision`: commit, tag or branch) or `path` of a local folder or file; `config`,
            `split` ("train") and `column` ("text").

    Raises:
        UserError: when the data set or the column does not exist, or cannot be reached.
    """
    import datasets

    name = str(source.get("path") or source.get("id") or "")
    if not name:
        raise UserError("the source of the covariance's texts names no data set: give `id` (on the hub) or `path`")
    column, arguments = source.get("column") or "text", _arguments(source)
    datasets.disable_progress_bars()
    datasets.utils.logging.set_verbosity(datasets.utils.logging.CRITICAL)
    try:
        rows = datasets.load_dataset(**arguments, streaming=True)  # nosec B615 # `arguments` has the revision
        for row in rows:
            text = row.get(column)
            if not isinstance(text, str | None) or column not in row:
                wrong = "has no column" if column not in row else "has no text in its column"
                raise UserError(f"the data set {name} {wrong} {column!r}; its columns are {', '.join(row)}")
            if text and text.strip():
                yield text.strip()
    except UserError:
        raise
    except Exception as error:  # the library and its dependencies raise several dozen kinds
        raise _user_error(name, error, on_hub=not source.get("path")) from error


def _arguments(source: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `load_dataset`."""
    common = {"name": source.get("config"), "split": source.get("split") or "train"}
    if not source.get("path"):
        return {"path": str(source["id"]), "revision": source.get("revision")} | common
    path = Path(source["path"]).expanduser().resolve()
    if path.is_dir():
        return {"path": str(path)} | common
    if not path.is_file():
        raise UserError(f"{path}: no such file or folder; correct `path` in the source of the covariance's texts")
    reader = next((READERS[suffix] for suffix in path.suffixes if suffix in READERS), None)
    if reader is None:
        raise UserError(f"{path}: a file of texts ends in one of {', '.join(READERS)}")
    return {"path": reader, "data_files": str(path)} | common


def _user_error(name: str, error: Exception, on_hub: bool) -> UserError:
    """The error to report for an exception of the library."""
    from datasets.exceptions import DatasetNotFoundError

    reason = " ".join(str(error).split())[:200] or type(error).__name__
    if isinstance(error, DatasetNotFoundError | FileNotFoundError) and on_hub:
        return UserError(
            f"the hub has no data set {name}, or does not give it to you ({reason}): check the id and its revision;"
            " for a gated or private one log in with `hf auth login` or set HF_TOKEN"
        )
    if isinstance(error, ConnectionError) or type(error).__module__.startswith(("httpx", "requests", "urllib3")):
        return UserError(
            f"the data set {name} cannot be reached ({reason}): check the connection, set HF_ENDPOINT to a mirror, or"
            " name a local copy with `path`"
        )
    return UserError(f"the data set {name} cannot be read ({reason}): correct the source of the covariance's texts")
