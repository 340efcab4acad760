"""Threads that make calls, so that an interrupt of whoever waits for them loses and holds nothing.

`threading.Thread`, `Condition` and so `concurrent.futures` are written in Python: an interrupt between
two of their lines may keep a lock for good, for which others then wait. Here whoever may be
interrupted only calls queues that are written in C, and what counts is noted before it is told.
"""

from __future__ import annotations

import _thread
import os
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")


class Answer(Generic[T]):
    """What a call will have returned or raised."""

    def __init__(self) -> None:
        self._told: SimpleQueue[None] = SimpleQueue()
        self._outcome: tuple[T | None, BaseException | None] | None = None

    def give(self, value: T | None, error: BaseException | None) -> None:
        """Keep what the call returned or raised, and tell who waits."""
        self._outcome = value, error
        self._told.put(None)

    def error(self) -> BaseException | None:
        """Wait, and return what the call raised; None if it returned."""
        return self._wait()[1]

    def result(self) -> T:
        """Wait, and return what the call returned.

        Raises:
            BaseException: what the call raised.
        """
        value, error = self._wait()
        if error is not None:
            raise error
        return value  # type: ignore[return-value]  # None is a T that is None

    def _wait(self) -> tuple[T | None, BaseException | None]:
        while self._outcome is None:
            self._told.get()
        return self._outcome


class Workers:
    """Threads that make calls in the order in which these were asked for.

    Where the system has no thread, `ask` makes the call itself. At the end of the `with` block calls
    that nobody has begun are left out, and those in progress are waited for, even if an interrupt
    arrives meanwhile: it is raised behind that.
    """

    def __init__(self, count: int) -> None:
        """Begin with no thread, and start up to `count` of them as calls are asked for."""
        self._count = count
        self._started: list[int] = []
        self._calls = _Calls()
        self._process = os.getpid()

    def __del__(self) -> None:
        """End the threads where an interrupt came before `close` had begun."""
        calls: _Calls | None = self.__dict__.get(
            "_calls"
        )  # one may have come before there were any
        if calls is not None:
            calls.end()

    def __enter__(self) -> Workers:
        """Return the workers."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave out what is not begun, and wait for the rest."""
        self.close()

    def ask(self, make: Callable[[T], U], item: T) -> Answer[U]:
        """Ask for a call, and return where its answer will be."""
        answer: Answer[U] = Answer()

        def call() -> None:
            try:
                value = make(item)
            except BaseException as error:
                answer.give(None, error)
            else:
                answer.give(value, None)

        if len(self._started) < self._count:
            self._start()
        if self._started:
            self._calls.asked.put(call)
        else:
            call()
        return answer

    def close(self) -> None:
        """Leave out what is not begun, and wait for the rest."""
        calls = self._calls
        calls.end()
        if os.getpid() != self._process:  # a fork has none of the threads
            return
        interrupt: BaseException | None = None
        while len(calls.ended) < len(self._started):
            try:
                calls.told.get()
            except BaseException as error:
                interrupt = interrupt or error
        if interrupt is not None:
            raise interrupt

    def _start(self) -> None:
        # No interrupt arrives within a function that is written in C: what is started is counted.
        start = map(_thread.start_new_thread, (self._calls.work,), ((),))
        with suppress(RuntimeError):  # the system allows no more threads
            self._started.extend(start)


class _Calls:
    """What threads share with whoever asks. They do not hold the `Workers`, which end them when they
    are gone.
    """

    def __init__(self) -> None:
        self.asked: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.ended: list[None] = []
        self.told: SimpleQueue[None] = SimpleQueue()
        self.are_over = False

    def end(self) -> None:
        """Let no thread begin another call."""
        self.are_over = True
        self.asked.put(None)

    def work(self) -> None:
        """Make the calls of one thread."""
        while (call := self.asked.get()) is not None:
            if not self.are_over:
                call()
            del call  # what it holds goes while this thread waits
        self.asked.put(None)  # for the next thread
        self.ended.append(None)
        self.told.put(None)
