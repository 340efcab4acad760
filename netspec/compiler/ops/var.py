"""Variance."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from netspec.compiler.ir.aten_form import AtenCall, Taken
from netspec.compiler.ir.contract import *
from netspec.compiler.ir.sizes import is_known
from netspec.compiler.ops.families.reduction import ReductionOp
from netspec.diagnostics import plural

TOO_FEW = Code.error("shape/variance", "a variance of fewer numbers than it takes")


def _correction(call: AtenCall) -> object:
    if "unbiased" in call.arguments:
        return int(bool(call["unbiased"]))
    return 1 if call["correction"] is None else call["correction"]


_AS_TORCH: dict[str, str | Taken] = {
    "axes": lambda call: call.axes("dim"),
    "keep": "keepdim",
    "correction": _correction,
}


@register
class Variance(ReductionOp):
    """Variance over axes: y = sum of (x - mean)^2 / (n - correction), for n numbers.

    dL/dx = g 2 (x - mean) / (n - correction) with g = dL/dy. A correction of 1 (Bessel's) is for samples
    of a larger population, 0 for what is normalised.
    """

    correction: int = attribute(Int(0), "taken off the count of numbers", 1)

    name = "var"
    onnx_ends = ("Div",)
    forward_kernel = "reductions.variance"
    backward_kernel = "reductions.variance_backward"
    reads = ("x", "dy")
    aten = (
        AtenForm(("var.correction",), attributes=_AS_TORCH),
        AtenForm(("var.dim",), attributes=_AS_TORCH),
        AtenForm(("std.correction",), attributes=_AS_TORCH, then=(Then("sqrt"),)),
        AtenForm(("std.dim",), attributes=_AS_TORCH, then=(Then("sqrt"),)),
    )
    examples = (
        Example("var(3)", ((2, 3, 2),)),
        Example("var([1, 2], keep = true, correction = 0)", ((3, 2),)),
    )
    bad_examples = (BadExample("var(2)", ((3, 1, 4),), TOO_FEW),)

    def shape(self, *inputs: Shape) -> Shape:
        """The sizes of the other axes. There must be more numbers than the correction subtracts."""
        (x,) = inputs
        count = 1
        for axis in self._resolved(x):
            count *= x[axis - 1]
        if count < self.correction + 1:
            raise ShapeError(
                TOO_FEW,
                f"the variance of {plural(count, 'number')} less a correction of {self.correction}"
                " is undefined",
                blame="axes",
                fixes=(Fix("correction", "0", "divide by the count: `correction = 0`"),),
            )
        return super().shape(*inputs)

    def _options(self, to: Lowering) -> dict[str, Any]:
        return {**super()._options(to), "correction": self.correction}

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """The definition."""
        y: Array = x[0].var(axis=self._over(x[0]), keepdims=self.keep, ddof=self.correction)
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """The formula above."""
        over = self._over(x[0])
        centered = x[0] - x[0].mean(axis=over, keepdims=True)
        count = x[0].size // dy.size - self.correction
        return (self._beside(x[0], dy) * 2 * centered / count,)

    def torch(self, *inputs: Shape) -> Torch:
        """`torch.var`."""
        reduced = self.reduced("torch.var")
        options = {**reduced.options, "correction": self.correction}
        return replace(reduced, options=options, defaults={**reduced.defaults, "correction": 1})

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """The definition."""
        mean = "ReduceMean(x, c_axes, keepdims=1)"
        for keep in (0, 1):
            squares = f"Mul(Sub(x, {mean}), Sub(x, {mean}))"
            found = read.pattern(f"Div(ReduceSum({squares}, c_axes, keepdims={keep}), n)")
            x = None if found is None else found.values["x"].shape
            if found is None or x is None:
                continue
            axes, count = read.whole(found.values["c_axes"]), read.number(found.values["n"])
            if axes is None or not is_known(x):
                continue
            over = tuple(axis + len(x) + 1 if axis < 0 else axis for axis in axes)
            correction = 0 if count is None else math.prod(x[a - 1] for a in over) - int(count)
            if min(over) >= 1 and correction >= 0:
                yield read.form(cls(over, bool(keep), correction), found.values["x"])

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """The definition."""
        (x,) = to.x_shapes
        axes = self._resolved(x)
        centred = to("Sub", to.x[0], to.reduced("ReduceMean", to.x[0], axes))
        squares = to.reduced("ReduceSum", to("Mul", centred, centred), axes, keep=self.keep)
        count = math.prod(x[axis - 1] for axis in axes) - self.correction
        return to("Div", squares, to.size_as_float(count))
