"""What `netspec train` says while it works: on stderr, and in the log of the run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from netspec.diagnostics import Hint, NetspecError

if TYPE_CHECKING:
    from netspec.runtime.runs.recorder import RunRecorder


class Telling:
    """Says things, and remembers them until there is a log.

    Args:
        quiet: Only warnings are shown; all else goes to the log alone.
        writes: Whether this process, of several, is the one that speaks.
    """

    def __init__(self, *, quiet: bool, writes: bool) -> None:
        self._quiet, self._writes = quiet, writes
        self._waiting: list[str] = []
        self._recorder: RunRecorder | None = None

    def say(self, text: str) -> None:
        """Say some lines."""
        if not self._writes:
            return
        if not self._quiet or text.startswith("warning"):
            print(text, file=sys.stderr, flush=True)
        if self._recorder is not None and self._recorder.folder.path.is_dir():
            self._recorder.folder.log(text)
        else:
            self._waiting.append(text)

    @contextmanager
    def kept_in(self, recorder: RunRecorder | None) -> Iterator[None]:
        """While this lasts, what is said, and the error that ends it, are in the run's log too."""
        if recorder is None or not self._writes:
            yield
            return
        from netspec.runtime.runs.recorder import log_error

        self._recorder = recorder
        recorder.on_begin = self._write_waiting
        try:
            yield
        except NetspecError as error:
            log_error(recorder.folder, error)
            raise self._with_advice(error, recorder) from None

    def _write_waiting(self) -> None:
        assert self._recorder is not None
        waiting, self._waiting = self._waiting, []
        for text in waiting:
            self._recorder.folder.log(text)

    @staticmethod
    def _with_advice(error: NetspecError, recorder: RunRecorder) -> NetspecError:
        """The error, with a word about the run that can go on in spite of it."""
        if not recorder.began:
            return error
        hint = Hint(
            f"go on from the last checkpoint: netspec train --resume {recorder.folder.path}"
        )
        first, *others = error.diagnostics
        return NetspecError([replace(first, hints=(*first.hints, hint)), *others])
