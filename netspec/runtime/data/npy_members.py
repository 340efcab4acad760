"""Arrays in NumPy's `.npy` format that are members of a zip archive, which is what an `.npz` is."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from netspec.files.unsound import UnsoundFileError
from netspec.files.zip_archive import check_member
from netspec.runtime.data.npy_array import NpyHeader, read_header, read_numbers

# The limit on the compression ratio of numbers, unless the archive is small anyway.
_MAX_RATIO, _SMALL = 100, 1 << 27


def require_likely_size(total: int, size: int, what: str) -> None:
    """Check that an archive of `size` bytes does not unpack to far more than numbers do.

    Raises:
        UnsoundFileError: which says that no such `what` does.
    """
    if total > max(_SMALL, _MAX_RATIO * size):
        raise UnsoundFileError(
            f"takes {total // size} times its size in memory, which no {what} does"
            " (numpy.savez writes it uncompressed)"
        )


def member_header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NpyHeader:
    """Read the header of a member, and check that the member is as long as the header announces.

    Raises:
        UnsoundFileError: if it is not, if it is not an array of numbers, or if its compression is
            not supported.
    """
    check_member(info)
    with _named(info), archive.open(info) as stream:
        header = read_header(stream)
    if header.end != info.file_size:
        raise UnsoundFileError(
            f"{info.filename} should have {header.end} bytes and has {info.file_size}"
        )
    return header


def member_array(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, header: NpyHeader
) -> NDArray[Any]:
    """Read the array of the member that the header was read from.

    Raises:
        UnsoundFileError: if the header has changed since, or the numbers cannot be read.
    """
    with _named(info), archive.open(info) as stream:
        if read_header(stream) != header:
            raise UnsoundFileError("changed while it was being read")
        return read_numbers(stream, header)


@contextmanager
def _named(info: zipfile.ZipInfo) -> Iterator[None]:
    try:
        yield
    except UnsoundFileError as error:
        raise UnsoundFileError(f"{info.filename} {error}") from None
