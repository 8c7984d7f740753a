"""Split work to fit in memory: shards and blocks of a task's prompts, and batches that are halved until they fit.

Prompts in one batch are rows of the same matrix products, whose last digits depend on the number of rows. Prompts
therefore go in blocks, and a shard consists of whole blocks: splitting a task changes no number. Random draws have a
seed for each prompt.

A batch that does not fit is halved, and later batches keep the smaller size. It gives its result as a whole or not at
all, so that nothing is lost or counted twice. On a GPU the allocator reports when memory is out. On a CPU this takes a
limit (`ulimit -v`): without one Linux grants more memory than there is, and then kills the process without a message.
"""

from __future__ import annotations

import errno
import gc
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Any, TypeVar

from kn_thesis.errors import UserError

BLOCK = 64  # prompts
EDITS = 32  # requests: an edit is many runs


def shard_of(count: int, item: str | None, block: int = 1) -> range:
    """Places of the prompts that a shard takes of `count`: neighbours, whole blocks, as many as the other shards'.

    item: "2-of-5" as Snakemake names shards; None: all. Some may be empty. Raises ValueError for others.
    """
    if item is None:
        return range(count)
    found = re.fullmatch(r"([1-9]\d*)-of-([1-9]\d*)", item)
    number, of = map(int, found.groups()) if found else (1, 0)
    if number > of:
        raise ValueError(f"{item!r} is no shard: they are called 1-of-{of or 'N'} and so on")
    blocks = -(-count // block)
    first, end = ((blocks * place + of - 1) // of * block for place in (number - 1, number))
    return range(min(first, count), min(end, count))


def blocks(places: range, block: int = BLOCK) -> Iterator[range]:
    """The blocks that a shard is made of."""
    for start in range(places.start, places.stop, block):
        yield range(start, min(start + block, places.stop))


Batch = TypeVar("Batch")
Result = TypeVar("Result")
Item = TypeVar("Item")
Items = TypeVar("Items", bound=Sized)
UNLIMITED = sys.maxsize
# Parts of the messages of torch on CPU, CUDA and MPS, and of libraries below it that have no exception for this.
SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "bad_alloc", "ALLOC_FAILED")
REMEDY = "load the model in a smaller dtype, on another device or on more GPUs (`gpus`), or give the job more memory"


class MemoryBudget:
    """How much may be in memory at once for one kind of work: as much as asked for, and less after it did not fit.

    Attributes:
        limit: The current maximum number of units in memory at once.
        halved: Whether it has been reduced.
    """

    def __init__(self, model: Any, what: str, limit: int, unit: str = "tokens") -> None:
        """Start with `limit` units of memory; `what` names the work in messages."""
        self.limit, self.unit = limit, unit
        self.whose = f"{name_of(model)}: {what}"
        self.place = model.device.type
        self.halved = False

    def reduce(self, used: int, limit: int) -> None:
        """Continue with `limit` units after `used` did not fit, and log it."""
        from tqdm import tqdm

        self.limit, self.halved = limit, True
        line = f"{self.whose}: {used} {self.unit} at once do not fit in memory ({self.place}); going on with {limit}"
        tqdm.write(line, file=sys.stderr)  # works beside a progress bar
        sys.stderr.flush()

    def exhausted(self, used: int) -> UserError:
        """Return the error for when there is nothing smaller to try."""
        return UserError(
            f"{self.whose}: {used} {self.unit} at once do not fit in memory ({self.place}), and fewer cannot be taken "
            f"(a smaller batch_tokens will not help); {REMEDY}"
        )


def name_of(model: Any) -> str:
    """Return what messages call a model: where it was loaded from, else its family."""
    return getattr(model, "name", "") or getattr(model.adapter, "family", "the model")


def halves(batch: Sequence[Item]) -> list[Sequence[Item]]:
    """Return both halves of a list; nothing for a single item."""
    middle = (len(batch) + 1) // 2
    return [batch[:middle], batch[middle:]] if len(batch) > 1 else []


def run_batches(
    batches: Iterable[Batch],
    work: Callable[[Batch, int], Result],
    budget: MemoryBudget,
    size: Callable[[Batch, int], int],
    halves: Callable[[Batch], Sequence[Batch]] = halves,
) -> Iterator[tuple[Batch, Result]]:
    """Yield each batch, or its parts that fit in memory, with the result of `work`, in order.

    Args:
        batches: The batches.
        work: Computes the result of a batch with at most so many units in memory at once; a batch that cannot be halved
            may be computed piece by piece. Side effects must not count if it raises.
        budget: The maximum; it is reduced when a batch does not fit.
        size: Units of a batch that are in memory at once, given that maximum.
        halves: Splits a batch into two, in order; returns nothing if it cannot be split.

    Raises:
        UserError: The smallest part does not fit.
    """
    for whole in batches:
        waiting = [whole]
        while waiting:
            batch = waiting.pop()
            parts = halves(batch) if budget.halved and size(batch, UNLIMITED) > budget.limit else ()
            if not parts:
                result = _attempt(work, batch, budget.limit)
                if result:
                    yield batch, result.pop()
                    continue
                parts = _smaller_parts(batch, budget, size, halves)
            waiting += reversed(parts)


def _smaller_parts(
    batch: Batch, budget: MemoryBudget, size: Callable[[Batch, int], int], halves: Callable[[Batch], Sequence[Batch]]
) -> Sequence[Batch]:
    """Return what to try in place of a batch that does not fit, and reduce the budget."""
    used = size(batch, budget.limit)
    parts, limit = halves(batch), max(1, min(budget.limit, used // 2))  # a single item may already exceed the budget
    if not parts:
        parts = [batch]
        while size(batch, limit) >= used:
            if limit == 1:
                raise budget.exhausted(used)
            limit //= 2
    budget.reduce(used, limit)
    return parts


def _attempt(work: Callable[[Batch, int], Result], batch: Batch, limit: int) -> list[Result]:
    """Return the result in a list; an empty list if memory is out."""
    try:
        return [work(batch, limit)]
    except Exception as error:
        if not out_of_memory(error):
            raise
    # Not inside the handler: the error keeps its frames alive, and they hold the batch's tensors.
    free_cache()
    return []


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory is out, on any device."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)
    )


def free_cache() -> None:
    """Free memory that is no longer referenced."""
    gc.collect()
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def with_progress(batches: Sequence[Items], total: int, what: str, unit: str, show: bool) -> Iterator[Items]:
    """Yield batches, with a progress bar on stderr if `show` is set.

    Args:
        batches: The batches.
        total: The number of items in all of them.
        what: Label of the bar.
        unit: What the items are.
        show: Whether to show the bar.
    """
    if not show:
        yield from batches
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=what, unit=unit) as bar:
        for batch in batches:
            yield batch
            bar.update(len(batch))
