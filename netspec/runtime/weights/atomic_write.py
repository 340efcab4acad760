"""Atomic writes: a file is written under another name, made durable, and then renamed.

The old content stays until the new content is safely on disk, so that a crash, a full disk or a
power failure leaves the old file or the new one, and never a part of one.
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
# The number of characters of a name, each of at most four bytes, that leave room for the suffix in
# 255 bytes.
_NAME_PART = 50


def write_all(file: BinaryIO, content: bytes) -> None:
    """Write `content` to an open file. All durable writes use this function."""
    rest = memoryview(content)
    while rest:  # an unbuffered file may write only a part
        rest = rest[file.write(rest) :]


def write_durably(path: Path, content: bytes) -> None:
    """Write a file completely or not at all; once this returns, it survives a power failure.

    The permissions of an existing file are kept. A link is replaced, not followed.

    Raises:
        OSError: if it fails; the old file is unchanged, and no temporary file is left.
    """
    # A name that cannot be guessed, and is not longer than the system allows.
    prefix = f".{path.name[:_NAME_PART]}."
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=_PART)
    try:
        with os.fdopen(handle, "wb") as file:
            write_all(file, content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, _mode(path))  # mkstemp makes files that only the owner can access
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the list of files in a folder durable."""
    if os.name != "posix":  # Windows cannot open a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def clear_parts(folder: Path) -> None:
    """Remove temporary files of killed processes from a folder."""
    for part in folder.glob(f".*{_PART}"):
        if kind_of(part) != "folder":
            part.unlink(missing_ok=True)


@contextmanager
def told_plainly(path: Path, kept: str = "") -> Iterator[None]:
    """Context manager: turns errors of the operating system when writing into a NetspecError.

    Args:
        path: The file being written, for the message.
        kept: What is safe despite the error, for the advice.

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
    """Return the permissions of a file: its own if it exists, else those of new files."""
    try:
        there = path.lstat().st_mode
    except FileNotFoundError:
        there = 0
    return there & 0o777 if stat.S_ISREG(there) else 0o666 & ~_umask()


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
