"""Threads for kernels: a batch is cut into parts, and each thread computes one.

NumPy releases the interpreter lock in copies, ufuncs and matrix products, so threads that each work
on a part of the batch run in parallel. Meanwhile BLAS is limited to one thread, because its own
threads would only compete with these. How a sum is divided into parts depends only on the number of
threads, so equal numbers of threads give bit-identical results.
"""

import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise
from queue import Empty, SimpleQueue
from typing import Any

Run = Callable[[Callable[..., Any], Sequence[tuple[Any, ...]]], list[Any]]

_threads = 0
_local = threading.local()

# Each thread has memory of its own, and no machine has more processors.
MOST_THREADS = 1024
# Below this many multiply-adds (or as much other work) a second thread costs more than it gains.
WORTH_A_THREAD = 1 << 20
# The same limit if parts of several kernels are combined before they go to threads.
WORTH_A_PART = 1 << 17
# A worker that has had nothing to do for so long ends.
IDLE_SECONDS = 10.0


def available() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads() -> int:
    """Return the number of threads of kernels.

    It is set by `set_threads`, else by NETSPEC_NUM_THREADS; the default is all processors.
    """
    if _threads:
        return _threads
    given = os.environ.get("NETSPEC_NUM_THREADS", "")
    is_number = given.isascii() and given.isdigit() and len(given) < 10 and int(given) > 0
    return min(int(given), MOST_THREADS) if is_number else available()


def set_threads(count: int) -> None:
    """Use `count` threads from here on, `MOST_THREADS` at most."""
    global _threads  # noqa: PLW0603 - one setting for the process, like BLAS's own
    _threads = min(max(1, count), MOST_THREADS)


