"""The kind of pickle that CIFAR-10 uses: dicts of lists, strings, and byte arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netspec.files.plain_pickle import Global, PickleRefusedError, load_pickle

_RECONSTRUCT = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
# One image in each row. More dimensions than NumPy allows would only be numbers that take long to
# multiply.
_MAX_DIMENSIONS = 4


class _ByteType:
    """Stands for numpy.dtype('u1')."""


@dataclass
class _Array:
    """An array whose shape and bytes come later in the file."""

    value: NDArray[np.uint8] | None = None


def load_dict(data: bytes) -> dict[str, object]:
    """Return the dict in a pickle: its keys are str; values are ints, str, bytes, lists, uint8 arrays.

    Strings of Python 2 pickles become str, one character for each byte (latin-1).

    Raises:
        PickleRefusedError: For anything else, with the reason.
    """
    result = load_pickle(data, _ByteArrays(len(data)))
    if not isinstance(result, dict) or not all(isinstance(key, str | bytes) for key in result):
        raise PickleRefusedError("refused: it holds no dict with text keys")
    return {
        key if isinstance(key, str) else key.decode("latin-1"): (
            value.value if isinstance(value, _Array) else value
        )
        for key, value in result.items()
    }


class _ByteArrays:
    """The three calls that NumPy writes for a uint8 array; see `Meaning`.

    Args:
        size: The size of the file. All bytes made from strings together may be no more, however
            often the file refers to a string.
    """

    def __init__(self, size: int) -> None:
        self._left = size

    def call(self, function: Global, arguments: object) -> object:
        match function.name, arguments:
            case name, (Global("numpy ndarray"), (0,), "b" | b"b") if name in _RECONSTRUCT:
                return _Array()
            case "numpy dtype", ("u1", 0, 1):  # False == 0 and True == 1: both spellings occur
                return _ByteType()
            case "_codecs encode", (str(text), "latin1"):  # how Python 3 writes bytes for Python 2
                return self._encoded(text)
        raise PickleRefusedError(f"refused: it calls {function.shown}; nothing in it is run")

    def set_state(self, target: object, state: object) -> None:
        match target, state:
            case _ByteType(), tuple():
                return  # byte order and alignment: irrelevant for single bytes
            case _Array(), (1, tuple(shape), _ByteType(), 0, str() | bytes() as raw):
                target.value = self._array(shape, raw)
                return
        raise PickleRefusedError(
            "refused: it sets the state of something that is not an array of bytes"
        )

    def persistent(self, reference: object) -> object:
        raise PickleRefusedError("refused: it refers to something outside the file")

    def _array(self, shape: tuple[object, ...], raw: str | bytes) -> NDArray[np.uint8]:
        content = self._encoded(raw) if isinstance(raw, str) else raw
        sizes = [size for size in shape if isinstance(size, int) and 0 <= size <= len(content)]
        if len(sizes) != len(shape) or len(shape) > _MAX_DIMENSIONS:
            raise PickleRefusedError(f"damaged: not the shape of an array of {len(content)} bytes")
        if math.prod(sizes) != len(content):
            raise PickleRefusedError(
                f"damaged: an array of shape {sizes} with {len(content)} bytes"
            )
        return np.frombuffer(content, np.uint8).reshape(sizes)

    def _encoded(self, text: str) -> bytes:
        self._left -= len(text)
        if self._left < 0:
            raise PickleRefusedError("refused: it expands to more bytes than it has")
        return text.encode("latin-1")
