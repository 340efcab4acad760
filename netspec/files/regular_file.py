"""Opens regular files only, and files inside a folder; the checks are made on the opened file itself.

A FIFO, a socket or a device in place of a file would keep a program waiting, or feed it endless
data.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path, PurePath
from typing import BinaryIO

# Windows has none of these except the last, without which it opens files as text.
_CLOSED_LATER = getattr(os, "O_CLOEXEC", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
_NO_TEXT = getattr(os, "O_BINARY", 0)
NUL_IN_PATH = "embedded null byte"
"""What is wrong with a path that has a NUL in it; Python's own words depend on its version."""

_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _CLOSED_LATER


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading; symbolic links to one are followed.

    Raises:
        OSError: if there is none, it is not a regular file, or the system refuses.
    """
    try:
        handle = os.open(path, os.O_RDONLY | _NO_WAIT | _NO_TEXT | _CLOSED_LATER)
    except ValueError:
        raise OSError(errno.EINVAL, NUL_IN_PATH) from None
    return _opened(handle)


def read_regular(path: str | os.PathLike[str], most: int | None = None) -> bytes:
    """Return the contents of a regular file of at most `most` bytes.

    Raises:
        OSError: as for `open_regular`, or if the file is larger.
    """
    with open_regular(path) as file:
        if most is None:
            return file.read()
        # A file may be larger than the memory, and one of a file system such as proc says 0.
        is_larger = os.fstat(file.fileno()).st_size > most
        found = b"" if is_larger else file.read(most + 1)
    if is_larger or len(found) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most:,} bytes")
    return found


def holds(path: str | os.PathLike[str], content: bytes) -> bool:
    """Whether the contents of a regular file are these bytes; no more than that is read of it.

    Raises:
        OSError: as for `open_regular`.
    """
    with open_regular(path) as file:
        return file.read(len(content) + 1) == content


def read_end(path: str | os.PathLike[str], count: int) -> bytes:
    """Return the last bytes of a regular file, up to `count` of them.

    Raises:
        OSError: as for `open_regular`.
    """
    with open_regular(path) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - count))
        return file.read(count)


def open_below(folder: Path, inside: PurePath) -> BinaryIO:
    """Open a regular file for reading, by a path below a folder that must not contain a symbolic link.

    Each folder on the way is opened relative to the one before, so a link that is created meanwhile
    cannot lead elsewhere. (Windows cannot do this: there, the path is opened as a whole.)

    Raises:
        OSError: if there is no such file, a part of the path is a link, or it is not a regular
            file.
    """
    if inside.is_absolute() or ".." in inside.parts or not inside.parts:
        raise ValueError(f"{inside} does not lie below a folder")
    if os.open not in os.supports_dir_fd:
        return open_regular(folder / inside)
    *folders, name = inside.parts
    handle = os.open(folder, _FOLDER)
    try:
        for each in folders:
            below = os.open(each, _FOLDER | _NO_LINK, dir_fd=handle)
            os.close(handle)
            handle = below
        flags = os.O_RDONLY | _NO_LINK | _NO_WAIT | _CLOSED_LATER
        return _opened(os.open(name, flags, dir_fd=handle))
    finally:
        os.close(handle)


def open_own(path: Path) -> BinaryIO:
    """Open a file for appending or truncating, creating it if needed; never through a symbolic link.

    Raises:
        OSError: if it is a link or not a regular file, or the system refuses.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
    flags |= _NO_LINK | _NO_WAIT | _NO_TEXT | _CLOSED_LATER
    return _opened(os.open(path, flags, 0o666), "r+b")


def open_new(path: Path) -> BinaryIO:
    """Create a file and open it for writing; the name must not exist, not even as a link.

    Raises:
        OSError: `FileExistsError` if the name exists, or if the system refuses.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    return _opened(os.open(path, flags | _NO_LINK | _NO_TEXT | _CLOSED_LATER, 0o666), "wb")


def kind_of(path: Path) -> str | None:
    """Return what a path is: `file`, `folder`, `link`, `no file` (FIFO, device) or None for nothing.

    Raises:
        OSError: if it cannot be examined.
    """
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
    return kinds.get(stat.S_IFMT(mode), "no file")


def _opened(handle: int, mode: str = "rb") -> BinaryIO:
    """Return a file object for a descriptor of a regular file; one for writing is unbuffered."""
    try:
        kind = os.fstat(handle).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(kind):
            raise OSError(errno.EINVAL, "it is not a regular file")
        return os.fdopen(handle, mode, -1 if mode == "rb" else 0)  # type: ignore[return-value]
    except BaseException:
        os.close(handle)
        raise
