"""Where things of given sizes and lifetimes go in one stretch of memory."""

from __future__ import annotations

from collections.abc import Sequence


def place(sizes: Sequence[int], alive: Sequence[tuple[int, int]]) -> tuple[list[int], int]:
    """An offset for each thing, and how long the stretch must be.

    Greedy by size (Pisarchyk and Lee 2020): the largest first, each at the lowest offset that nothing
    alive at the same time occupies. `alive` are the first and last step that use a thing, both of
    them included.
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
