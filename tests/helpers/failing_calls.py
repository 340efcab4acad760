"""A system in which one call fails: the n-th that opens, writes, renames or removes something in a
folder.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)
# The calls of `os` whose first argument is a path, and those whose first argument is a file
# descriptor.
_OF_PATHS = ("open", "mkdir", "rmdir", "unlink", "remove", "rename", "replace", "chmod")
_OF_FILES = ("fsync", "ftruncate", "close", "write")


class FailingCalls:
    """Counts the calls that touch a folder, and lets one of them fail.

    Args:
        folder: the folder; nothing outside of it fails.
        number: the number of the call that fails, from 0; None if none fails.

    Attributes:
        made: a description of every call so far.
    """

    def __init__(self, folder: Path, number: int | None = None) -> None:
        self._folder = os.path.realpath(folder)
        self._number = number
        self.made: list[str] = []

    def reach(self, what: str, path: object) -> None:
        """Record a call, and fail if it is the one that must fail."""
        place = os.path.join(os.getcwd(), os.fsdecode(path))  # type: ignore[arg-type]
        if not f"{place}{os.sep}".startswith(f"{self._folder}{os.sep}"):
            return
        self.made.append(f"{what} {os.path.relpath(place, self._folder)}")
        if len(self.made) - 1 == self._number:
            code = ERRORS[self._number % len(ERRORS)]
            raise OSError(code, os.strerror(code), path)


class _File:
    """A file whose writes can fail, and its `close`."""

    def __init__(self, file: Any, calls: FailingCalls, path: str) -> None:
        self._file, self._calls, self._path = file, calls, path

    def write(self, content: Any) -> Any:
        self._calls.reach("write", self._path)
        return self._file.write(content)

    def truncate(self, *size: int) -> Any:
        self._calls.reach("truncate", self._path)
        return self._file.truncate(*size)

    def close(self) -> None:
        open_before = not self._file.closed
        self._file.close()
        if open_before:
            self._calls.reach("close", self._path)

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _path_of(handle: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{handle}")
    except OSError:
        return "/"


@contextmanager
def failing(folder: Path, number: int | None = None) -> Iterator[FailingCalls]:
    """Let one call in a folder fail while the context is active."""
    calls = FailingCalls(folder, number)
    real_open, real_fdopen = builtins.open, os.fdopen

    def of_path(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *others: Any, **named: Any) -> Any:
            if not isinstance(path, int):
                calls.reach(name, path)
            return real(path, *others, **named)

        return call

    def of_file(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(handle: Any, *others: Any) -> Any:
            path = _path_of(handle if isinstance(handle, int) else handle.fileno())
            if name == "close":  # a file is closed even if `close` fails
                real(handle, *others)
                calls.reach(name, path)
                return None
            calls.reach(name, path)
            return real(handle, *others)

        return call

    def opened(path: Any, mode: str = "r", *others: Any, **named: Any) -> Any:
        if isinstance(path, int):
            return real_open(path, mode, *others, **named)
        calls.reach("open", path)
        file = real_open(path, mode, *others, **named)
        return file if set(mode) <= set("rbtU") else _File(file, calls, os.fspath(path))

    def fdopened(handle: int, mode: str = "r", *others: Any, **named: Any) -> Any:
        file, path = real_fdopen(handle, mode, *others, **named), _path_of(handle)
        return file if set(mode) <= set("rbtU") else _File(file, calls, path)

    with ExitStack() as patches:
        for names, wrapper in ((_OF_PATHS, of_path), (_OF_FILES, of_file)):
            for name in names:
                made = wrapper(name, getattr(os, name))
                patches.enter_context(mock.patch.object(os, name, made))
        patches.enter_context(mock.patch.object(os, "fdopen", fdopened))
        patches.enter_context(mock.patch.object(builtins, "open", opened))
        patches.enter_context(mock.patch.object(io, "open", opened))
        yield calls
