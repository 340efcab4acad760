"""Holds back what foreign code writes to standard error by its number, past Python."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from netspec.fork_lock import ForkLock

_STDERR = 2
_MOST = 1 << 16


class _Held:
    """Where standard error goes meanwhile. The first user turns it, the last turns it back.

    Each step leaves what `end` can undo: an interrupt may come after any of them.
    """

    def __init__(self) -> None:
        self._lock = ForkLock()
        self._users: set[object] = set()
        self._own = self._file = -1

    def begin(self, user: object) -> None:
        """Let standard error go to a file without a name, if it goes anywhere."""
        with self._lock.current:
            self._users.add(user)
            if len(self._users) > 1:
                return
            try:
                self._own = os.dup(_STDERR)
                with tempfile.TemporaryFile() as file:
                    self._file = os.dup(file.fileno())
            except OSError:  # it is closed, or there is no room for files
                return
            os.dup2(self._file, _STDERR)

    def end(self, user: object, *, drop: bool) -> None:
        """Turn standard error back, and write what came meanwhile, unless it is to be dropped."""
        with self._lock.current:
            self._users.discard(user)
            if self._users:
                return
            text = b""
            if self._own >= 0:
                os.dup2(self._own, _STDERR)
                os.close(self._own)
            if self._file >= 0:
                os.lseek(self._file, 0, os.SEEK_SET)
                text = b"" if drop else os.read(self._file, _MOST)
                os.close(self._file)
            self._own = self._file = -1
        if text:
            os.write(_STDERR, text)


_HELD = _Held()


@contextmanager
def held_stderr() -> Iterator[None]:
    """Context manager: what is written to file 2 is shown at the end; an exception drops it.

    Code in Rust describes its panics there before Python has them as exceptions.
    """
    user = object()
    try:
        _HELD.begin(user)
        yield
    except BaseException:
        _HELD.end(user, drop=True)
        raise
    _HELD.end(user, drop=False)
