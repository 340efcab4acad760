"""SIGTERM, SIGHUP and Ctrl-C as a wish: what is under way ends at a good place, and saves."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from netspec.cli.exit_codes import HUNG_UP, INTERRUPTED, TERMINATED

_CODES = {signal.SIGTERM: TERMINATED, signal.SIGINT: INTERRUPTED}
_NAMES = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C"}
# The terminal is closed, or the connection to it; Windows has no such signal.
_HANG_UP = getattr(signal, "SIGHUP", None)
if _HANG_UP is not None:
    _CODES[_HANG_UP] = HUNG_UP
    _NAMES[_HANG_UP] = "SIGHUP"


class Wish:
    """Whether somebody wants an end; called, it says so.

    Attributes:
        number: The signal that came; None before.
    """

    def __init__(self) -> None:
        self.number: signal.Signals | None = None

    def __call__(self) -> bool:
        """Whether one came."""
        return self.number is not None

    @property
    def name(self) -> str:
        """What people call the signal; another process may have got it."""
        return _NAMES[self.number or signal.SIGTERM]

    @property
    def code(self) -> int:
        """The exit code of a process that it ended."""
        return _CODES[self.number or signal.SIGTERM]


@contextmanager
def until_stopped() -> Iterator[Wish]:
    """Yields whether SIGTERM, SIGHUP or Ctrl-C has come. A second one acts as it always does: at once.

    A SIGHUP that is ignored (`nohup`) stays so. After one that is not, what would be written to the
    terminal goes nowhere: it is gone, and a write that fails must not keep a run from being saved.
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
            # Not `print`, which must not be entered twice. On a terminal, behind the `^C`.
            os.write(2, b"\nfinishing this step and saving; Ctrl-C again stops at once\n")

    if threading.current_thread() is not threading.main_thread():
        yield wish  # only the main thread hears signals
        return
    heard = [n for n in _CODES if n != _HANG_UP or signal.getsignal(n) != signal.SIG_IGN]
    before = {each: signal.signal(each, take_note) for each in heard}
    try:
        yield wish
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
