"""Rarer rounds of the garbage collector, for work that reads a file and writes what is made of it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# Nearly all that such work makes lives until its end, so that rounds find nothing; with Python's own
# thresholds they were a third of the time that a net of a thousand layers takes.
_THRESHOLDS = (100_000, 20, 100)


@contextmanager
def rare_collections(*, is_last: bool = False) -> Iterator[None]:
    """Let the collector look for garbage seldom, until the block ends; with `is_last` the process ends
    then, too, and nothing that was made is looked at any more. One thread at a time may do this.
    """
    before = gc.get_threshold()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        if is_last:
            gc.freeze()
        gc.set_threshold(*before)
