"""Calls of machine code that work in forked processes too.

`fork` copies only the calling thread. OpenMP of GCC then waits for ever for the other threads of the
loops that this thread has run. A thread that begins in the child has threads of its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

from netspec.futures import wait_for


class _State(threading.local):
    """What differs between threads: whether this one was copied by `fork`."""

    copied = False


_state = _State()
_workers: list[ThreadPoolExecutor] = []


def call(function: Callable[..., object], *arguments: object) -> None:
    """Call a function of a library, in another thread if this one was copied by `fork`."""
    if not _state.copied:
        function(*arguments)
        return
    if not _workers:
        _workers.append(ThreadPoolExecutor(1, "netspec-native"))
    called = _workers[0].submit(function, *arguments)
    try:
        wait_for(called)
    except BaseException:
        wait([called])  # an interrupt must not leave memory that is still written to
        raise
    called.result()


def _in_child() -> None:
    _state.copied = True
    _workers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