def parts(count: int, work: int) -> list[slice]:
    """Cut range(count) into a slice for each thread, or just one if `work` is not worth threads."""
    worth = WORTH_A_PART if getattr(_local, "fine", False) else WORTH_A_THREAD
    if work < worth:  # small kernels are called most: how many threads there are takes time to ask
        return [slice(0, count)]
    number = min(threads(), count, work // worth + 1)
    bounds = [count * i // number for i in range(number + 1)]
    return [slice(a, b) for a, b in pairwise(bounds)]


def possible_parts(count: int) -> dict[int, set[int]]:
    """Map each number of parts that `parts` can make of range(count) to the lengths they can have."""
    numbers = range(1, min(threads(), count) + 1)
    return {number: {count // number, -(-count // number)} for number in numbers}


def run(task: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Call `task(*a)` for each of `arguments`: the first in this thread and the others in workers.

    Calls that no worker has begun when the first is done are made in this thread as well: several
    callers share the workers, and none waits for another caller's calls. Returns the results in
    order. An exception in any call is raised here. When this raises anything, even an interrupt, no
    call is still running.
    """
    if len(arguments) == 1:
        return [task(*arguments[0])]
    forked: Run | None = getattr(_local, "run", None)
    if forked is not None:
        return forked(task, arguments)
    parts = [_Part(task, a) for a in arguments[1:]]
    try:
        _workers.get().offer(parts)
        first = task(*arguments[0])
        for part in reversed(parts):
            part.make_here()
        for part in parts:
            part.wait()
    except BaseException:
        _settle(parts)
        raise
    return [first, *(part.outcome() for part in parts)]


class _Part:
    """A call that is made by its caller or by a worker, whoever claims it first."""

    def __init__(self, task: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._task, self._arguments = task, arguments
        self._claim: dict[str, str] = {}
        self._done = threading.Lock()
        self._done.acquire()
        self._finished = False
        self._result: Any = None
        self._error: BaseException | None = None

    def _is_for(self, who: str) -> bool:
        """Claim the call; return True if `who` has it, now or from before.

        This is atomic under interrupts.
        """
        return self._claim.setdefault("by", who) == who

    def make_here(self) -> None:
        """Make the call, unless a worker has begun it."""
        if self._is_for("caller"):
            self._result = self._task(*self._arguments)
            self._finished = True

    def make(self) -> None:
        """Make the call in a worker, unless its caller has begun it."""
        if not self._is_for("worker"):
            return
        try:
            self._result = self._task(*self._arguments)
        except BaseException as error:
            self._error = error
        finally:
            self._finished = True
            self._done.release()

    def wait(self) -> None:
        """Wait until the call is done."""
        while not self._finished:
            self._done.acquire()

    def settle(self) -> None:
        """Wait until the call is done or will never be made."""
        if not self._is_for("caller"):
            self.wait()

    def outcome(self) -> Any:
        """Return the result of the call, or raise its exception."""
        error, self._error = self._error, None
        if error is not None:
            raise error
        return self._result


def _settle(parts: Sequence[_Part]) -> None:
    """Wait until no part is running. An interrupt during the wait is raised afterwards."""
    try:
        for part in parts:
            part.settle()
    except BaseException:
        _settle(parts)
        raise


class _PerProcess:
    """A state that a forked child makes for itself, because its parent's threads are not there.

    A hook of `os.register_at_fork` can never be removed, and would keep each standalone file that is
    imported in the process in memory for good.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._states: dict[int, Any] = {}

    def get(self) -> Any:
        """Return the state of this process."""
        process = os.getpid()
        state = self._states.get(process)
        if state is None:  # two threads may both make it; both get the one that is kept
            state = self._states.setdefault(process, self._make())
        return state


class _Workers:
    """Threads that make the calls of parts. They end when there was nothing to do for a while."""

    def __init__(self) -> None:
        self._offered: SimpleQueue[_Part] = SimpleQueue()
        self._threads: set[threading.Thread] = set()

    def offer(self, parts: Sequence[_Part]) -> None:
        """Have workers make the calls. If the system allows fewer threads, or none, that is no error."""
        try:
            while len(self._threads) < len(parts):
                thread = threading.Thread(target=self._work, name="netspec", daemon=True)
                thread.start()
                self._threads.add(thread)
        except RuntimeError:  # the system allows no more threads
            pass
        if self._threads:
            for part in parts:
                self._offered.put(part)

    def _work(self) -> None:
        import numpy as np

        try:
            # A caller's settings of NumPy hold in its own thread alone.
            with np.errstate(all="ignore"):
                while True:
                    part = self._offered.get(timeout=IDLE_SECONDS)
                    part.make()
                    del part  # releases the caller's arrays while this thread waits
        except Empty:
            self._threads.discard(threading.current_thread())


_workers = _PerProcess(_Workers)


@contextmanager
def fine_parts() -> Iterator[None]:
    """In this thread, cut work finely, for a recording that combines the parts of several kernels."""
    _local.fine = True
    try:
        yield
    finally:
        _local.fine = False


@contextmanager
def in_place_of_run(forked: Run) -> Iterator[None]:
    """In this thread, pass calls of `run` that would use several threads to `forked` instead."""
    _local.run = forked
    try:
        yield
    finally:
        del _local.run


@functools.cache
def _blas() -> tuple[Any, ...]:
    """Return the thread controllers of the BLAS libraries that are loaded."""
    import numpy as np  # noqa: F401 - its BLAS must be loaded to be found
    from threadpoolctl import ThreadpoolController

    return tuple(ThreadpoolController().select(user_api="blas").lib_controllers)


class _Limit:
    """How many hold BLAS to one thread, and the numbers of threads that it had before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._before: list[tuple[Any, int]] = []

    def hold(self) -> None:
        with self._lock:
            if not self._holders:
                # `ThreadpoolController.limit` does the same, but takes as long as a small layer.
                self._before = [(library, library.get_num_threads()) for library in _blas()]
                for library, count in self._before:
                    if count != 1:
                        library.set_num_threads(1)
            self._holders += 1

    def release(self) -> None:
        with self._lock:
            if not self._holders:  # a forked child releases what its parent held
                return
            self._holders -= 1
            if not self._holders:
                self.lift()

    def lift(self) -> None:
        """Give BLAS the numbers of threads that it had."""
        for library, count in self._before:
            if count != 1:
                library.set_num_threads(count)
        self._before = []


class _Hold:
    """Limits BLAS to one thread while anyone holds it; the last to release it restores the limit."""

    def __init__(self) -> None:
        self._last: _Limit | None = None
        self._limits = _PerProcess(self._limit)

    def _limit(self) -> _Limit:
        if self._last is not None:  # that of the parent, which may have held it at the fork
            self._last.lift()
        self._last = _Limit()
        return self._last

    def __enter__(self) -> None:
        self._limits.get().hold()

    def __exit__(self, *_: object) -> None:
        self._limits.get().release()


_hold = _Hold()


def one_blas_thread() -> AbstractContextManager[None]:
    """Limit BLAS to one thread, because the kernels use threads of their own.

    Several threads may hold this at once.
    """
    return _hold
