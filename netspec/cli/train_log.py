"""Where `netspec train` logs to while it works: stderr, and the file of the run."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from logging.handlers import MemoryHandler
from typing import TYPE_CHECKING

from netspec.diagnostics import Hint, NetspecError
from netspec.text.printable import printable_lines

if TYPE_CHECKING:
    from netspec.runtime.runs.folder import RunFolder
    from netspec.runtime.runs.recorder import RunRecorder

_ROOT = logging.getLogger("netspec")
_NEVER = logging.CRITICAL + 1


@contextmanager
def training_log(*, quiet: bool, writes: bool) -> Iterator[MemoryHandler]:
    """While this lasts, netspec's loggers write to stderr; what they say is kept for a run, too.

    Args:
        quiet: Only warnings are shown; all else goes to the run's file alone.
        writes: Whether this process, of several, is the one that speaks.
    """
    shown = _Stderr(sys.stderr)
    shown.setLevel(logging.WARNING if quiet else logging.INFO)
    waiting = MemoryHandler(sys.maxsize, flushLevel=_NEVER, flushOnClose=False)
    for handler in (shown, waiting):
        handler.setFormatter(_Lines())
        _ROOT.addHandler(handler)
    before = _ROOT.level, _ROOT.propagate
    _ROOT.setLevel(logging.INFO if writes else _NEVER)
    _ROOT.propagate = False
    try:
        yield waiting
    finally:
        _ROOT.setLevel(before[0])
        _ROOT.propagate = before[1]
        for handler in (shown, waiting):
            _ROOT.removeHandler(handler)
            handler.close()


@contextmanager
def kept_in(recorder: RunRecorder | None, waiting: MemoryHandler) -> Iterator[None]:
    """While this lasts, the log, and the error that ends it, are in the run's file too.

    Args:
        recorder: Of the run; None where nothing is kept.
        waiting: What was logged before, and what is until the run has a folder.
    """
    if recorder is None or not _ROOT.isEnabledFor(logging.INFO):
        yield
        return
    from netspec.runtime.runs.recorder import log_error

    file = _RunFile(recorder.folder)

    def begin() -> None:
        waiting.setTarget(file)
        waiting.flush()
        waiting.capacity = 1  # from now on each record goes on at once

    recorder.on_begin = begin
    try:
        yield
    except NetspecError as error:
        log_error(recorder.folder, error)
        raise _with_advice(error, recorder) from None
    finally:
        recorder.release()


class _Lines(logging.Formatter):
    """The text of a record; that of a warning says so."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        text = printable_lines(record.getMessage())
        return f"warning: {text}" if record.levelno == logging.WARNING else text


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to stderr; where that fails, so does the command."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """See `logging.Handler`; called where an exception is being handled."""
        raise  # noqa: PLE0704


class _RunFile(logging.Handler):
    """Writes to the log of a run, as long as its folder is there."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self._folder = folder
        self.setFormatter(_Lines())

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`; a full disk is a `NetspecError`."""
        if self._folder.path.is_dir():
            self._folder.log(self.format(record))


def _with_advice(error: NetspecError, recorder: RunRecorder) -> NetspecError:
    """The error, with a word about the run that can go on in spite of it."""
    if not recorder.can_go_on():
        return error
    hint = Hint(f"go on from the last checkpoint: netspec train --resume {recorder.folder.path}")
    first, *others = error.diagnostics
    return NetspecError([replace(first, hints=(*first.hints, hint)), *others])
