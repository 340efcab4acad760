"""Decides when a run of kernels is recorded, and when its recording is replayed instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import is_
from typing import Any

from numpy.typing import NDArray

from netspec.runtime.engine.record.recorder import Recording

Array = NDArray[Any]


class Replay:
    """Runs a function on the same arrays many times, as fast as possible.

    The first two runs are recorded; the numbers in the arrays may differ. If both recordings are
    equal, what the function does does not depend on the numbers, and from then on the recorded
    calls are replayed instead.
    """

    def __init__(self) -> None:
        self._arrays: tuple[Array, ...] = ()
        self._first: tuple[bytes, Sequence[Array]] | None = None  # what is kept of the first run
        self._recording: Recording | None = None
        self._refused = False

    @property
    def recorded(self) -> bool:
        """True if the next run on the same arrays replays the recorded calls."""
        return self._recording is not None

    def run(
        self,
        arrays: Sequence[Array],
        directly: Callable[[], None],
        record: Callable[[Sequence[Array]], Recording | None],
    ) -> None:
        """Run once more.

        Args:
            arrays: all arrays that the function works on, except private ones.
            directly: runs the function.
            record: runs the function and returns the recording, if there is one; its argument is
                the arrays that the run before has made.
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
