"""Waits for what other threads compute so that an interrupt arrives as what it is."""

from __future__ import annotations

from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


def wait_for(future: Future[T]) -> Future[T]:
    """Wait until a future is done, and return it.

    `Future.result` waits for a `threading.Condition`, which is written in Python: an interrupt between
    two of its lines ends in `RuntimeError: cannot release un-acquired lock`. The queue waits in C.
    """
    done: SimpleQueue[None] = SimpleQueue()
    future.add_done_callback(lambda _: done.put(None))
    done.get()
    return future
