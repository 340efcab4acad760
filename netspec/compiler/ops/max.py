"""The largest number."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.extreme import ExtremeOp


@register
class Max(ExtremeOp):
    """The largest number over axes; its gradient is shared by equal ones, as in PyTorch.

    y = max of x. With g = dL/dy: dL/dx = g / k at the k places of x that are equal to y, else 0.
    """

    name = "max"
    onnx_ends = ("ReduceMax",)
    onnx_operator = "ReduceMax"
    forward_kernel = "reductions.largest"
    method = "max"
    function = "torch.amax"
    aten = (
        AtenForm(("amax",), attributes={"axes": lambda call: call.axes("dim"), "keep": "keepdim"}),
        AtenForm(
            ("max.dim",),
            attributes={"axes": lambda call: call.axes("dim"), "keep": "keepdim"},
            unless=lambda call: call.require(
                call.part == 0, "the places of the extremes are `argmax` here"
            ),
        ),
    )
    examples = (
        Example("max(3)", ((2, 3, 2),)),
        Example("max([1, 2], keep = true)", ((3, 2),)),
    )
