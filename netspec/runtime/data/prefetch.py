"""Prepares the next batch in a thread while the current step runs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

from netspec.workers import Answer, Workers

T = TypeVar("T")
U = TypeVar("U")


def prefetched(make: Callable[[T], U], items: Iterable[T]) -> Generator[U]:
    """Like `map(make, items)`, but computes one item ahead in a thread.

    A single thread makes the items in order, so results do not depend on timing. An exception is
    raised at the position of its item. When the generator is closed or dropped, it waits for the
    item in progress and makes no more.
    """
    with Workers(1) as thread:
        ahead: Answer[U] | None = None
        for item in items:
            ready, ahead = ahead, thread.ask(make, item)
            if ready is not None:
                yield ready.result()
        if ahead is not None:
            yield ahead.result()
