"""Operators of old opsets in the form of a late one.

What an old operator has as an attribute is an input now, attributes that only said what is always
done now are gone, and all others have their defaults.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

# The opset whose defaults count: netspec's own forms are written for it too.
LATE = 21

# For each operator the first opset that takes these attributes as inputs, and where they stand.
_AS_INPUTS: dict[str, tuple[int, Mapping[str, int]]] = {
    "Clip": (11, {"min": 1, "max": 2}),
    "Dropout": (12, {"ratio": 1}),
    "Pad": (11, {"pads": 1, "value": 2}),
    "Reshape": (5, {"shape": 1}),
    "Slice": (10, {"starts": 1, "ends": 2, "axes": 3}),
    "Split": (13, {"split": 1}),
    "Squeeze": (13, {"axes": 1}),
    "TopK": (10, {"k": 1}),
    "Unsqueeze": (13, {"axes": 1}),
    "Upsample": (9, {"scales": 1}),
    "ReduceSum": (13, {"axes": 1}),
    **{
        f"Reduce{name}": (18, {"axes": 1})
        for name in ("Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")
    },
}
_ALIASES = {("Pad", "paddings"): "pads"}

# Attributes that are gone, or whose value makes no difference when a model only predicts.
_GONE = {
    "": ("consumed_inputs",),
    "BatchNormalization": ("spatial", "is_test"),
    "Dropout": ("is_test", "seed"),
    "MaxPool": ("storage_order",),
    "Gemm": ("broadcast",),
}
# Defaults that the first opset had and later ones do not state.
_OLD_DEFAULTS: dict[tuple[str, str], tuple[int, object]] = {
    ("Concat", "axis"): (4, 1),
    ("Softmax", "axis"): (13, 1),
    ("LogSoftmax", "axis"): (13, 1),
    ("Hardmax", "axis"): (13, 1),
}


_WINDOWS = ("Conv", "ConvTranspose", "MaxPool", "AveragePool")


@dataclass(frozen=True)
class Aligned:
    """An input whose first axis lies along an axis of the other one."""

    value: Any
    axis: int


@dataclass(frozen=True)
class Modern:
    """An operator: what it is, its inputs as texts or arrays, and its attributes."""

    operator: str
    inputs: tuple[Any, ...]
    attributes: dict[str, Any]


def modern(
    operator: str, inputs: Sequence[Any], attributes: Mapping[str, Any], opset: int
) -> Modern:
    """Return an operator of an opset in the late form.

    Among its inputs are arrays that were attributes, and None for what is left out.
    """
    given = {_ALIASES.get((operator, n), n): v for n, v in attributes.items()}
    for name in (*_GONE[""], *_GONE.get(operator, ())):
        given.pop(name, None)
    for (of, name), (until, value) in _OLD_DEFAULTS.items():
        if of == operator and opset < until:
            given.setdefault(name, value)
    found = list(inputs)
    since, places = _AS_INPUTS.get(operator, (0, {}))
    for name, place in places.items() if opset < since else ():
        if name in given:
            found += [None] * (place + 1 - len(found))
            found[place] = _array(given.pop(name))
    if opset < 7 and given.pop("broadcast", 0) and "axis" in given:
        found[1] = Aligned(found[1], int(given.pop("axis")))
    if operator in _WINDOWS:
        count = len(given.get("kernel_shape", ()))
        given = {"strides": (1,) * count, "dilations": (1,) * count, **given}
        if given.get("auto_pad", "NOTSET") == "NOTSET":
            given.setdefault("pads", (0,) * 2 * count)
    if operator in ("Softmax", "LogSoftmax") and opset < 13:
        given["flattens"] = 1
    operator, found, given = _resized(operator, found, given, opset)
    return Modern(operator, tuple(found), {**defaults(operator), **given})


def _resized(
    operator: str, inputs: list[Any], given: dict[str, Any], opset: int
) -> tuple[str, list[Any], dict[str, Any]]:
    """Return `Upsample` and the first `Resize` as a late `Resize`."""
    is_first = operator == "Resize" and opset < 11 and len(inputs) == 2
    if operator != "Upsample" and not is_first:
        return operator, inputs, given
    mode = {"mode": given.get("mode", "nearest"), "nearest_mode": "floor",
            "coordinate_transformation_mode": "asymmetric"}  # fmt: skip
    return "Resize", [inputs[0], None, *inputs[1:]], mode


def fits_schema(read: Modern) -> bool:
    """Whether an operator has the inputs and the kinds of attributes that its definition asks for.

    One that the package onnx does not know has any.
    """
    schema = _schema(read.operator)
    if schema is None:
        return True
    count = len(read.inputs)
    if not schema.min_input <= count <= schema.max_input:
        return False
    if any(given is None for given in read.inputs[: schema.min_input]):
        return False
    return all(
        isinstance(value, _KINDS.get(str(schema.attributes[name].type).rpartition(".")[2], object))
        for name, value in read.attributes.items()
        if name in schema.attributes and value is not None
    )


# What attributes are in Python, by the names of their kinds.
_KINDS: dict[str, type | tuple[type, ...]] = {
    "INT": int, "FLOAT": (int, float), "STRING": str, "INTS": tuple, "FLOATS": tuple,
    "STRINGS": tuple, "TENSOR": np.ndarray,
}  # fmt: skip


def _schema(operator: str) -> onnx.defs.OpSchema | None:
    from onnx import defs

    try:
        return defs.get_schema(operator, LATE, "")
    except defs.SchemaError:
        return None


@functools.cache
def defaults(operator: str) -> Mapping[str, Any]:
    """Return the attributes of an operator that have default values."""
    import onnx
    from onnx import helper

    schema = _schema(operator)
    if schema is None:
        return {}
    return {
        name: plain(helper.get_attribute_value(attribute.default_value))
        for name, attribute in schema.attributes.items()
        if attribute.default_value.type != onnx.AttributeProto.UNDEFINED
    }


def plain(value: Any) -> Any:
    """Return an attribute as numbers, texts and tuples of these."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float):
        return single(value)
    if isinstance(value, (str, int)):
        return value
    if isinstance(value, Sequence):
        return tuple(plain(each) for each in value)
    return value


def single(value: float) -> float:
    """Return a number of single precision as a person would write it: six digits where the rest is
    noise, else as many as it takes.
    """
    short = float(f"{value:.6g}")
    if math.isclose(short, value, rel_tol=2e-7):
        return short
    return float(str(np.float32(value)))


def _array(value: Any) -> NDArray[Any]:
    whole = isinstance(value, int) or (
        isinstance(value, Sequence) and all(isinstance(each, int) for each in value)
    )
    return np.array(value, np.int64 if whole else np.float32)
