"""SIGTERM as a wish: what is under way ends at a good place, and saves."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def until_sigterm() -> Iterator[Callable[[], bool]]:
    """Yields whether SIGTERM has come. A second one ends the process as it always does."""
    came = threading.Event()

    def take_note(number: int, frame: FrameType | None) -> None:
        came.set()
        signal.signal(number, before)

    if threading.current_thread() is not threading.main_thread():
        yield came.is_set  # only the main thread hears signals
        return
    before = signal.signal(signal.SIGTERM, take_note)
    try:
        yield came.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
