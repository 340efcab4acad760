"""A limit on the time of a run, as what `fit` asks after each step whether it is to stop."""

from __future__ import annotations

import time
from collections.abc import Callable

from netspec.runtime.data.choices import is_number, require


class TimeLimit:
    """Called, it says whether `seconds` have passed since it was made, or `other` wants to stop.

    Raises:
        NetspecError: `train/bad-option` for a time that is none.
    """

    def __init__(self, seconds: float, other: Callable[[], bool]) -> None:
        is_time = is_number(seconds) and seconds > 0
        require(is_time, f"max_seconds must be more than 0, not {seconds!r}")
        self.end = time.monotonic() + seconds
        self.other = other

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.other() or time.monotonic() >= self.end
