"""Files that are whole whatever happens: written beside, made durable, then put in place.

What was there before stays until the new content is safely on the disk, so that a crash, a full
disk or a cut cable leaves the old file or the new one, and never a piece.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.files.regular_file import kind_of

_PART = ".part"
# As many characters of a name, of four bytes at most, as leave room for the rest of 255 bytes.
_NAME_PART = 50


def write_all(file: BinaryIO, content: bytes) -> None:
    """Write `content` to an open file. All that is written durably goes through here."""
    rest = memoryview(content)
    while rest:  # an unbuffered file may take a part
        rest = rest[file.write(rest) :]


def write_durably(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; once this returns, it survives a power cut.

    Who may read and write a file that is there stays. A link is replaced, not followed.

    Raises:
        OSError: nothing was put in place, and nothing is left beside.
    """
    # A name that nobody can foretell, and not longer than the system allows.
    prefix = f".{path.name[:_NAME_PART]}."
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=_PART)
    try:
        with os.fdopen(handle, "wb") as file:
            write_all(file, content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, _mode(path))  # mkstemp's files are for the owner alone
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make durable which files a folder holds."""
    if os.name != "posix":  # Windows cannot open a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def clear_parts(folder: Path) -> None:
    """Remove what a killed process was writing beside the files of a folder."""
    for part in folder.glob(f".*{_PART}"):
        if kind_of(part) != "folder":
            part.unlink(missing_ok=True)


@contextmanager
def told_plainly(path: Path, kept: str = "") -> Iterator[None]:
    """An operating system that refuses to write is an ordinary error.

    Args:
        path: What is being written, for the message.
        kept: What is safe in spite of it, for the advice.

    Raises:
        NetspecError: `output/disk-full` for a full disk or quota, `output/unwritable` otherwise.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            advice = "free some space on the disk" + (f"; {kept}" if kept else "")
            message = f"the disk is full: cannot write {path} ({reason})"
            raise NetspecError.simple(codes.OUTPUT_DISK_FULL, message, advice) from None
        message = f"cannot write {path}: {reason}"
        raise NetspecError.simple(codes.OUTPUT_UNWRITABLE, message, kept or None) from None


def _mode(path: Path) -> int:
    """Who may do what with a file: as it is there, or as new files are."""
    try:
        there = path.lstat().st_mode
    except FileNotFoundError:
        there = 0
    return there & 0o777 if stat.S_ISREG(there) else 0o666 & ~_umask()


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
