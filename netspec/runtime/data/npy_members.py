"""Arrays in NumPy's `.npy` format that are members of a zip archive, which is what an `.npz` is."""

from __future__ import annotations

import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from netspec.files.unsound import UnsoundFileError
from netspec.files.zip_archive import check_member
from netspec.runtime.data.npy_array import NpyHeader, read_header, read_numbers

# The limit on the compression ratio of numbers, unless the archive is small anyway.
_MAX_RATIO, _SMALL = 100, 1 << 27
_MOST_NAME_BYTES = 1 << 20


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


def member_names(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[str, ...]:
    """Read a member that is a list of strings, different names of a line each.

    Raises:
        UnsoundFileError: if it is none, or holds more than a mebibyte.
    """
    check_member(info)
    if info.file_size > _MOST_NAME_BYTES:
        raise UnsoundFileError(f"{info.filename} has more than {_MOST_NAME_BYTES:,} bytes of names")
    with _named(info), archive.open(info) as stream:
        header = read_header(stream, strings=True)
        if header.end != info.file_size or len(header.shape) != 1:
            raise UnsoundFileError("is no list of names")
        return sound_names(read_numbers(stream, header))


def sound_names(names: NDArray[Any]) -> tuple[str, ...]:
    """Return an array of strings, which is not trusted, as names without space around them.

    Raises:
        UnsoundFileError: for names that are empty, there twice, or of anything but printed characters.
    """
    if names.dtype.kind == "U":
        codes = names.view(f"{names.dtype.byteorder}u4")
        if codes.max(initial=0) > sys.maxunicode:  # of which NumPy makes no text, but a SystemError
            raise UnsoundFileError("holds names that are no text")
    try:
        listed = [each.decode() if isinstance(each, bytes) else each for each in names.tolist()]
    except UnicodeDecodeError:
        raise UnsoundFileError("holds names that are no text") from None
    found = [each.strip() for each in listed]
    for number, name in enumerate(found):
        if not name or not name.isprintable():
            raise UnsoundFileError(f"has no name for class {number}, but {name[:40]!a}")
    if twice := next((name for name, times in Counter(found).items() if times > 1), None):
        raise UnsoundFileError(f"names two classes `{twice[:40]}`")
    return tuple(found)


@contextmanager
def _named(info: zipfile.ZipInfo) -> Iterator[None]:
    try:
        yield
    except UnsoundFileError as error:
        raise UnsoundFileError(f"{info.filename} {error}") from None
