"""A graph of rules on a grid: a column per chapter, every rule below all that it waits for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

Edge = tuple[str, str]
Place = tuple[int, int]


def without_shortcuts(edges: Iterable[Edge]) -> list[Edge]:
    """The transitive reduction: edges (before, after) that no longer path stands for, sorted.

    An edge that would close a circle, in sorted order, is left out first: merged rules may wait for one another.
    """
    after: dict[str, set[str]] = {}
    kept = []
    for start, end in sorted(set(edges)):
        if start not in _reached(after, [end]):
            after.setdefault(start, set()).add(end)
            kept.append((start, end))
    return [(start, end) for start, end in kept if end not in _reached(after, after[start] - {end})]


def places(chapters: Mapping[str, Sequence[str]], edges: Sequence[Edge]) -> dict[str, Place]:
    """Column and row of each rule: its chapter's column, the first free row below all that it waits for.

    `chapters` holds the names of the rules of each chapter, `edges` no circle. Of two rules that could take a row,
    the one that more steps wait for takes it. Raises KeyError when an edge names a rule of no chapter.
    """
    column = {name: number for number, names in enumerate(chapters.values()) for name in names}
    before: dict[str, set[str]] = {name: set() for name in column}
    after: dict[str, set[str]] = {name: set() for name in column}
    for start, end in edges:
        before[end].add(start)
        after[start].add(end)
    depth, height = _longest(before), _longest(after)
    taken: set[Place] = set()
    found: dict[str, Place] = {}
    for name in sorted(column, key=lambda name: (depth[name], -height[name], name)):
        row = max((found[start][1] + 1 for start in before[name]), default=0)
        while (column[name], row) in taken:
            row += 1
        found[name] = (column[name], row)
        taken.add(found[name])
    for name in _loose(before, after):
        row = lowest = min((found[end][1] for end in after[name]), default=found[name][1] + 1) - 1
        while row > found[name][1] and (column[name], row) in taken:
            row -= 1
        if lowest > found[name][1]:
            taken.discard(found[name])
            found[name] = (column[name], row)
            taken.add(found[name])
    return found


def _loose(before: Mapping[str, set[str]], after: Mapping[str, set[str]]) -> list[str]:
    """Rules that wait for nothing, and those that only wait for such a one which nothing else waits for; last first.

    They may as well stand right above what needs them.
    """
    chains = [[name] for name in sorted(before) if not before[name]]
    for chain in chains:
        while len(after[chain[-1]]) == 1 and before[end := min(after[chain[-1]])] == {chain[-1]}:
            chain.append(end)
    return [name for chain in chains for name in reversed(chain)]


def _reached(after: Mapping[str, set[str]], starts: Iterable[str]) -> set[str]:
    """`starts` and all that can be reached from them."""
    reached: set[str] = set()
    waiting = list(starts)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting.extend(after.get(name, ()))
    return reached


def _longest(before: Mapping[str, set[str]]) -> dict[str, int]:
    """Number of edges on the longest path that ends at each node."""
    found: dict[str, int] = {}

    def longest(name: str) -> int:
        if name not in found:
            found[name] = max((longest(start) + 1 for start in before[name]), default=0)
        return found[name]

    for name in before:
        longest(name)
    return found
