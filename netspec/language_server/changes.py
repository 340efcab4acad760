"""Where the places of an earlier text are in a later one, which differ in one stretch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """One stretch of a text that was replaced: [start, old_end) became [start, new_end)."""

    start: int
    old_end: int
    new_end: int

    def forward(self, offset: int) -> int | None:
        """Return where an offset of the old text is in the new one; None if it was replaced."""
        if offset <= self.start:
            return offset
        return offset - self.old_end + self.new_end if offset >= self.old_end else None

    def backward(self, offset: int) -> int | None:
        """Return where an offset of the new text was in the old one; None if it is new."""
        return Change(self.start, self.new_end, self.old_end).forward(offset)


def change(old: str, new: str) -> Change:
    """Return the shortest stretch in which two texts differ."""
    start = _alike(old, new)
    end = _alike(old[: start - 1 if start else None : -1], new[: start - 1 if start else None : -1])
    return Change(start, len(old) - end, len(new) - end)


def _alike(one: str, other: str) -> int:
    """Return how many characters two texts have in common at their starts."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
