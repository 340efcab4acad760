"""Places objects of given sizes and lifetimes in one block of memory."""

from __future__ import annotations

from collections.abc import Sequence


def place(sizes: Sequence[int], alive: Sequence[tuple[int, int]]) -> tuple[list[int], int]:
    """Return an offset for each object, and the size of the block.

    The method is greedy by size (Pisarchyk and Lee 2020): the largest object first, each at the
    lowest offset where it overlaps no object that is alive at the same time. `alive` has the first
    and the last step that use each object, both included.
    """
    placed: list[tuple[int, int, int, int]] = []  # start, end, first, last; sorted
    offsets = [0] * len(sizes)
    total = 0
    for i in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        size, (first, last) = sizes[i], alive[i]
        offset = 0
        for start, end, from_, to in placed:
            if from_ <= last and first <= to:
                if offset + size <= start:
                    break
                offset = max(offset, end)
        placed.append((offset, offset + size, first, last))
        placed.sort()
        total = max(total, offset + size)
        offsets[i] = offset
    return offsets, total
