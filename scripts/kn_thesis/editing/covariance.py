"""The second moment of a layer's keys, C = E[k kᵀ] (Meng et al. 2022, §3.1 and its appendix), and its inverse on keys.

A key is what a value matrix is multiplied with: a token's neurons. C says which keys usual text has, so that an edit
can spare them: the edited key is met along u = C⁻¹k.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from tqdm import tqdm

from kn_thesis.editing.passes import state_in
from kn_thesis.errors import UserError
from kn_thesis.files import whole_file
from kn_thesis.models.adapter import precise
from kn_thesis.models.memory import Room, halves, name_of, worked

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from kn_thesis.models.load import Model

FORMAT = "kn-thesis covariance 1"
WAITING = 64  # batches' worth of tokens that may wait for others of their length
REMEDY = "read more tokens for the covariance, or edit without one (covariance: none)"


class SingularCovariance(UserError):
    """A covariance that has no inverse, or none that its precision resolves."""


@dataclass(frozen=True, eq=False)
class Covariance:
    """Second moments of the keys of some layers: matrices float32 (width, width), exactly symmetric, on the CPU.

    count: tokens that were averaged over.
    """

    matrices: dict[int, Tensor]
    count: int

    def matrix(self, layer: int) -> Tensor:
        """A layer's matrix. Raises UserError when it was not collected."""
        if layer not in self.matrices:
            have = ", ".join(map(str, self.matrices)) or "none"
            raise UserError(f"the covariance of layer {layer} was not collected (only {have}); collect it anew")
        return self.matrices[layer]

    def save(self, path: str | Path) -> None:
        """Write to a safetensors file, whole or not at all; the same covariance gives the same bytes."""
        from safetensors.torch import save_file

        tensors = {f"layer.{layer}": matrix.contiguous() for layer, matrix in self.matrices.items()}
        # The count is no metadata: the library writes those in any order.
        tensors["count"] = torch.tensor(self.count)
        with whole_file(path) as temporary:
            save_file(tensors, temporary, metadata={"format": FORMAT})

    @staticmethod
    def load(path: str | Path, layers: Sequence[int] | None = None) -> Covariance:
        """The covariance in a file written by `save`: of these layers, or of all; others are not read.

        Raises UserError for any other file, for a layer that is not in it, and for numbers that are not finite.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                if (file.metadata() or {}).get("format") != FORMAT:
                    raise UserError(f"{path}: not a file of covariances; delete it and collect it anew")
                found = sorted(int(name.split(".")[1]) for name in file.keys() if name != "count")  # noqa: SIM118
                wanted = found if layers is None else list(dict.fromkeys(layers))
                if missing := [layer for layer in wanted if layer not in found]:
                    have = ", ".join(map(str, found))
                    raise UserError(f"{path}: has no layer {missing[0]} (only {have}); delete it and collect it anew")
                matrices = {layer: file.get_tensor(f"layer.{layer}") for layer in wanted}
                covariance = Covariance(matrices, int(file.get_tensor("count")))
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; collect the covariance first") from None
        except (SafetensorError, OSError, ValueError, IndexError) as error:
            raise UserError(f"{path}: not a file of covariances ({error}); delete it and collect it anew") from error
        for layer, matrix in matrices.items():
            if not matrix.isfinite().all():
                raise UserError(f"{path}: layer {layer} is not finite; delete it and collect it anew")
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
    """Σ k kᵀ / count over all tokens of `texts`, special ones included, until `tokens` of them are read.

    A text is read as the model's tokenizer encodes it, with the special tokens that it adds (LLaMA's <s>, BERT's [CLS]
    and [SEP], none for GPT-2), causal and masked models alike; nothing is masked. One that is longer than the model's
    positions is cut in pieces, and each piece has those special tokens. The piece with which `tokens` is reached is
    the last, and counts whole; fewer are read when the texts have no more.

    Pieces of equal length go together, at most `batch_tokens` tokens at once and at least one piece: nothing is
    padded, and beyond rounding, neither batches nor the order of layers change a number. A batch's sum is float32 at
    least, that of all batches float64 on the model's device: 8·width² bytes for each layer, however long the text.

    Raises UserError when there is no text, for layers that the model has not, for keys that are not finite, and for a
    piece of text that does not fit in memory.
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
        room = Room(model, "covariance", batch_tokens)
        for batch, _ in worked(batches, add, room, lambda batch, _: batch.tokens, _Batch.halves):
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
    """The Cholesky factor L, float64 (width, width), of C = L Lᵀ.

    C is scaled to a diagonal of ones first: neurons of different size are no reason for a loss of digits (van der
    Sluis 1969; Demmel 1989). Raises SingularCovariance when a neuron was never active, when C is not finite, or when
    the scaled matrix's smallest eigenvalue is not above what may be all rounding: ε/2 of `matrix`'s own dtype times its
    Frobenius norm (what storing its numbers changes at most, by Weyl), or width · ε of float64 times its largest
    eigenvalue.
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
    """u = C⁻¹k, float64, of keys (…, width), on their device, by Cholesky. Raises SingularCovariance as `factor` does.

    All keys of a layer are best asked for at once, or by torch.cholesky_solve with one `factor`.
    """
    columns = keys.double().reshape(-1, keys.shape[-1]).T
    return torch.cholesky_solve(columns, factor(matrix.to(keys.device))).T.reshape(keys.shape)


def _pieces(tokenizer: Tokenizer, texts: Iterable[str], longest: int) -> Iterator[list[int]]:
    """Token ids of each text, in pieces of at most `longest` (0: any number), special tokens around each of them."""
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
    """Rows until they have `tokens` tokens together."""
    read = 0
    for row in rows:
        yield row
        read += len(row)
        if read >= tokens:
            return


@dataclass
class _Batch:
    """Rows of one length, and the layers whose sums do not have them yet.

    No layer's products have to be kept until all are there: a batch that runs out of memory half-way is halved, and its
    halves go on with the other layers.
    """

    rows: list[list[int]]
    layers: set[int]

    @property
    def tokens(self) -> int:
        return len(self.rows) * len(self.rows[0])

    def halves(self) -> list[_Batch]:
        return [_Batch(list(rows), set(self.layers)) for rows in halves(self.rows)]


def _batches(rows: Iterable[list[int]], batch_tokens: int) -> Iterator[list[list[int]]]:
    """Rows of equal length, as soon as they fill a batch, or when too many others wait."""
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
    """Each wanted layer and its keys (rows, tokens, width); nothing is computed above the last."""
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
