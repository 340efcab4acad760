"""Weights files in the safetensors format, using only the standard library and NumPy.

A file is 8 bytes with a length, JSON of this length, and the numbers. Nothing in it is executed,
and no size in it is used before it is compared with the size of the file.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from netspec.runtime.weights.safetensors_header import MAX_HEADER, check_items

TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the arrays of a file by name, and its metadata.

    Raises:
        ValueError: if the file is not valid.
    """
    with Path(path).open("rb") as file:
        return tensors_in(file, os.fstat(file.fileno()).st_size, os.fspath(path))


def tensors_in(
    file: BinaryIO, total: int, path: str
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the arrays and the metadata of an open file of so many bytes; see `read_tensors`."""
    size = total - 8
    length = int.from_bytes(file.read(8), "little")
    if size < 0 or length > min(size, MAX_HEADER):
        raise ValueError(f"{path}: not a safetensors file: a header of {length} bytes")
    try:
        text = file.read(length)
        check_items(text)
        header = json.loads(text)
        metadata = header.pop("__metadata__", {})
        entries = [(*_entry(tensor), name) for name, tensor in header.items()]
        if not all(isinstance(text, str) for text in metadata.values()):
            raise ValueError("its metadata are not all strings")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: not a valid safetensors file: {error}") from None
    content = file.read()
    at = 0
    tensors = {}
    for start, stop, dtype, shape, name in sorted(entries, key=lambda entry: entry[:2]):
        # The tensors in the header must cover each byte of the file once.
        if start != at or stop > len(content) or stop - start != prod(shape) * dtype.itemsize:
            raise ValueError(f"{path}: the place of `{name}` in the file is wrong")
        flat = np.frombuffer(content, dtype, prod(shape), start)
        tensors[name] = flat.reshape(shape)
        at = stop
    if at != len(content):
        raise ValueError(f"{path}: {len(content) - at} bytes that belong to nothing")
    return tensors, metadata


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]
) -> None:
    """Write a file, completely or not at all.

    A link is followed and kept; a device is written to directly.
    """
    codes = {np.dtype(code): name for name, code in TYPES.items()}
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    at = 0
    for name, tensor in tensors.items():
        span = [at, at + tensor.nbytes]
        header[name] = {
            "dtype": codes[tensor.dtype], "shape": list(tensor.shape), "data_offsets": span
        }  # fmt: skip
        at += tensor.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    content = b"".join(
        [len(text).to_bytes(8, "little"), text, *(tensor.tobytes() for tensor in tensors.values())]
    )
    place = Path(os.path.realpath(path))
    if place.exists() and not place.is_file():
        place.write_bytes(content)
        return
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".") as own:
        part = Path(own) / "part"
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(place)


def _entry(tensor: Any) -> tuple[int, int, np.dtype[Any], tuple[int, ...]]:
    """Return a tensor's position, type and shape, checked to be of the right types."""
    start, stop = tensor["data_offsets"]
    shape = tensor["shape"]
    if tensor["dtype"] not in TYPES:
        raise ValueError(f"values of type {str(tensor['dtype'])[:40]!r}, which NumPy lacks")
    if (
        not isinstance(shape, list)
        or len(shape) > 32
        or not all(type(n) is int and 0 <= n < 1 << 48 for n in (start, stop, *shape))
    ):
        raise ValueError("a shape or a place that is no list of sizes")
    return start, stop, np.dtype(TYPES[tensor["dtype"]]), tuple(shape)
