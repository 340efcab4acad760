"""Lines between two rows, made of upright and level pieces."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush

# Two upright pieces nearer than this look like one.
NEAR = 4.0
_STRAIGHT = 0.01


@dataclass(frozen=True)
class Fork:
    """A value on its way through the space between two rows: where it comes in, where it goes out."""

    start: float
    ends: tuple[float, ...]

    @cached_property
    def left(self) -> float:
        """Where its level piece begins."""
        return min(self.start, *self.ends)

    @cached_property
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
    above = _above(forks, bent)
    used: list[_Track] = []
    for at in _uppermost_first(bent, above):
        fork = forks[at]
        track = max((found[other] for other in above[at]), default=-1) + 1
        while track < len(used) and not used[track].has_room(fork):
            track += 1
        if track == len(used):
            used.append(_Track())
        used[track].take(fork)
        found[at] = track
    return found


def _above(forks: Sequence[Fork], bent: Sequence[int]) -> dict[int, set[int]]:
    """The forks that come in above an end of each."""
    by_start = sorted(bent, key=lambda at: forks[at].start)
    starts = [forks[at].start for at in by_start]
    found: dict[int, set[int]] = {at: set() for at in bent}
    for at in bent:
        for end in forks[at].ends:
            near = range(bisect_right(starts, end - NEAR), bisect_left(starts, end + NEAR))
            found[at].update(by_start[k] for k in near)
        found[at].discard(at)
    return found


def _uppermost_first(bent: Sequence[int], above: Mapping[int, set[int]]) -> Iterator[int]:
    """The forks in their order, each after those above it, but where these form a circle."""
    rank = {at: k for k, at in enumerate(bent)}
    below: dict[int, list[int]] = {at: [] for at in bent}
    for at, others in above.items():
        for other in others:
            below[other].append(at)
    waits_for = {at: len(others) for at, others in above.items()}
    free = [rank[at] for at in bent if not waits_for[at]]  # in order, so it is a heap
    left = dict.fromkeys(bent)
    while left:
        at = bent[heappop(free)] if free else next(iter(left))  # a circle cannot be kept to
        if at not in left:
            continue
        del left[at]
        yield at
        for other in below[at]:
            waits_for[other] -= 1
            if not waits_for[other] and other in left:
                heappush(free, rank[other])


class _Track:
    """The level pieces on one track, from left to right."""

    def __init__(self) -> None:
        self._lefts: list[float] = []
        self._rights: list[float] = []

    def has_room(self, fork: Fork) -> bool:
        """Whether a piece touches none of these."""
        at = bisect_right(self._rights, fork.left - 2 * NEAR)
        return at == len(self._lefts) or self._lefts[at] - 2 * NEAR >= fork.right

    def take(self, fork: Fork) -> None:
        """Put a piece that touches none of these on the track."""
        at = bisect_right(self._lefts, fork.left)
        self._lefts.insert(at, fork.left)
        self._rights.insert(at, fork.right)


def _order(fork: Fork) -> tuple[int, float]:
    """Of forks that go the same way the one that has less far to go comes first."""
    goes_right = fork.right - fork.start > fork.start - fork.left
    return int(goes_right), -fork.start if goes_right else fork.start
