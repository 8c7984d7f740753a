"""Lines between boxes on a grid: along the gaps, with few bends and crossings, joined where they go the same way."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kn_thesis.report.graph import Edge, Place

Point = tuple[int, int]
DOWN, RIGHT, LEFT, UP = (0, 1), (1, 0), (-1, 0), (0, -1)
WIDE, HIGH = 14, 8  # from one column, and one row, to the next
HALF_WIDE, HALF_HIGH = 5, 2  # a box reaches that far from its middle; lines keep off its edge
ACROSS = (0, 6, 7, 8)  # where lines may go down in a column, from its middle: through places without a box, in the gap
ALONG = (3, 4, 5)  # where they may go sideways below a row's middle
BEND, CROSSING, BESIDE, JOINED = 4.0, 6.0, 60.0, 0.55  # what these cost; a step of 1 on its own costs 1
LATE = 0.5  # a line that turns, turns right below its first box, and right above its last: others fit between


@dataclass(frozen=True)
class Box:
    """A rule's box by its middle; y grows downwards."""

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


@dataclass
class _Grid:
    """Where lines may turn, which steps a box is in the way of, and the edges that lie on a point, by direction."""

    xs: list[int]
    ys: list[int]
    boxes: set[Point]
    used: dict[tuple[Point, bool], list[Edge]] = field(default_factory=dict)

    def step(self, point: Point, direction: Point) -> Point | None:
        """The next point in a direction (indices of xs and ys), if there is one and no box before it."""
        i, j = point[0] + direction[0], point[1] + direction[1]
        if not (0 <= i < len(self.xs) and 0 <= j < len(self.ys)):
            return None
        low, high = sorted((self.ys[point[1]], self.ys[j]))
        between = {(self.xs[i], y) for y in range(low, high)} if direction in (UP, DOWN) else set()
        return None if between & self.boxes else (i, j)

    def lay(self, path: Sequence[Point], edge: Edge) -> None:
        """Remember that an edge lies on these points."""
        for here, there in itertools.pairwise(path):
            for point in (here, there):
                lying = self.used.setdefault((point, here[1] == there[1]), [])
                if edge not in lying:
                    lying.append(edge)

    def cost(self, here: Point, there: Point, edge: Edge) -> float:
        """What a step costs: less along lines that it may join, more across others, much more on top of them."""
        length = abs(self.xs[here[0]] - self.xs[there[0]]) + abs(self.ys[here[1]] - self.ys[there[1]])
        level = here[1] == there[1]
        beside = self.used.get((there, level), [])
        if along := [other for other in beside if other in self.used.get((here, level), ())]:
            return length * (JOINED if _may_join([*along, edge]) else BESIDE)
        if _may_join([*beside, *self.used.get((there, not level), ()), edge]):
            return length
        # Where another line turns or ends is no place to cross it.
        return length + (BESIDE if beside else CROSSING)


def boxes_of(found: Mapping[str, Place]) -> dict[str, Box]:
    """The boxes of rules at their columns and rows."""
    return {name: Box(column * WIDE, row * HIGH) for name, (column, row) in found.items()}


def routes(boxes: Mapping[str, Box], edges: Sequence[Edge]) -> dict[Edge, list[Point]]:
    """A line per edge, from the bottom of the first box to the top of the second one below it: its ends and corners.

    Lines go through no box. They run on one another where all of them leave one box or all reach one, and elsewhere
    only if there is no other way. Short edges are laid first, so that long ones go round them.
    """
    columns = sorted({box.x for box in boxes.values()})
    rows = range(0, max(box.y for box in boxes.values()), HIGH)
    xs = [columns[0] - ACROSS[1], *(x + offset for x in columns for offset in ACROSS)]
    xs = [x for x in xs if x <= columns[-1] + ACROSS[1]]
    grid = _Grid(xs, [y + offset for y in rows for offset in ALONG], {(box.x, box.y) for box in boxes.values()})

    def length(edge: Edge) -> tuple[int, Edge]:
        start, end = boxes[edge[0]], boxes[edge[1]]
        return abs(start.x - end.x) + abs(start.y - end.y), edge

    lines = {}
    for edge in sorted(edges, key=length):
        start, end = boxes[edge[0]], boxes[edge[1]]
        path = _path(grid, edge, _index(grid, start.x, start.y + ALONG[0]), _index(grid, end.x, end.y - ALONG[0]))
        grid.lay(path, edge)
        lines[edge] = _corners([start.bottom, *((grid.xs[i], grid.ys[j]) for i, j in path), end.top])
    return {edge: lines[edge] for edge in edges}


def _index(grid: _Grid, x: int, y: int) -> Point:
    return grid.xs.index(x), grid.ys.index(y)


def _path(grid: _Grid, edge: Edge, start: Point, end: Point) -> list[Point]:
    """The cheapest way, by Dijkstra's algorithm over points and directions; it leaves and comes in downwards."""
    waiting = [(0.0, start, DOWN)]
    best = {(start, DOWN): 0.0}
    came: dict[tuple[Point, Point], tuple[Point, Point]] = {}
    while waiting:
        cost, point, direction = heapq.heappop(waiting)
        if cost > best[point, direction]:
            continue
        if point == end:
            return _back(came, (point, direction))
        for step in (DOWN, RIGHT, LEFT, UP):
            there = None if step == (-direction[0], -direction[1]) else grid.step(point, step)
            if there is None:
                continue
            new = cost + grid.cost(point, there, edge) + BEND * ((step != direction) + (there == end and step != DOWN))
            if step in (DOWN, UP) and (_below(point, there, start, 1) or _below(point, there, end, -1)):
                new += LATE
            if new < best.get((there, step), float("inf")):
                best[there, step] = new
                came[there, step] = (point, direction)
                heapq.heappush(waiting, (new, there, step))
    raise ValueError(f"no way from {edge[0]} to {edge[1]}")


def _below(here: Point, there: Point, port: Point, way: int) -> bool:
    """Whether a step is in the gap under a box's port (way 1) or over it (-1)."""
    near = range(len(ALONG))
    return here[0] == port[0] and all((point[1] - port[1]) * way in near for point in (here, there))


def _may_join(edges: Sequence[Edge]) -> bool:
    return len({start for start, _ in edges}) == 1 or len({end for _, end in edges}) == 1


def _back(came: Mapping[tuple[Point, Point], tuple[Point, Point]], last: tuple[Point, Point]) -> list[Point]:
    path = [last[0]]
    while last in came:
        last = came[last]
        path.append(last[0])
    return path[::-1]


def _corners(path: Sequence[Point]) -> list[Point]:
    """The path without the points that lie straight between their neighbours."""
    inner = [
        here
        for before, here, after in zip(path, path[1:], path[2:], strict=False)
        if not (before[0] == here[0] == after[0] or before[1] == here[1] == after[1])
    ]
    return [path[0], *inner, path[-1]]
