"""Operators before all others that normalise inputs, for callers that have them as they were before."""

from __future__ import annotations

from collections.abc import Mapping

from netspec import codes
from netspec.compiler.ir.graph import Shape
from netspec.compiler.ir.input_scale import InputScale
from netspec.compiler.ir.onnx_form import OnnxNode, OnnxTensor, OnnxValue
from netspec.compiler.ir.sizes import Size
from netspec.compiler.onnx_backend.program import Array
from netspec.diagnostics import NetspecError

# What the names of these operators begin with: `normalize_image/Sub`.
NORMALIZE = "normalize_"


def normalized_inputs(
    inputs: Mapping[str, OnnxValue],
    shapes: Mapping[str, Shape],
    scales: Mapping[str, InputScale],
) -> tuple[list[OnnxNode], dict[str, OnnxValue]]:
    """Return operators, and the values that layers read in place of the inputs.

    Raises:
        NetspecError: `compile/no-onnx` if the numbers are for one size and the net is for several.
    """
    nodes: list[OnnxNode] = []
    normal = dict(inputs)
    for name, scale in scales.items():
        _require_one_size(name, shapes[name], scale)
        for word, operator, numbers, is_there in (
            ("mean", "Sub", scale.mean, scale.shifts),
            ("scale", "Div", scale.scale, scale.divides),
        ):
            if is_there:
                made = OnnxValue()
                operand = _constant(f"{NORMALIZE}{name}/{word}", numbers, nodes)
                reads = (normal[name], operand)
                nodes.append(
                    OnnxNode(operator, reads, (made,), {}, name=f"{NORMALIZE}{name}/{operator}")
                )
                normal[name] = made
    return nodes, normal


def _require_one_size(name: str, shape: Shape, scale: InputScale) -> None:
    for values in (scale.mean, scale.scale):
        for many, size in zip(values.shape, shape, strict=True):
            if many != 1 and isinstance(size, Size):
                raise NetspecError.simple(
                    codes.COMPILE_NO_ONNX,
                    f"the weights normalise each place of `{name}`, which has one size, and the net"
                    " leaves it open",
                    "leave out --normalize, and normalise before",
                )


def _constant(name: str, numbers: Array, nodes: list[OnnxNode]) -> OnnxValue:
    value = OnnxValue()
    tensor = OnnxTensor(tuple(map(float, numbers.ravel())), numbers.shape, "float32")
    nodes.append(OnnxNode("Constant", (), (value,), {"value": tensor}, name=name))
    return value
