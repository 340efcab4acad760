"""Waiting for other threads: an interrupt arrives as what it is, at whatever line."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import Future
from types import FrameType
from typing import Any

import pytest

from netspec.futures import wait_for


def test_the_result_and_the_error_are_the_future_s() -> None:
    good: Future[int] = Future()
    threading.Timer(0.05, good.set_result, [3]).start()
    assert wait_for(good).result() == 3
    bad: Future[int] = Future()
    threading.Timer(0.05, bad.set_exception, [ValueError("x")]).start()
    assert isinstance(wait_for(bad).exception(), ValueError)
    with pytest.raises(ValueError, match="x"):
        wait_for(bad).result()


@pytest.mark.parametrize("at", range(40))
def test_an_interrupt_at_any_line_is_an_interrupt(at: int) -> None:
    """Also at those of the standard library; `Future.result` fails here."""
    future: Future[int] = Future()
    threading.Timer(0.05, future.set_result, [3]).start()
    passed = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal passed
        if event == "line":
            passed += 1
            if passed == at:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    try:
        sys.settrace(trace)
        assert wait_for(future).result() == 3
    except KeyboardInterrupt:
        assert passed == at
    finally:
        sys.settrace(before)
