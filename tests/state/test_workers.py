"""Threads that make calls: an interrupt arrives as what it is, at whatever line, and nothing hangs."""

from __future__ import annotations

import _thread
import os
import sys
import threading
import time
from types import FrameType
from typing import Any

import pytest

from netspec import workers
from netspec.runtime.data.prefetch import prefetched
from netspec.workers import Workers


def test_answers_are_what_calls_return_or_raise() -> None:
    with Workers(3) as threads:
        answers = [threads.ask(lambda i: 6 // i, i) for i in (1, 2, 0, 3)]
        assert [answers[i].result() for i in (3, 1, 0)] == [2, 3, 6]
        assert isinstance(answers[2].error(), ZeroDivisionError)
        assert answers[0].error() is None
        with pytest.raises(ZeroDivisionError):
            answers[2].result()
        assert answers[0].result() == 6  # again


def test_what_nobody_has_begun_is_left_out() -> None:
    begun: list[int] = []

    def make(i: int) -> None:
        begun.append(i)
        time.sleep(0.05)

    with Workers(2) as threads:
        for i in range(40):
            threads.ask(make, i)
        threads.ask(make, 40)
    assert len(begun) < 40
    count = len(begun)
    time.sleep(0.1)
    assert len(begun) == count


def test_without_threads_the_calls_are_made_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", none)
    with Workers(2) as threads:
        assert threads.ask(lambda _: threading.get_ident(), 0).result() == threading.get_ident()


def test_a_thread_holds_nothing_while_it_waits() -> None:
    class Item:
        pass

    gone = threading.Event()

    def make(item: Item) -> None:
        item.__dict__["end"] = _Told(gone)

    with Workers(1) as threads:
        threads.ask(make, Item()).result()
        assert gone.wait(5)


class _Told:
    def __init__(self, event: threading.Event) -> None:
        self._event = event

    def __del__(self) -> None:
        self._event.set()


@pytest.mark.parametrize("at", range(1, 60))
def test_an_interrupt_at_any_line_is_an_interrupt(at: int) -> None:
    passed = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal passed
        if event == "line" and frame.f_globals.get("__name__", "").startswith("netspec"):
            passed += 1
            if passed == at:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    try:
        sys.settrace(trace)
        assert list(prefetched(lambda i: i * i, range(4))) == [0, 1, 4, 9]
    except KeyboardInterrupt:
        assert passed == at
    finally:
        sys.settrace(before)
    assert list(prefetched(lambda i: i * i, range(4))) == [0, 1, 4, 9]


def test_an_interrupt_while_a_call_is_waited_for_comes_behind_it() -> None:
    ended: list[int] = []

    def make(i: int) -> None:
        time.sleep(0.3)
        ended.append(i)

    threads = Workers(1)
    threads.ask(make, 1)
    time.sleep(0.1)
    threading.Timer(0.05, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        threads.close()
    assert ended == [1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_does_not_wait_for_threads_that_it_has_not() -> None:
    ahead = prefetched(lambda i: i, range(5))
    assert next(ahead) == 0
    child = os.fork()
    if not child:
        ahead.close()
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert list(ahead) == [1, 2, 3, 4]


@pytest.mark.parametrize("at", range(1, 8))
def test_an_interrupt_in_the_first_lines_of_the_end_leaves_no_thread(at: int) -> None:
    before = _thread._count()
    passed = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal passed
        if frame.f_code.co_filename == workers.__file__ and event in ("call", "line"):
            passed += 1
            if passed == at:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    threads = Workers(2)
    assert [threads.ask(abs, -i).result() for i in (1, 2)] == [1, 2]
    traced = sys.gettrace()
    try:
        sys.settrace(trace)
        threads.__exit__(None, None, None)
    except KeyboardInterrupt:
        assert passed == at
    finally:
        sys.settrace(traced)
    del threads
    for _ in range(500):
        if _thread._count() == before:
            return
        time.sleep(0.01)
    raise AssertionError("a thread is left")
