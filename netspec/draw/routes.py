"""Lines between two rows, made of upright and level pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Two upright pieces nearer than this look like one.
_NEAR = 4.0
_STRAIGHT = 0.01


@dataclass(frozen=True, slots=True)
class Fork:
    """A value on its way through the space between two rows: where it comes in, where it goes out."""

    start: float
    ends: tuple[float, ...]

    @property
    def left(self) -> float:
        """Where its level piece begins."""
        return min(self.start, *self.ends)

    @property
    def right(self) -> float:
        """Where its level piece ends."""
        return max(self.start, *self.ends)

    @property
    def is_straight(self) -> bool:
        """Whether it needs no level piece."""
        return self.right - self.left < _STRAIGHT


def tracks(forks: Sequence[Fork]) -> list[int]:
    """Return the track of each fork's level piece, counted from the upper row; -1 if it needs none.

    Pieces on one track do not touch, and where a fork comes in above the end of another one it has
    the upper track, as far as that can be.
    """
    found = [-1] * len(forks)
    bent = [at for at, fork in enumerate(forks) if not fork.is_straight]
    bent.sort(key=lambda at: _order(forks[at]))
    above = {
        at: [
            other
            for other in bent
            if other != at and any(abs(end - forks[other].start) < _NEAR for end in forks[at].ends)
        ]
        for at in bent
    }
    used: list[list[Fork]] = []
    left = list(bent)
    while left:
        free = [at for at in left if not any(other in left for other in above[at])]
        at = (free or left)[0]  # a circle cannot be kept to
        left.remove(at)
        track = max((found[other] for other in above[at]), default=-1) + 1
        while track < len(used) and any(_touch(forks[at], other) for other in used[track]):
            track += 1
        if track == len(used):
            used.append([])
        used[track].append(forks[at])
        found[at] = track
    return found


def _order(fork: Fork) -> tuple[int, float]:
    """Of forks that go the same way the one that has less far to go comes first."""
    goes_right = fork.right - fork.start > fork.start - fork.left
    return int(goes_right), -fork.start if goes_right else fork.start


def _touch(one: Fork, other: Fork) -> bool:
    return one.left - 2 * _NEAR < other.right and other.left - 2 * _NEAR < one.right
