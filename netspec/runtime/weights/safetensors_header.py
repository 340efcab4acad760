"""Checks the header of a safetensors file before it is parsed."""

from __future__ import annotations

import os
from pathlib import Path

from netspec.files.regular_file import open_regular
from netspec.files.unsound import UnsoundFileError
from netspec.runtime.weights.host import machine_memory

# The library accepts no longer header. netspec's is mostly text: a mean image is one string of any
# length.
MAX_HEADER = 100_000_000
# Parsing makes an object for each bracket and each comma. A tensor has nine of them.
MAX_ITEMS = 500_000


def check_header(path: Path) -> bytes:
    """Read the header; refuse a file that would take more memory or time to parse than weights do.

    The metadata are JSON inside JSON, and their brackets and commas are counted too.

    Raises:
        ValueError: for such a file, and for one larger than this machine's memory.
        OSError: if it cannot be read, or is not a regular file.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > machine_memory():
            raise UnsoundFileError("it is larger than the memory of this machine")
        header = file.read(min(int.from_bytes(file.read(8), "little"), size, MAX_HEADER))
    check_items(header)
    return header


def check_items(header: bytes) -> None:
    """See `check_header`.

    Raises:
        ValueError: if there are too many.
    """
    if sum(map(header.count, (b"{", b"[", b","))) > MAX_ITEMS:
        raise ValueError("its header has more items than the weights of any net")
