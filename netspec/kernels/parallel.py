"""Threads for kernels: a batch is cut into parts, and each thread does one.

NumPy lets go of the interpreter lock in copies, ufuncs and matrix products, so threads that each
work on a part of the batch run side by side. BLAS is held to one thread meanwhile: its own threads
would only fight with these. Which part a sum comes from depends on the number of threads alone, so
equal numbers of threads give equal bits.
"""

import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

Run = Callable[[Callable[..., Any], Sequence[tuple[Any, ...]]], list[Any]]

_threads = 0
_local = threading.local()

# Below this many multiply-adds (or as much other work) a second thread costs more than it does.
WORTH_A_THREAD = 1 << 20
# The same where parts of kernels are strung together before they go to threads.
WORTH_A_PART = 1 << 17


def available() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads() -> int:
    """How many threads kernels use: `set_threads`, else NETSPEC_NUM_THREADS, else all processors."""
    if _threads:
        return _threads
    given = os.environ.get("NETSPEC_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) > 0 else available()


def set_threads(count: int) -> None:
    """Use `count` threads from here on."""
    global _threads  # noqa: PLW0603 - one setting for the process, like BLAS's own
    _threads = max(1, count)


def parts(count: int, work: int) -> list[slice]:
    """Cut range(count) into a slice a thread; one slice where `work` is not worth threads."""
    worth = WORTH_A_PART if getattr(_local, "fine", False) else WORTH_A_THREAD
    number = min(threads(), count, max(1, work // worth + 1))
    bounds = [count * i // number for i in range(number + 1)]
    return [slice(a, b) for a, b in pairwise(bounds)]


def possible_parts(count: int) -> dict[int, set[int]]:
    """How many parts `parts` can make of range(count), and how long each of them may be then."""
    numbers = range(1, min(threads(), count) + 1)
    return {number: {count // number, -(-count // number)} for number in numbers}


def run(task: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Call `task(*a)` for each of `arguments`, the first here and the others in threads of their own.

    Returns the results in order; an exception of any call is raised here.
    """
    if len(arguments) == 1:
        return [task(*arguments[0])]
    forked: Run | None = getattr(_local, "run", None)
    if forked is not None:
        return forked(task, arguments)
    pool = _pool(len(arguments) - 1)
    others = [pool.submit(task, *a) for a in arguments[1:]]
    first = task(*arguments[0])
    return [first, *(other.result() for other in others)]


@contextmanager
def fine_parts() -> Iterator[None]:
    """In this thread, cut work as for a recording, which strings the parts of kernels together."""
    _local.fine = True
    try:
        yield
    finally:
        _local.fine = False


@contextmanager
def in_place_of_run(forked: Run) -> Iterator[None]:
    """What this thread gives to `run` for several threads goes to `forked`."""
    _local.run = forked
    try:
        yield
    finally:
        del _local.run


@functools.cache
def _pool(size: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(size, thread_name_prefix="netspec")


@functools.cache
def _blas() -> tuple[Any, ...]:
    """What sets the threads of each BLAS library that is loaded."""
    import numpy as np  # noqa: F401 - its BLAS must be loaded to be found
    from threadpoolctl import ThreadpoolController

    return tuple(ThreadpoolController().select(user_api="blas").lib_controllers)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread, for the kernels bring their own."""
    # As `ThreadpoolController.limit` does, which takes as long as a small layer.
    before = [(library, library.get_num_threads()) for library in _blas()]
    try:
        for library, count in before:
            if count != 1:
                library.set_num_threads(1)
        yield
    finally:
        for library, count in before:
            if count != 1:
                library.set_num_threads(count)
