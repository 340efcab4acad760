"""The next batch is made ready by a thread, while the step before it runs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


def submitted(pool: ThreadPoolExecutor, make: Callable[[T], U], item: T) -> Future[U]:
    """A call for a thread of a pool; where the system gives no thread it is made here and now.

    In that case a thread that the pool gets later makes it once more, and nobody sees what comes out.
    """
    try:
        return pool.submit(make, item)
    except RuntimeError:  # no more threads
        done: Future[U] = Future()
        try:
            done.set_result(make(item))
        except Exception as error:
            done.set_exception(error)
        return done


def prefetched(make: Callable[[T], U], items: Iterable[T]) -> Generator[U]:
    """`map(make, items)`, one item ahead.

    One thread makes them one after the other, in order: what comes out does not depend on timing. An
    error comes out where its item would have. A generator that is closed, or dropped, waits for the
    item under way and makes no more.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="netspec-batches") as thread:
        ahead: Future[U] | None = None
        for item in items:
            ready, ahead = ahead, submitted(thread, make, item)
            if ready is not None:
                yield ready.result()
        if ahead is not None:
            yield ahead.result()
