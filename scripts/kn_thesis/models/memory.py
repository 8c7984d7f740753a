"""Batches that do not fit in memory are halved until they do, and what is left goes on in the smaller size.

A batch is worked on as a whole or not at all: nobody sees a result before all of it is there, so that nothing is lost
or counted twice. On a GPU its allocator says when memory is out. On a CPU somebody has to set a limit (`ulimit -v`):
without one Linux grants more than there is, and then ends the process without a word.
"""

from __future__ import annotations

import errno
import gc
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from kn_thesis.errors import UserError

Batch = TypeVar("Batch")
Result = TypeVar("Result")
Item = TypeVar("Item")

UNLIMITED = sys.maxsize
# Of what torch says on a CPU, CUDA and MPS, and of the libraries below it, which have no exception of their own for it.
SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "bad_alloc", "ALLOC_FAILED")
REMEDY = "load the model in a smaller dtype, on another device or on more GPUs (`gpus`), or give the job more memory"


class Room:
    """How much a model may have in memory at once for one kind of work: what is asked for, less once it did not fit."""

    def __init__(self, model: Any, what: str, most: int, unit: str = "tokens") -> None:
        """`most` units at first; `what` is the work, for messages."""
        self.most, self.unit = most, unit
        self.whose = f"{name_of(model)}: {what}"
        self.place = model.device.type
        self.halved = False

    def halve(self, used: int, most: int) -> None:
        """Go on with `most` units, where `used` did not fit; the log says so."""
        from tqdm import tqdm

        self.most, self.halved = most, True
        line = f"{self.whose}: {used} {self.unit} at once do not fit in memory ({self.place}); going on with {most}"
        tqdm.write(line, file=sys.stderr)  # beside a bar, if there is one
        sys.stderr.flush()

    def full(self, used: int) -> UserError:
        """The error where nothing smaller is left to try."""
        return UserError(
            f"{self.whose}: {used} {self.unit} at once do not fit in memory ({self.place}), and fewer cannot be taken "
            f"(a smaller batch_tokens will not help); {REMEDY}"
        )


def name_of(model: Any) -> str:
    """What a model is called in messages: where it was loaded from, else its family."""
    return getattr(model, "name", "") or getattr(model.adapter, "family", "the model")


def halves(batch: Sequence[Item]) -> list[Sequence[Item]]:
    """Both halves of a list; none where it has a single item."""
    middle = (len(batch) + 1) // 2
    return [batch[:middle], batch[middle:]] if len(batch) > 1 else []


def worked(
    batches: Iterable[Batch],
    work: Callable[[Batch, int], Result],
    room: Room,
    size: Callable[[Batch, int], int],
    halves: Callable[[Batch], Sequence[Batch]] = halves,
) -> Iterator[tuple[Batch, Result]]:
    """Each batch, or the parts of it that fit in memory, and what `work` makes of it, in order.

    work: of a batch, with so many units at most in memory at once (a batch that cannot be halved may be worked on piece
        by piece); what it does by the way must not count when it raises.
    size: units of a batch that are in memory at once when worked on with so many at most.
    halves: two parts that make up a batch, in order; none where there are no smaller ones.

    Raises UserError when the smallest part does not fit.
    """
    for whole in batches:
        waiting = [whole]
        while waiting:
            batch = waiting.pop()
            parts = halves(batch) if room.halved and size(batch, UNLIMITED) > room.most else ()
            if not parts:
                done = _attempt(work, batch, room.most)
                if done:
                    yield batch, done.pop()
                    continue
                parts = _less(batch, room, size, halves)
            waiting += reversed(parts)


def _less(
    batch: Batch, room: Room, size: Callable[[Batch, int], int], halves: Callable[[Batch], Sequence[Batch]]
) -> Sequence[Batch]:
    """What to try in place of a batch that does not fit; makes the room smaller."""
    used = size(batch, room.most)
    parts, most = halves(batch), max(1, min(room.most, used // 2))  # a single item may be above the room already
    if not parts:
        parts = [batch]
        while size(batch, most) >= used:
            if most == 1:
                raise room.full(used)
            most //= 2
    room.halve(used, most)
    return parts


def _attempt(work: Callable[[Batch, int], Result], batch: Batch, most: int) -> list[Result]:
    """The result alone in a list; an empty list when memory is out."""
    try:
        return [work(batch, most)]
    except Exception as error:
        if not out_of_memory(error):
            raise
    # Here, and not above: the error holds the frames that it came through, and they hold the batch's tensors.
    free()
    return []


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is out, on whatever device."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)
    )


def free() -> None:
    """Give back what nobody holds any more."""
    gc.collect()
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
