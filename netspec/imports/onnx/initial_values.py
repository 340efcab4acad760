"""What an array of a file begins with in a net of its own: a rule, or the numbers themselves."""

from __future__ import annotations

import numpy as np

from netspec.imports.imported_net import Constant
from netspec.imports.onnx.proto_file import Array

# So many numbers are written into the file; more are only in the weights.
_MOST_WRITTEN = 4096


def initial_value(array: Array, kind: str, *, divides: bool) -> str | tuple[Constant, ...]:
    """Return an initial value as `ImportedTensor` has it.

    Args:
        array: the numbers in the file.
        kind: `parameter`, `buffer` or `constant`. The numbers of a buffer and of a constant are
            written where they are not many, for they are no matter of chance.
        divides: whether a value is divided by them: then they do not begin at 0.
    """
    is_real = array.dtype.kind == "f"
    single = array.astype(np.float32) if is_real else array
    if kind == "parameter":
        return "ones" if divides else "zeros"
    if is_real and (single == single.flat[:1]).all():
        (number,) = _listed(single.reshape(-1)[:1])
        return {"0": "zeros", "1": "ones"}.get(str(number), f"constant({number})")
    if array.size > _MOST_WRITTEN:
        return "ones" if divides else "zeros"
    return _nested(single)


def _nested(array: Array) -> tuple[Constant, ...]:
    if array.ndim < 2:
        return tuple(_listed(array.reshape(-1)))
    return tuple(map(_nested, array))


def _listed(array: Array) -> list[Constant]:
    """Return numbers with the fewest digits that are these in their precision: 0.485."""
    if array.dtype.kind != "f":
        return list(array.tolist())
    return [int(n) if n.is_integer() else n for n in (float(str(number)) for number in array)]
