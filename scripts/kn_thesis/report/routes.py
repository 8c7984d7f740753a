"""Lines between boxes on a grid: along the gaps, with few bends and crossings, joined where they go the same way."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kn_thesis.report.graph import Edge, Place

Point = tuple[int, int]
STEPS = ((0, 1), (1, 0), (-1, 0), (0, -1))
WIDE, HIGH = 11, 7  # grid points from one column, and one row, to the next
HALF_WIDE, HALF_HIGH = 4, 2  # a box reaches that far from its middle; lines keep off its edge
BEND, CROSSING, BESIDE, JOINED = 4.0, 6.0, 60.0, 0.55


@dataclass(frozen=True)
class Box:
    """A rule's box by its middle, in grid points; y grows downwards."""

    x: int
    y: int

    @property
    def top(self) -> Point:
        """Where lines come in."""
        return self.x, self.y - HALF_HIGH

    @property
    def bottom(self) -> Point:
        """Where lines go out."""
        return self.x, self.y + HALF_HIGH


def boxes_of(found: Mapping[str, Place]) -> dict[str, Box]:
    """The boxes of rules at their columns and rows."""
    return {name: Box(column * WIDE, row * HIGH) for name, (column, row) in found.items()}


def routes(boxes: Mapping[str, Box], edges: Sequence[Edge]) -> dict[Edge, list[Point]]:
    """A line of grid points per edge, from the bottom of the first box to the top of the second; corners only.

    Lines go through no box. Two lines run on one another only where all lines there leave one box or all reach one.
    Short edges are laid first, so that long ones go round them.
    """
    blocked = {
        (x, y)
        for box in boxes.values()
        for x in range(box.x - HALF_WIDE, box.x + HALF_WIDE + 1)
        for y in range(box.y - HALF_HIGH, box.y + HALF_HIGH + 1)
    }
    width, height = max(box.x for box in boxes.values()), max(box.y for box in boxes.values())
    room = (-WIDE // 2, -HIGH // 2, width + WIDE // 2, height + HIGH // 2)
    used: dict[tuple[Point, bool], list[Edge]] = {}

    def length(edge: Edge) -> tuple[int, Edge]:
        start, end = boxes[edge[0]], boxes[edge[1]]
        return abs(start.x - end.x) + abs(start.y - end.y), edge

    lines = {}
    for edge in sorted(edges, key=length):
        path = _path(boxes[edge[0]].bottom, boxes[edge[1]].top, blocked, room, used, edge)
        for here, there in itertools.pairwise(path):
            for point in (here, there):
                lying = used.setdefault((point, here[1] == there[1]), [])
                if edge not in lying:
                    lying.append(edge)
        lines[edge] = _corners(path)
    return {edge: lines[edge] for edge in edges}


def _path(
    start: Point,
    end: Point,
    blocked: set[Point],
    room: tuple[int, int, int, int],
    used: Mapping[tuple[Point, bool], list[Edge]],
    edge: Edge,
) -> list[Point]:
    """The cheapest way, by Dijkstra's algorithm over points and directions; it leaves and comes in downwards."""
    down = STEPS[0]
    first = (start[0], start[1] + 1)
    waiting = [(0.0, first, down)]
    best = {(first, down): 0.0}
    came: dict[tuple[Point, tuple[int, int]], tuple[Point, tuple[int, int]]] = {}
    while waiting:
        cost, point, direction = heapq.heappop(waiting)
        if cost > best[point, direction]:
            continue
        if point == end and direction == down:
            return _back(came, (point, direction), start)
        for step in STEPS:
            there = (point[0] + step[0], point[1] + step[1])
            inside = room[0] <= there[0] <= room[2] and room[1] <= there[1] <= room[3]
            turns_back = step == (-direction[0], -direction[1])
            if turns_back or not inside or (there in blocked and there != end) or (there == end and step != down):
                continue
            new = cost + _cost(there, point, step, used, edge) + (0.0 if step == direction else BEND)
            if new < best.get((there, step), float("inf")):
                best[there, step] = new
                came[there, step] = (point, direction)
                heapq.heappush(waiting, (new, there, step))
    raise ValueError(f"no way from {edge[0]} to {edge[1]}")


def _cost(there: Point, point: Point, step: Point, used: Mapping[tuple[Point, bool], list[Edge]], edge: Edge) -> float:
    """What a step costs: less along lines that it may join, more across others, much more on top of them."""
    level = step[1] == 0
    along = set(used.get((there, level), ())) & set(used.get((point, level), ()))
    if along:
        return JOINED if _may_join([*along, edge]) else BESIDE
    touched = [other for way in (True, False) for other in used.get((there, way), ())]
    if not touched or _may_join([*touched, edge]):
        return 1.0
    # A corner of another line, or its end, is no place to cross it.
    return BESIDE if used.get((there, level)) else 1.0 + CROSSING


def _may_join(edges: Sequence[Edge]) -> bool:
    return len({start for start, _ in edges}) == 1 or len({end for _, end in edges}) == 1


def _back(came: Mapping, last: tuple[Point, Point], start: Point) -> list[Point]:
    path = [last[0]]
    while last in came:
        last = came[last]
        path.append(last[0])
    return [start, *reversed(path)]


def _corners(path: Sequence[Point]) -> list[Point]:
    """The path without the points that lie straight between their neighbours."""
    inner = [
        here
        for before, here, after in zip(path, path[1:], path[2:], strict=False)
        if (here[0] - before[0], here[1] - before[1]) != (after[0] - here[0], after[1] - here[1])
    ]
    return [path[0], *inner, path[-1]]
