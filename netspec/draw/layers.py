"""The first half of a layout: which row each box of a body is in, and in which order.

Layered drawing after Sugiyama, Tagawa and Toda (1981): rows by longest paths; a place in each row
that a value passes on its way down; orders by which few lines cross, found by barycentres.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

_SWEEPS = 6


@dataclass(frozen=True, slots=True)
class Box:
    """A box of a body, as the layout sees it.

    Attributes:
        reads: the values that it reads, each once.
        gives: the values that it computes.
        is_edge: whether it stands for the border of the body: a value that comes in or goes out.
        is_block: whether it may be opened. The first value that it reads goes straight on inside, so
            that another one has no place above its line: it would seem to be this line.
    """

    reads: tuple[str, ...]
    gives: tuple[str, ...]
    is_edge: bool = False
    is_block: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a row: that of a box, or of a value that passes by."""

    box: int = -1
    value: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A value on its way from one row to the next: the places, by their index in `Rows.places`."""

    value: str
    start: int
    end: int
    is_main: bool


@dataclass(frozen=True)
class Rows:
    """The places of a body, the order of those in each row, and the lines between the rows."""

    places: tuple[Place, ...]
    rows: tuple[tuple[int, ...], ...]
    lines: tuple[Line, ...]


def arrange(boxes: Sequence[Box]) -> Rows:
    """Return the rows of a body whose boxes are in an order in which each comes after what it reads."""
    giver = {value: at for at, box in enumerate(boxes) for value in box.gives}
    ranks = _ranks(boxes, giver)
    main = _main_chain(boxes, giver, ranks)
    places = [Place(box=at) for at in range(len(boxes))]
    where: dict[tuple[str, int], int] = {}  # the place of a value that passes a row
    lines: list[Line] = []
    for value, readers in _readers(boxes, giver).items():
        source = giver[value]
        last = max(ranks[reader] for reader in readers)
        at = source
        for rank in range(ranks[source] + 1, last + 1):
            for reader in readers:
                if ranks[reader] == rank:
                    lines.append(Line(value, at, reader, (source, reader) in main))
            if rank < last:
                places.append(Place(value=value))
                where[value, rank] = len(places) - 1
                lines.append(Line(value, at, len(places) - 1, is_main=False))
                at = len(places) - 1
    rows: list[list[int]] = [[] for _ in range(max(ranks, default=-1) + 1)]
    for at, rank in enumerate(ranks):
        rows[rank].append(at)
    for (_, rank), at in where.items():
        rows[rank].append(at)
    return Rows(tuple(places), _ordered(rows, lines), tuple(lines))


def _readers(boxes: Sequence[Box], giver: Mapping[str, int]) -> dict[str, list[int]]:
    readers: dict[str, list[int]] = {}
    for at, box in enumerate(boxes):
        for value in box.reads:
            if value in giver:
                readers.setdefault(value, []).append(at)
    return readers


def _ranks(boxes: Sequence[Box], giver: Mapping[str, int]) -> list[int]:
    """Return the row of each box: below all that it reads, and what reads nothing near its readers."""
    ranks: list[int] = []
    for box in boxes:
        above = [ranks[giver[value]] for value in box.reads if value in giver]
        ranks.append(max(above, default=-1) + 1)
    edges_in = any(box.is_edge and box.gives for box in boxes)
    if edges_in:  # the first row is the border's
        ranks = [
            rank + (not box.reads and not box.is_edge)
            for rank, box in zip(ranks, boxes, strict=True)
        ]
        for at, box in enumerate(boxes):
            above = [ranks[giver[value]] for value in box.reads if value in giver]
            ranks[at] = max(ranks[at], max(above, default=-1) + 1)
    readers = _readers(boxes, giver)
    for at in reversed(range(len(boxes))):
        box = boxes[at]
        below = [ranks[reader] for value in box.gives for reader in readers.get(value, ())]
        if not box.reads and not box.is_edge and below:
            ranks[at] = min(below) - 1
    last = max(ranks, default=0)
    ends = [at for at, box in enumerate(boxes) if box.is_edge and box.reads]
    if any(ranks[at] == last for at, box in enumerate(boxes) if at not in set(ends)):
        last += 1
    for at in ends:
        ranks[at] = last
    return ranks


def _main_chain(
    boxes: Sequence[Box], giver: Mapping[str, int], ranks: Sequence[int]
) -> set[tuple[int, int]]:
    """Return the edges of the path to the last box of the lowest row that is the longest, but for what
    blocks read beside their first value.
    """
    if not boxes:
        return set()
    lowest = max(ranks)
    at = ranks.index(lowest)
    chain: set[tuple[int, int]] = set()
    while True:
        above = [giver[value] for value in boxes[at].reads if value in giver]
        if not above:
            return chain
        if boxes[at].is_block:
            above = above[:1]
        best = max(above, key=lambda source: (ranks[source], -above.index(source)))
        chain.add((best, at))
        at = best


def _ordered(rows: Sequence[Sequence[int]], lines: Sequence[Line]) -> tuple[tuple[int, ...], ...]:
    """Return the rows in an order with few crossings: the best of some sweeps down and up."""
    above: dict[int, list[int]] = {}
    below: dict[int, list[int]] = {}
    for line in lines:
        above.setdefault(line.end, []).append(line.start)
        below.setdefault(line.start, []).append(line.end)
    best = now = [list(row) for row in rows]
    fewest = _all_crossings(now, below)
    for sweep in range(_SWEEPS):
        if fewest == 0:
            break
        now = [list(row) for row in now]
        down = sweep % 2 == 0
        order = range(1, len(now)) if down else range(len(now) - 2, -1, -1)
        for rank in order:
            fixed = {at: i for i, at in enumerate(now[rank - 1 if down else rank + 1])}
            _sort_by_barycentre(now[rank], fixed, above if down else below)
        crossings = _all_crossings(now, below)
        if crossings < fewest:
            best, fewest = now, crossings
    return tuple(tuple(row) for row in best)


def _sort_by_barycentre(
    row: list[int], fixed: Mapping[int, int], near: Mapping[int, Sequence[int]]
) -> None:
    keys: dict[int, float] = {}
    for at, place in enumerate(row):
        found = [fixed[other] for other in near.get(place, ()) if other in fixed]
        keys[place] = sum(found) / len(found) if found else at
    row.sort(key=keys.__getitem__)


def _all_crossings(rows: Sequence[Sequence[int]], below: Mapping[int, Sequence[int]]) -> int:
    return sum(_crossings(upper, lower, below) for upper, lower in pairwise(rows))


def _crossings(
    upper: Sequence[int], lower: Sequence[int], below: Mapping[int, Sequence[int]]
) -> int:
    """Count the pairs of lines between two rows that cross, with a tree of sums (Barth et al. 2002)."""
    position = {place: at for at, place in enumerate(lower)}
    tree = [0] * (len(lower) + 1)
    seen = crossings = 0
    for place in upper:
        ends = sorted(position[end] for end in below.get(place, ()))
        for end in ends:
            at, smaller = end + 1, 0
            while at > 0:
                smaller += tree[at]
                at -= at & -at
            crossings += seen - smaller
        for end in ends:
            at = end + 1
            while at <= len(lower):
                tree[at] += 1
                at += at & -at
        seen += len(ends)
    return crossings
