"""Places objects of given sizes and lifetimes in one block of memory."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence


def place(sizes: Sequence[int], alive: Sequence[tuple[int, int]]) -> tuple[list[int], int]:
    """Return an offset for each object, and the size of the block.

    The method is greedy by size (Pisarchyk and Lee 2020): the largest object first, each at the
    lowest offset where it overlaps no object that is alive at the same time. `alive` has the first
    and the last step that use each object, both included.
    """
    occupied = _Occupied(1 + max((last for _, last in alive), default=0))
    offsets = [0] * len(sizes)
    total = 0
    for i in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        if sizes[i] == 0:
            continue
        offsets[i] = occupied.take(sizes[i], *alive[i])
        total = max(total, offsets[i] + sizes[i])
    return offsets, total


class _Occupied:
    """The memory that is taken at each of a number of steps.

    A segment tree over the steps: a lifetime is the union of a few of its nodes. Two lifetimes have
    a step in common exactly if a node of one is, or is above, a node of the other. So a search looks
    at a few lists of ranges, not at every object, and the time for n objects that are packed without
    many gaps is O(n log^2 n).
    """

    def __init__(self, steps: int) -> None:
        self._leaves = 1 << (steps - 1).bit_length()
        # By node: the ranges of lifetimes that have this node, and of all at or below it.
        self._at: defaultdict[int, _Ranges] = defaultdict(_Ranges)
        self._within: defaultdict[int, _Ranges] = defaultdict(_Ranges)

    def take(self, size: int, first: int, last: int) -> int:
        """Take memory from step `first` to `last`; return the lowest offset that is free in all."""
        nodes = list(self._nodes(first, last))
        above: set[int] = set()
        for node in nodes:
            up = node >> 1
            while up and up not in above:
                above.add(up)
                up >>= 1
        ranges = [self._within[node] for node in nodes if node in self._within]
        ranges += [self._at[node] for node in above if node in self._at]
        offset, unmoved = 0, 0
        while unmoved < len(ranges):
            for each in ranges:
                moved = each.next_free(offset, size)
                unmoved = unmoved + 1 if moved == offset else 1
                offset = moved
                if unmoved >= len(ranges):
                    break
        for node in nodes:
            self._at[node].add(offset, offset + size)
        for node in above.union(nodes):
            self._within[node].add(offset, offset + size)
        return offset

    def _nodes(self, first: int, last: int) -> Iterator[int]:
        """Yield the largest nodes that cover these steps and no others."""
        left, right = first + self._leaves, last + self._leaves + 1
        while left < right:
            if left & 1:
                yield left
                left += 1
            if right & 1:
                right -= 1
                yield right
            left, right = left >> 1, right >> 1


class _Ranges:
    """A union of ranges; those that touch are joined."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> None:
        """Add a range that is not empty."""
        ends = self._ends
        if not ends or ends[-1] < start:  # most ranges come behind all others, or join the last one
            self._starts.append(start)
            ends.append(end)
            return
        if self._starts[-1] <= start:
            ends[-1] = max(ends[-1], end)
            return
        i, j = bisect_left(self._ends, start), bisect_right(self._starts, end)
        if i < j:
            start, end = min(start, self._starts[i]), max(end, self._ends[j - 1])
        self._starts[i:j], self._ends[i:j] = [start], [end]

    def next_free(self, offset: int, size: int) -> int:
        """Return the lowest offset from this one on at which so much is free."""
        if not self._ends or self._ends[-1] <= offset:
            return offset
        i = bisect_right(self._ends, offset)
        while i < len(self._starts) and self._starts[i] < offset + size:
            offset = self._ends[i]
            i += 1
        return offset
