"""Opens zip archives of any origin. The list of members is bounded, and so is decompression's memory."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from netspec.files.regular_file import open_regular
from netspec.files.unsound import UnsoundFileError

# A limit on the size of the list of members: zipfile keeps about a kilobyte for each member,
# however many the archive claims.
MAX_DIRECTORY = 4 << 20
# LZMA is not accepted: its decompressor takes as much memory as the file asks for.
_READ = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


class ArchiveError(UnsoundFileError):
    """The file is not a valid zip archive of stored or deflated members; the message says why."""


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive; errors while its members are read are raised as `ArchiveError` too.

    Raises:
        ArchiveError: see the class.
    """
    try:
        with open_regular(path) as file:
            limited = _Limited(file)
            with zipfile.ZipFile(cast("IO[bytes]", limited)) as archive:
                limited.limit = None
                yield archive
    except UnsoundFileError:
        raise
    # zipfile raises NotImplementedError for rare compression methods, RuntimeError for encryption.
    except (OSError, EOFError, ValueError, RuntimeError, OverflowError, MemoryError) as error:
        raise ArchiveError(f"cannot be read: {_reason(error)}") from None
    except (zipfile.BadZipFile, zlib.error, struct.error) as error:
        raise ArchiveError(f"not a valid zip archive: {_reason(error)}") from None


def check_member(info: zipfile.ZipInfo) -> None:
    """Check that a member can be read with little memory besides its own.

    Raises:
        ArchiveError: if it is encrypted, or compressed by a method other than deflate.
    """
    if info.compress_type not in _READ or info.flag_bits & 1:
        raise ArchiveError(f"{info.filename[:80]} is encrypted, or not deflated and not stored")


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


class _Limited:
    """A file that refuses long reads while a limit is set."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.limit: int | None = MAX_DIRECTORY

    def read(self, count: int = -1) -> bytes:
        if self.limit is None:
            return self._file.read(count)
        if count > self.limit:
            raise ArchiveError("its list of members is too long")
        found = self._file.read(self.limit + 1 if count < 0 else count)
        if len(found) > self.limit:
            raise ArchiveError("its list of members is too long")
        return found

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True
