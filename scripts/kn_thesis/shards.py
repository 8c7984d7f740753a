"""A task split over jobs: which of its prompts each shard takes, and in which groups they are worked on.

Prompts that are worked on together are rows of the same matrix products, whose last digits depend on how many rows
there are. So prompts go in blocks, a whole task as well as a shard of it, and a shard is made of whole blocks: then
splitting a task changes no number. What is drawn at random has a seed for each prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

BLOCK = 64  # prompts
EDITS = 32  # requests: an edit is many runs
APART = ("rome", "fine_tuning")  # editors that find each edit by itself; others may not, and are given all requests


def shard(count: int, item: str | None, block: int = 1) -> range:
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


def apart(editor: str) -> bool:
    """Whether an editor's requests can be split over jobs. Knowledge neurons that facts share are not edited."""
    return editor in APART
