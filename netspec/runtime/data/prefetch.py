"""The next batch is made ready by a thread, while the step before it runs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


def prefetched(make: Callable[[T], U], items: Iterable[T]) -> Generator[U]:
    """`map(make, items)`, one item ahead.

    One thread makes them one after the other, in order: what comes out does not depend on timing. An
    error comes out where its item would have. A generator that is closed, or dropped, waits for the
    item under way and makes no more.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="netspec-batches") as thread:
        ahead: Future[U] | None = None
        for item in items:
            ready, ahead = ahead, thread.submit(make, item)
            if ready is not None:
                yield ready.result()
        if ahead is not None:
            yield ahead.result()
