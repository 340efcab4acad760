"""SIGTERM, SIGHUP and Ctrl-C as requests to stop: a run saves its state at a safe point and ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from netspec.cli import HUNG_UP, INTERRUPTED, TERMINATED

_CODES = {signal.SIGTERM: TERMINATED, signal.SIGINT: INTERRUPTED}
_NAMES = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C"}
# Sent when the terminal or the connection to it is closed; Windows has no such signal.
_HANG_UP = getattr(signal, "SIGHUP", None)
if _HANG_UP is not None:
    _CODES[_HANG_UP] = HUNG_UP
    _NAMES[_HANG_UP] = "SIGHUP"


class Wish:
    """A stop request. Calling it returns True if a signal has been received.

    Attributes:
        number: The signal that was received; None before.
    """

    def __init__(self) -> None:
        self.number: signal.Signals | None = None

    def __call__(self) -> bool:
        """Return True if a signal has been received."""
        return self.number is not None

    @property
    def name(self) -> str:
        """The name of the signal for messages.

        SIGTERM by default: the signal may have reached another process.
        """
        return _NAMES[self.number or signal.SIGTERM]

    @property
    def code(self) -> int:
        """The exit code of a process that was ended by this signal."""
        return _CODES[self.number or signal.SIGTERM]


@contextmanager
def until_stopped() -> Iterator[Wish]:
    """Catch SIGTERM, SIGHUP and Ctrl-C, and yield the `Wish` that tells whether one was received.

    A second signal has its usual effect: it ends the process at once. If SIGHUP is ignored
    (`nohup`) it stays ignored. After a SIGHUP the terminal is gone, so what would be written to it
    is discarded: a failing write must not prevent the run from being saved.
    """
    wish = Wish()
    terminals = [stream for stream in (1, 2) if os.isatty(stream)]

    def take_note(number: int, frame: FrameType | None) -> None:
        wish.number = signal.Signals(number)
        for each, handler in before.items():
            signal.signal(each, handler)
        if wish.number == _HANG_UP and terminals:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for stream in terminals:
                os.dup2(nowhere, stream)
        if wish.number == signal.SIGINT:
            # Not `print`, which is not reentrant. On a terminal this appears behind the `^C`.
            os.write(2, b"\nfinishing this step and saving; Ctrl-C again stops at once\n")

    if threading.current_thread() is not threading.main_thread():
        yield wish  # only the main thread receives signals
        return
    heard = [n for n in _CODES if n != _HANG_UP or signal.getsignal(n) != signal.SIG_IGN]
    # Known before the first is replaced: a signal may come between two of them.
    before = {each: signal.getsignal(each) for each in heard}
    try:
        for each in heard:
            if wish.number is None:
                signal.signal(each, take_note)
        yield wish
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
