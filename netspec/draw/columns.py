"""Where the places of a row lie from left to right: as many lines as can be are straight.

After Brandes and Köpf (2001), "Fast and Simple Horizontal Coordinate Assignment": places are aligned
with a neighbour above or below in four ways, each is compacted, and the middle of the four is taken.
Lines of the main chain and of values that pass rows go first, so that they stay straight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from netspec.draw.layers import Line, Rows


@dataclass(frozen=True, slots=True)
class Extent:
    """How far a place reaches to the left and to the right of where lines meet it."""

    left: float
    right: float


def columns(rows: Rows, extents: Sequence[Extent], gap: float) -> list[float]:
    """Return the horizontal coordinate of each place.

    Args:
        rows: the places and the lines between them.
        extents: of each place.
        gap: the least space between two places of a row.
    """
    found = []
    for down in (True, False):
        for leftward in (True, False):
            found.append(_one_way(rows, extents, gap, down=down, leftward=leftward))
    return _middle(found, extents)


def _one_way(
    rows: Rows, extents: Sequence[Extent], gap: float, *, down: bool, leftward: bool
) -> list[float]:
    layers = [list(row) for row in (rows.rows if down else rows.rows[::-1])]
    if not leftward:
        layers = [row[::-1] for row in layers]
        extents = [Extent(extent.right, extent.left) for extent in extents]
    position = {place: at for row in layers for at, place in enumerate(row)}
    root = _aligned(layers, position, _neighbours(rows, down=down))
    x = _compacted(layers, root, extents, gap)
    return x if leftward else [-value for value in x]


def _neighbours(rows: Rows, *, down: bool) -> Mapping[int, list[tuple[int, int]]]:
    """Return for each place those that it can be aligned with, and how urgent it is to do so."""
    near: dict[int, list[tuple[int, int]]] = {}
    for line in rows.lines:
        one, other = (line.end, line.start) if down else (line.start, line.end)
        near.setdefault(one, []).append((other, _urgency(rows, line)))
    return near


def _urgency(rows: Rows, line: Line) -> int:
    if line.is_main:
        return 2
    return int(rows.places[line.start].box < 0 and rows.places[line.end].box < 0)


def _aligned(
    layers: Sequence[Sequence[int]],
    position: Mapping[int, int],
    near: Mapping[int, Sequence[tuple[int, int]]],
) -> dict[int, int]:
    """Return the uppermost place of the column that each place is in."""
    root = {place: place for row in layers for place in row}
    for row in layers:
        firsts = [
            (position[other], at, urgency)
            for at, place in enumerate(row)
            for other, urgency in near.get(place, ())
            if urgency
        ]
        taken = -1
        for at, place in enumerate(row):
            wanted = sorted(near.get(place, ()), key=lambda pair: position[pair[0]])
            most = max((urgency for _, urgency in wanted), default=0)
            choices = [other for other, urgency in wanted if urgency == most]
            for other in choices if most else _medians(choices):
                there = position[other]
                crosses = any(
                    u > most and ((there - p) * (at - q) < 0 or (there == p and at != q))
                    for p, q, u in firsts
                )
                if there > taken and not crosses:
                    root[place] = root[other]
                    taken = there
                    break
    return root


def _medians(found: Sequence[int]) -> list[int]:
    if not found:
        return []
    middle = (len(found) - 1) // 2
    return [found[middle]] if len(found) % 2 else [found[middle], found[middle + 1]]


def _compacted(
    layers: Sequence[Sequence[int]], root: Mapping[int, int], extents: Sequence[Extent], gap: float
) -> list[float]:
    """Put the columns next to each other, as far left as they go, then those that can move right."""
    after: dict[int, dict[int, float]] = {}
    before: dict[int, dict[int, float]] = {}
    for row in layers:
        for left, right in pairwise(row):
            space = extents[left].right + gap + extents[right].left
            one, two = root[left], root[right]
            after.setdefault(one, {})[two] = max(space, after.get(one, {}).get(two, 0))
            before.setdefault(two, {})[one] = max(space, before.get(two, {}).get(one, 0))
    order = _sorted(dict.fromkeys(root[place] for row in layers for place in row), after, before)
    x: dict[int, float] = {}
    for column in order:
        lefts = [x[o] + space for o, space in before.get(column, {}).items() if o in x]
        x[column] = max(lefts, default=0.0)
    for column in reversed(order):
        rights = [x[o] - space for o, space in after.get(column, {}).items()]
        x[column] = max(x[column], min(rights, default=x[column]))
    return [x[root[place]] for place in range(len(root))]


def _sorted(
    found: Mapping[int, None],
    after: Mapping[int, Mapping[int, float]],
    before: Mapping[int, Mapping[int, float]],
) -> list[int]:
    """Return columns in an order in which each comes after those to its left."""
    missing = {column: len(before.get(column, ())) for column in found}
    ready = [column for column in found if not missing[column]]
    order = []
    while ready:
        column = ready.pop()
        order.append(column)
        for other in after.get(column, ()):
            missing[other] -= 1
            if not missing[other]:
                ready.append(other)
    return [*order, *(column for column in found if missing[column])]


def _middle(found: Sequence[Sequence[float]], extents: Sequence[Extent]) -> list[float]:
    """Return the mean of the two middle ones of four layouts, moved so that they lie together."""
    if not extents:
        return []
    widths = [max(x) - min(x) for x in found]
    narrow = found[widths.index(min(widths))]
    moved = []
    for at, x in enumerate(found):
        by = min(narrow) - min(x) if at % 2 == 0 else max(narrow) - max(x)
        moved.append([value + by for value in x])
    return [sum(sorted(values)[1:3]) / 2 for values in zip(*moved, strict=True)]
