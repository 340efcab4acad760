"""When a run of kernels is recorded, and when its recording is made in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import is_
from typing import Any

from numpy.typing import NDArray

from netspec.runtime.engine.record.recorder import Recording

Array = NDArray[Any]


class Replay:
    """Runs a function on the same arrays many times, as fast as it can.

    The first two runs are recorded; the numbers in the arrays may be others. If both recordings say
    the same, what the function does does not depend on the numbers, and from then on the recorded
    calls are made in its place.
    """

    def __init__(self) -> None:
        self._arrays: tuple[Array, ...] = ()
        self._first: tuple[bytes, Sequence[Array]] | None = None  # what is kept of the first
        self._recording: Recording | None = None
        self._refused = False

    @property
    def recorded(self) -> bool:
        """Whether the next run on the same arrays makes the recorded calls."""
        return self._recording is not None

    def run(
        self,
        arrays: Sequence[Array],
        directly: Callable[[], None],
        record: Callable[[Sequence[Array]], Recording | None],
    ) -> None:
        """Run once more.

        Args:
            arrays: all that the function works on, but what is private to it.
            directly: runs the function.
            record: does so too, and returns the recording if there is one; it takes the arrays that
                the run before has made.
        """
        if self._refused:
            directly()
            return
        if len(arrays) != len(self._arrays) or not all(map(is_, arrays, self._arrays)):
            self._arrays = tuple(arrays)
            self._first = self._recording = None
        if self._recording is not None:
            self._recording.run()
            return
        recording = record(self._first[1] if self._first else ())
        if recording is None or (self._first and self._first[0] != recording.digest):
            self._refused = True
        elif self._first is None:
            self._first = recording.digest, recording.own
        else:
            self._recording = recording
