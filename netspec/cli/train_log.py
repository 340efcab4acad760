"""Where `netspec train` logs to: stderr, and the log file of the run."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from logging.handlers import MemoryHandler
from typing import TYPE_CHECKING

from netspec import codes
from netspec.diagnostics import Hint, NetspecError
from netspec.text.printable import printable_lines

if TYPE_CHECKING:
    from netspec.runtime.runs.folder import RunFolder
    from netspec.runtime.runs.recorder import RunRecorder

_ROOT = logging.getLogger("netspec")
_NEVER = logging.CRITICAL + 1


@contextmanager
def training_log(*, quiet: bool, writes: bool) -> Iterator[MemoryHandler]:
    """Context manager: netspec logs to stderr, and keeps the records for the run's log file.

    Args:
        quiet: Show only warnings; everything else goes only to the run's log file.
        writes: True if this process, of several, is the one that writes.

    Yields:
        The handler that holds the records until the run has a folder.
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
    """Context manager: write the log, and the error that ends the block, to the run's log file too.

    Args:
        recorder: The recorder of the run; None if nothing is kept.
        waiting: The handler with the records so far, which buffers more until the run has a folder.
    """
    if recorder is None or not _ROOT.isEnabledFor(logging.INFO):
        yield
        return
    from netspec.runtime.runs.recorder import log_error

    file = _RunFile(recorder.folder)

    def begin() -> None:
        waiting.setTarget(file)
        waiting.flush()
        waiting.capacity = 1  # from now on each record is written at once

    recorder.on_begin = begin
    try:
        yield
    except NetspecError as error:
        log_error(recorder.folder, error)
        raise _with_advice(error, recorder) from None
    finally:
        recorder.release()


class _Lines(logging.Formatter):
    """Formats a record as its text; warnings are marked as such."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        text = printable_lines(record.getMessage())
        return f"warning: {text}" if record.levelno == logging.WARNING else text


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to stderr; if that fails, the exception is raised, and the command fails."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """See `logging.Handler`; called where an exception is being handled."""
        raise  # noqa: PLE0704


class _RunFile(logging.Handler):
    """Writes to the log file of a run, as long as its folder exists."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self._folder = folder
        self.setFormatter(_Lines())

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`; a full disk is a `NetspecError`."""
        if self._folder.path.is_dir():
            self._folder.log(self.format(record))


def _with_advice(error: NetspecError, recorder: RunRecorder) -> NetspecError:
    """Add a hint to the error that the run can still be resumed, if it can."""
    if not recorder.can_go_on():
        return error
    first, *others = error.diagnostics
    command = f"netspec train --resume {recorder.folder.path}"
    hint = Hint(f"go on from the last checkpoint: {command}")
    if first.code == codes.TRAIN_DIVERGED:  # the same rate would lead to the same place
        hint = Hint(f"go on from the last checkpoint at a lower rate: {command} --lr RATE")
    return NetspecError([replace(first, hints=(*first.hints, hint)), *others])
