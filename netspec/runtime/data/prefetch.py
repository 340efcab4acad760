"""Prepares the next batch in a thread while the current step runs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from netspec.futures import wait_for

T = TypeVar("T")
U = TypeVar("U")


def submitted(pool: ThreadPoolExecutor, make: Callable[[T], U], item: T) -> Future[U]:
    """Submit a call to a thread pool; if the system has no thread for it, make the call here.

    In that case a thread that the pool gets later makes the call once more, and its result is
    ignored.
    """
    try:
        return pool.submit(make, item)
    except RuntimeError:  # the system allows no more threads
        done: Future[U] = Future()
        try:
            done.set_result(make(item))
        except Exception as error:
            done.set_exception(error)
        return done


def prefetched(make: Callable[[T], U], items: Iterable[T]) -> Generator[U]:
    """Like `map(make, items)`, but computes one item ahead in a thread.

    A single thread makes the items in order, so results do not depend on timing. An exception is
    raised at the position of its item. When the generator is closed or dropped, it waits for the
    item in progress and makes no more.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="netspec-batches") as thread:
        ahead: Future[U] | None = None
        for item in items:
            ready, ahead = ahead, submitted(thread, make, item)
            if ready is not None:
                yield wait_for(ready).result()
        if ahead is not None:
            yield wait_for(ahead).result()
