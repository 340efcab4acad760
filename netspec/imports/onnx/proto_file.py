"""Reads an ONNX file, which nobody vouches for: bounded, and nothing outside of its folder."""

from __future__ import annotations

import math
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.compiler.onnx_backend import require_onnx
from netspec.diagnostics import NetspecError
from netspec.files.regular_file import open_below, read_regular

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]

REAL = (1, 10, 11, 16)
"""ONNX's numbers for float, float16, double and bfloat16."""

# Protobuf itself has this limit.
_MOST_BYTES = 2**31 - 1
_MOST_AXES = 32

# Types with several numbers in a byte.
_PACKED = ("int4", "uint4", "int2", "uint2", "float4_e2m1fn")


def read_model(path: Path) -> onnx.ModelProto:
    """Return the model in a file, without the numbers that it has beside it.

    Raises:
        NetspecError: `file/unreadable`, `onnx/file`, `library/onnx`.
    """
    require_onnx()
    import onnx

    try:
        content = read_regular(path, _MOST_BYTES)
    except OSError as error:
        message = f"cannot read {path}: {error.strerror or error}"
        raise NetspecError.simple(codes.FILE_UNREADABLE, message) from None
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception:  # of google.protobuf, which has no types to name it by
        raise wrong(f"{path} is not an ONNX file") from None
    if not model.graph.node and not model.graph.output:
        raise wrong(f"{path} is not an ONNX file: it has no graph")
    return model


def wrong(message: str, help: str | None = None) -> NetspecError:
    """Return the error for a file that is broken or that holds more than is read."""
    return NetspecError.simple(codes.ONNX_FILE, message, help)


def stored_array(tensor: onnx.TensorProto, folder: Path) -> Array:
    """Return the numbers of a tensor, which may lie in a file in the folder.

    Raises:
        NetspecError: `onnx/file` if there are not as many as its shape says, or the file
            lies elsewhere.
    """
    from onnx import TensorProto, helper, numpy_helper

    shown = f"tensor `{shown_name(tensor.name)}`"
    if not isinstance(tensor.name, str):
        raise wrong("a name in the file is no text")
    dims = tuple(tensor.dims)
    if len(dims) > _MOST_AXES or any(size < 0 for size in dims):
        raise wrong(f"{shown} has an impossible shape")
    count = math.prod(dims)
    if count > _MOST_BYTES:
        raise wrong(f"{shown} says that it has {count:,} numbers")
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    except (KeyError, TypeError, ValueError):
        raise wrong(f"{shown} holds numbers of an unknown type, {tensor.data_type}") from None
    if tensor.data_location == TensorProto.EXTERNAL:
        return _external(tensor, folder, shown, dtype, count).reshape(dims)
    is_plain = tensor.HasField("raw_data") and dtype.name not in _PACKED
    if is_plain and dtype.itemsize * count != len(tensor.raw_data):
        raise wrong(f"{shown} has {len(tensor.raw_data):,} bytes, and not {count:,} numbers")
    try:
        array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, OverflowError, AttributeError, KeyError) as error:
        raise wrong(f"{shown} cannot be read: {error}") from None
    if array.size != count:
        raise wrong(f"{shown} has {array.size:,} numbers, and not {count:,}")
    return np.asarray(array)


def _external(
    tensor: onnx.TensorProto, folder: Path, shown: str, dtype: np.dtype[Any], count: int
) -> Array:
    about = {entry.key: entry.value for entry in tensor.external_data}
    location = about.get("location", "")
    try:
        offset = int(about.get("offset", "0"))
        length = int(about.get("length", str(dtype.itemsize * count)))
    except ValueError:
        raise wrong(f"{shown} says where its numbers are, but not in numbers") from None
    if offset < 0 or length != dtype.itemsize * count:
        raise wrong(f"{shown} has {length:,} bytes in another file, and not {count:,} numbers")
    inside = PurePath(location.replace("\\", "/"))
    try:
        with open_below(folder, inside) as file:
            file.seek(offset)
            content = file.read(length)
    except ValueError:
        where = f"`{shown_name(location)}`, which is not below the folder of the file"
        raise wrong(f"{shown} has its numbers in {where}") from None
    except OSError as error:
        where = f"`{shown_name(location)}`"
        raise wrong(f"{shown}: cannot read {where}: {error.strerror}") from None
    if len(content) != length:
        raise wrong(f"{shown}: `{shown_name(location)}` ends before its numbers do")
    return np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype)


def shown_name(name: str, longest: int = 80) -> str:
    """Return a name of a file as a message shows it: on one line, without control characters."""
    if not isinstance(name, str):
        return "?"
    text = "".join(c if c.isprintable() else "?" for c in name[: longest + 1])
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
