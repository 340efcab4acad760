"""Arrays in NumPy's `.npy` format: reads the header, and no more numbers than it announces.

Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from netspec.files.unsound import UnsoundFileError

_MAGIC = b"\x93NUMPY"
# The bytes that hold the header's length, by version.
_LENGTHS: Mapping[tuple[int, int] | None, int] = {(1, 0): 2, (2, 0): 4}
_NAMES = {"descr", "fortran_order", "shape"}
_ENTRY = re.compile(
    r"""(?P<quote>['"])(?P<name>\w+)(?P=quote)\s*:\s*"""
    r"""(?:['"](?P<text>[^'"]*)['"]|(?P<bool>True|False)|\((?P<sizes>[\dL,\s]*)\))\s*,?"""
)
_DICT = re.compile(r"\s*\{\s*\}\s*")
_NUMBERS = re.compile(r"[<>|=]?[biuf?]\d{0,2}")
_STRINGS = re.compile(r"[<>|=]?[US][1-9]\d{0,5}")
_MAX_LENGTH, _MAX_DIMENSIONS, _MAX_DIGITS = 10_000, 8, 14
_CHUNK = 1 << 20


@dataclass(frozen=True)
class NpyHeader:
    """The contents of the header of an `.npy` file.

    Attributes:
        shape: The shape of the array.
        dtype: Bools, integers or floats; strings where they were asked for.
        fortran: True if the first index changes fastest.
        start: The position in the file where the numbers begin.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    start: int

    @property
    def end(self) -> int:
        """The size of the file in bytes."""
        return self.start + math.prod(self.shape) * self.dtype.itemsize


def read_header(stream: IO[bytes], *, strings: bool = False) -> NpyHeader:
    """Read a header; the stream is left at the beginning of the numbers.

    Args:
        stream: The file.
        strings: Whether it is an array of strings that is wanted, and not one of numbers.

    Raises:
        UnsoundFileError: If it is not a header, or not of such an array.
    """
    start = stream.read(len(_MAGIC) + 2)
    version = (start[-2], start[-1]) if start[:-2] == _MAGIC else None
    if version not in _LENGTHS:
        found = ".".join(map(str, version)) if version else "none"
        raise UnsoundFileError(f"has npy version {found}; 1.0 and 2.0 are read")
    length = int.from_bytes(stream.read(_LENGTHS[version]), "little")
    if length > _MAX_LENGTH:
        raise UnsoundFileError(f"has a header of {length} bytes")
    text = stream.read(length).decode("latin-1")
    entries = {entry["name"]: entry for entry in _ENTRY.finditer(text)}
    # NumPy has Python evaluate this text. For arrays of numbers nothing in it is nested, so regular
    # expressions suffice.
    if set(entries) != _NAMES or not _DICT.fullmatch(_ENTRY.sub("", text)):
        raise UnsoundFileError("has no valid npy header")
    described, fortran, shape = (entries[name] for name in ("descr", "fortran_order", "shape"))
    sizes = [size for size in re.split(r"[\s,L]+", shape["sizes"] or "") if size]
    if shape["sizes"] is None or fortran["bool"] is None or described["text"] is None:
        raise UnsoundFileError("has no valid npy header")
    if len(sizes) > _MAX_DIMENSIONS or any(
        len(size) > _MAX_DIGITS or not size.isdecimal() for size in sizes
    ):
        raise UnsoundFileError("has an impossible shape")
    start_of_numbers = len(start) + _LENGTHS[version] + length
    dtype = _dtype(described["text"], strings=strings)
    return NpyHeader(tuple(map(int, sizes)), dtype, fortran["bool"] == "True", start_of_numbers)


def _dtype(described: str, *, strings: bool) -> np.dtype[Any]:
    if described.strip("|").startswith("O"):
        raise UnsoundFileError("holds pickled objects, which are never loaded")
    try:
        if not (_STRINGS if strings else _NUMBERS).fullmatch(described):
            raise TypeError
        return np.dtype(described)
    except TypeError:
        kind = described[:40] or "no"
        wanted = "names are strings" if strings else "images are integers or floats"
        raise UnsoundFileError(f"holds {kind} values; {wanted}") from None


def read_numbers(stream: IO[bytes], header: NpyHeader) -> NDArray[Any]:
    """Read the numbers that a header announces, up to the end of the stream.

    Raises:
        UnsoundFileError: If there are fewer or more.
    """
    flat = np.empty(math.prod(header.shape), header.dtype)
    rest = flat.view(np.uint8).data if flat.size else memoryview(b"")
    while rest:
        chunk = stream.read(min(_CHUNK, len(rest)))
        if not chunk:
            raise UnsoundFileError(f"is cut short: {len(rest)} bytes are missing")
        rest[: len(chunk)], rest = chunk, rest[len(chunk) :]
    if stream.read(1):
        raise UnsoundFileError("has more data than its header says")
    return flat.reshape(header.shape, order="F" if header.fortran else "C")
