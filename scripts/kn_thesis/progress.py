"""A bar over batches, for logs and terminals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from typing import TypeVar

Items = TypeVar("Items", bound=Sized)


def shown(batches: Sequence[Items], total: int, what: str, unit: str, wanted: bool) -> Iterator[Items]:
    """The batches, with a bar on stderr that counts their items up to `total` if that is wanted."""
    if not wanted:
        yield from batches
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=what, unit=unit) as bar:
        for batch in batches:
            yield batch
            bar.update(len(batch))
