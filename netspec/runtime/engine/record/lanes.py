"""Decides which recorded calls run in parallel, and where threads wait for each other.

Kernels divide their work into a part for each thread, and wait for all parts at the end. Starting a
thread and waiting for it takes as long as a small kernel, and is mostly unnecessary: what the next
kernel does with some images needs only the same images from the kernel before, and not the others.
So the parts of successive kernels are chained into one lane for each thread, until a part uses
memory that another lane writes. The division into parts is not changed by this, and so the results
are bit-identical.

Threads also wait for Python's lock at the end of every call, so that many short calls take longer
in two threads than in one. No model predicts this as well as a measurement: each section is tried
both ways in its first runs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from time import perf_counter
from typing import Any, NamedTuple

from netspec.kernels import parallel

# The least possible saving, in seconds, for which a section is tried with threads.
WORTH_A_THREAD = 8e-5
# How often each way is tried; the fastest run of each counts.
TRIALS = 6
# Among how many of the latest sections a place for a task is looked for.
LOOK_BACK = 8

# From the first byte to the one after the last.
Span = tuple[int, int]


class NumpyCall(NamedTuple):
    """One call into NumPy."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class Task(NamedTuple):
    """A call, the memory that it uses, how long it took, and the lane it belongs to.

    Attributes:
        section: tasks of different sections wait for each other, unless they are known to be
            independent.
        lane: the tasks of a lane run one after another; those of different lanes of a section do
            not wait for each other.
    """

    call: NumpyCall
    reads: tuple[Span, ...]
    writes: tuple[Span, ...]
    seconds: float
    section: int
    lane: int


class LaneSection:
    """Calls that can be shared by threads, in lanes that may run in parallel.

    Args:
        lanes: the calls of each thread, in order.
        calls: all of them, in the order in which they were recorded.
    """

    def __init__(
        self, lanes: Sequence[tuple[NumpyCall, ...]], calls: tuple[NumpyCall, ...]
    ) -> None:
        self.lanes = tuple(lanes)
        self.calls = calls
        self._threaded = len(lanes) > 1
        self._trials = 2 * TRIALS if len(lanes) > 1 else 0
        self._least = {True: inf, False: inf}

    def run(self) -> None:
        """Make the calls."""
        if not self._trials:
            self._make(self._threaded)
            return
        self._trials -= 1
        # All sections are tried with threads first, because a processor that sleeps in between
        # wakes up slowly.
        way = self._trials >= TRIALS
        start = perf_counter()
        self._make(way)
        self._least[way] = min(self._least[way], perf_counter() - start)
        if not self._trials:
            self._threaded = self._least[True] < self._least[False]

    def _make(self, threaded: bool) -> None:
        if threaded:
            parallel.run(_make, [(lane,) for lane in self.lanes])
        else:
            _make(self.calls)


def _make(calls: Sequence[NumpyCall]) -> None:
    for function, arguments in calls:
        function(*arguments)


class Spans:
    """A set of bytes, as sorted spans that neither touch nor overlap."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []

    def add(self, span: Span) -> None:
        """Add the bytes of a span."""
        start, stop = span
        # Spans from index `low` on end after `start`; those before `high` begin before `stop`.
        low = bisect_left(self._stops, start)
        high = low
        while high < len(self._starts) and self._starts[high] <= stop:
            start, stop = min(start, self._starts[high]), max(stop, self._stops[high])
            high += 1
        self._starts[low:high] = [start]
        self._stops[low:high] = [stop]

    def __iter__(self) -> Iterator[Span]:
        return zip(self._starts, self._stops, strict=True)

    def meets(self, other: Spans) -> bool:
        """Return True if the two sets have a byte in common."""
        return any(other.touches(span) for span in self)

    def touches(self, span: Span) -> bool:
        """Return True if the set and a span have a byte in common."""
        at = bisect_left(self._stops, span[0] + 1)
        return at < len(self._starts) and self._starts[at] < span[1]


@dataclass
class _Lane:
    """Tasks in order, and all memory that they use."""

    tasks: list[tuple[int, Task]] = field(default_factory=list)
    reads: Spans = field(default_factory=Spans)
    writes: Spans = field(default_factory=Spans)
    seconds: float = 0.0

    def add(self, number: int, task: Task) -> None:
        self.tasks.append((number, task))
        self.seconds += task.seconds
        for span in task.reads:
            self.reads.add(span)
        for span in task.writes:
            self.writes.add(span)

    def extend(self, other: _Lane) -> None:
        for number, task in other.tasks:
            self.add(number, task)

    def must_wait_for(self, other: _Lane) -> bool:
        """Return True if the order of the two lanes matters."""
        return (
            self.writes.meets(other.writes)
            or self.writes.meets(other.reads)
            or self.reads.meets(other.writes)
        )


def schedule(tasks: Sequence[Task]) -> tuple[LaneSection, ...]:
    """Divide tasks, in the order of their recording, into sections to run one after the other.

    Tasks join the earliest section that they can: what only a later task needs, such as the sum of
    the threads' parts of a weight's gradient, does not make the threads wait at its place.
    """
    sections = list(_sections(tasks))
    count = max((len(lanes) for lanes in sections), default=1)
    groups = [[_Lane() for _ in range(count)]]
    for lanes in sections:
        at, places = _earliest(lanes, groups)
        if at == len(groups):
            groups.append([_Lane() for _ in range(count)])
        for place, lane in zip(places, lanes, strict=True):
            groups[at][place].extend(lane)
    found = map(_finished, groups)
    return tuple(section for section in found if section.calls)


def _earliest(lanes: Sequence[_Lane], groups: Sequence[Sequence[_Lane]]) -> tuple[int, list[int]]:
    """Return the first of the latest groups, or the one after them, in which lanes can run, and their
    places there.
    """
    at, places = len(groups), list(range(len(lanes)))
    for k in range(len(groups) - 1, max(-1, len(groups) - 1 - LOOK_BACK), -1):
        met = [_met(lane, groups[k]) for lane in lanes]
        if len(lanes) == 1:
            (before,) = met
            free = sorted(before) or range(len(groups[k]))
            own = [min(free, key=lambda place: groups[k][place].seconds)]
        else:
            own = list(range(len(lanes)))
        if all(before <= {place} for before, place in zip(met, own, strict=True)):
            at, places = k, own
        if any(met):
            break
    return at, places


def _met(lane: _Lane, group: Sequence[_Lane]) -> set[int]:
    """Return the places of the lanes of a group that a lane has to wait for."""
    return {place for place, other in enumerate(group) if lane.must_wait_for(other)}


def _sections(tasks: Sequence[Task]) -> Iterator[list[_Lane]]:
    lanes: dict[int, _Lane] = {}
    section = None
    for number, task in enumerate(tasks):
        if task.section != section and lanes:
            yield list(lanes.values())
            lanes = {}
        section = task.section
        lanes.setdefault(task.lane, _Lane()).add(number, task)
    if lanes:
        yield list(lanes.values())


def _finished(group: Sequence[_Lane]) -> LaneSection:
    """Make a section of a group; it has a single lane if threads cannot be worthwhile."""
    used = [lane for lane in group if lane.tasks]
    in_order = sorted((pair for lane in used for pair in lane.tasks), key=lambda pair: pair[0])
    calls = tuple(task.call for _, task in in_order)
    saved = sum(lane.seconds for lane in used) - max((lane.seconds for lane in used), default=0.0)
    if len(used) < 2 or saved < WORTH_A_THREAD:
        return LaneSection([calls], calls)
    return LaneSection([tuple(task.call for _, task in lane.tasks) for lane in used], calls)
