"""The smallest number."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.extreme import ExtremeOp


@register
class Min(ExtremeOp):
    """The smallest number over axes; its gradient is shared by equal ones, as in PyTorch.

    y = min of x. With g = dL/dy: dL/dx = g / k at the k places of x that are equal to y, else 0.
    """

    name = "min"
    onnx_ends = ("ReduceMin",)
    onnx_operator = "ReduceMin"
    forward_kernel = "reductions.smallest"
    method = "min"
    function = "torch.amin"
    aten = (
        AtenForm(("amin",), attributes={"axes": lambda call: call.axes("dim"), "keep": "keepdim"}),
        AtenForm(
            ("min.dim",),
            attributes={"axes": lambda call: call.axes("dim"), "keep": "keepdim"},
            unless=lambda call: call.require(
                call.part == 0, "the places of the extremes are `argmax` here"
            ),
        ),
    )
    examples = (Example("min([1, 2], keep = true)", ((3, 2),)),)
