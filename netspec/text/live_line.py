"""A progress line on stderr."""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType

from netspec.text.printable import printable


class LiveLine:
    """A line that is redrawn in place and erased at the end.

    Without a terminal nothing is drawn, unless there is a time `quiet_for` in seconds: what is shown
    after so long is a line of its own, for a log or a person who wonders.
    """

    def __init__(self, quiet_for: float | None = None) -> None:
        self._is_shown = sys.stderr is not None and sys.stderr.isatty()
        self._quiet_for = quiet_for
        self._started = time.monotonic()

    def __enter__(self) -> LiveLine:
        return self

    def show(self, text: str) -> None:
        """Draw the line, cut to the width of the terminal."""
        if self._is_shown:
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(f"\r\x1b[K{printable(text)[:width]}")
            sys.stderr.flush()
        elif text and self._is_long():
            sys.stderr.write(f"{printable(text)} ...\n")
            sys.stderr.flush()

    def _is_long(self) -> bool:
        if self._quiet_for is None or sys.stderr is None:
            return False
        return time.monotonic() - self._started >= self._quiet_for

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.show("")
