"""Which recorded calls run side by side, and where threads wait for each other.

Kernels cut their work into a part a thread and wait for all parts at the end. To start a thread and
to wait for it takes as long as a small kernel, and mostly there is no need: what the next kernel does
with some images needs the same images of the kernel before, and not the others. So the parts of
kernels are strung together, a string a thread, up to the first that touches what another string
writes. Which part a number comes from does not change by that, and so no bit does.

Threads also wait for Python's lock, at the end of every call, so that many short calls take longer
in two threads than in one. No model of that is as good as the clock: each section is tried both ways
in its first runs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from time import perf_counter
from typing import Any, NamedTuple

from netspec.kernels import parallel

# Seconds that a section must save at best to be tried with threads.
WORTH_A_THREAD = 8e-5
# How often each way is tried; the fastest run of each counts.
TRIALS = 6

# From the first byte to behind the last.
Span = tuple[int, int]


class NumpyCall(NamedTuple):
    """One call into NumPy."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class Task(NamedTuple):
    """A call, the memory that it touches, how long it took, and who is to make it.

    Attributes:
        section: tasks of different sections wait for each other, unless it is known that they need
            not.
        lane: the tasks of a lane come one after another; those of two lanes of a section, never.
    """

    call: NumpyCall
    reads: tuple[Span, ...]
    writes: tuple[Span, ...]
    seconds: float
    section: int
    lane: int


class LaneSection:
    """Calls that threads can share: in lanes that may run side by side.

    Args:
        lanes: the calls of each thread, in order.
        calls: all of them, in the order in which they were done.
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
        # All sections are with threads at first: a processor that sleeps in between wakes up slowly.
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
    """A set of bytes, as spans in order that neither meet nor overlap."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []

    def add(self, span: Span) -> None:
        """Put in the bytes of a span."""
        start, stop = span
        # Those from `low` on end behind the start; those before `high` begin before the stop.
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
        """Whether they have a byte in common."""
        return any(other.touches(span) for span in self)

    def touches(self, span: Span) -> bool:
        """Whether a span has a byte in common with it."""
        at = bisect_left(self._stops, span[0] + 1)
        return at < len(self._starts) and self._starts[at] < span[1]


@dataclass
class _Lane:
    """Tasks in order, and all that they touch."""

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
        """Whether it makes a difference which of the two comes first."""
        return (
            self.writes.meets(other.writes)
            or self.writes.meets(other.reads)
            or self.reads.meets(other.writes)
        )


def schedule(tasks: Sequence[Task]) -> tuple[LaneSection, ...]:
    """Sections to run one after the other, from tasks in the order in which they were done."""
    sections = list(_sections(tasks))
    count = max((len(lanes) for lanes in sections), default=1)
    found = []
    group = [_Lane() for _ in range(count)]
    for lanes in sections:
        if len(lanes) == 1:
            (lane,) = lanes
            free = [k for k in range(count) if not _conflicts(lane, group, k)]
            places = [min(free, key=lambda k: group[k].seconds)] if free else None
        else:
            fits = not any(_conflicts(lane, group, k) for k, lane in enumerate(lanes))
            places = list(range(len(lanes))) if fits else None
        if places is None:
            found.append(_finished(group))
            group = [_Lane() for _ in range(count)]
            places = list(range(len(lanes)))
        for place, lane in zip(places, lanes, strict=True):
            group[place].extend(lane)
    found.append(_finished(group))
    return tuple(section for section in found if section.calls)


def _conflicts(lane: _Lane, group: Sequence[_Lane], place: int) -> bool:
    """Whether it has to wait for another lane than that of its place."""
    return any(lane.must_wait_for(other) for k, other in enumerate(group) if k != place)


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
    """The section that a group comes to: of one lane where threads cannot pay."""
    used = [lane for lane in group if lane.tasks]
    in_order = sorted((pair for lane in used for pair in lane.tasks), key=lambda pair: pair[0])
    calls = tuple(task.call for _, task in in_order)
    saved = sum(lane.seconds for lane in used) - max((lane.seconds for lane in used), default=0.0)
    if len(used) < 2 or saved < WORTH_A_THREAD:
        return LaneSection([calls], calls)
    return LaneSection([tuple(task.call for _, task in lane.tasks) for lane in used], calls)
