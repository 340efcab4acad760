"""Writes a result to the path that the user named: a regular file is replaced as a whole."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from netspec.files.regular_file import NUL_IN_PATH
from netspec.runtime.weights.atomic_write import told_plainly, write_all, write_durably


def write_output(path: Path, content: bytes) -> None:
    """Write a result to the path that the user named.

    A regular file is replaced as a whole or left unchanged; a symbolic link is followed and kept. A
    device or a FIFO is opened and written to, and never replaced by a file.

    Raises:
        OSError: see `check_output_file`; an existing regular file is unchanged.
    """
    place = _regular_place(path)
    if place is not None:
        write_durably(place, content)
        return
    handle = os.open(path, os.O_WRONLY | getattr(os, "O_NOCTTY", 0))
    with os.fdopen(handle, "wb") as file:
        write_all(file, content)


def check_output_file(path: Path) -> None:
    """Refuse now what `write_output` could not write later.

    Raises:
        NetspecError: `output/unwritable` for a folder, a socket, a read-only file, a file in a
            folder that is missing or not writable, and links that lead to themselves.
    """
    with told_plainly(path):
        _regular_place(path)


def _regular_place(path: Path) -> Path | None:
    """Return the regular file that a path refers to, existing or not; None for devices and FIFOs."""
    try:
        there = path.stat()
    except FileNotFoundError:
        there = None
    except ValueError:
        raise OSError(errno.EINVAL, NUL_IN_PATH) from None
    place = Path(os.path.realpath(path))
    if there is not None:
        if stat.S_ISDIR(there.st_mode):
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if stat.S_ISSOCK(there.st_mode):
            raise OSError(errno.ENXIO, "it is a socket")
        # Root may write to anything, but does not mean to where nobody has permission.
        if not os.access(path, os.W_OK) or not there.st_mode & 0o222:
            raise PermissionError(errno.EACCES, "it is read-only")
        if not stat.S_ISREG(there.st_mode) or not _is_the_same(place, there):
            return None
    folder = place.parent if path.is_symlink() else path.parent  # as it was given, for messages
    if not folder.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise PermissionError(errno.EACCES, f"the folder {folder} is not writable")
    return place


def _is_the_same(place: Path, there: os.stat_result) -> bool:
    """Return True if a name leads to a file; a file that was removed while open has no name any more."""
    try:
        return os.path.samestat(place.stat(), there)
    except OSError:
        return False
