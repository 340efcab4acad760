"""A progress line on stderr, shown only if stderr is a terminal."""

from __future__ import annotations

import shutil
import sys
from types import TracebackType

from netspec.text.printable import printable


class LiveLine:
    """A line that is redrawn in place and erased at the end. Without a terminal nothing is drawn."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr is not None and sys.stderr.isatty()

    def __enter__(self) -> LiveLine:
        return self

    def show(self, text: str) -> None:
        """Draw the line, cut to the width of the terminal."""
        if self._is_shown:
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(f"\r\x1b[K{printable(text)[:width]}")
            sys.stderr.flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.show("")
