"""Place of the largest number."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.reduction import ReductionOp


@register
class ArgMax(ReductionOp):
    """Place of the largest number along an axis, counted from 0; of equal ones the first.

    y = the place, a whole number in the precision of the value: dL/dx = 0.
    """

    axes: tuple[int, ...] = attribute(AxesOf(1), "the axis to go along")

    name = "argmax"
    forward_kernel = "reductions.place_of_largest"
    backward_kernel = "reductions.nothing"
    examples = (
        Example("argmax(1)", ((2, 3, 2),)),
        Example("argmax(-1, keep = true)", ((3, 2),)),
    )
    bad_examples = (BadExample("argmax([1, 2])", ((3, 4, 4),), codes.CALL_VALUE),)

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """`np.argmax`."""
        y: Array = np.argmax(x[0], axis=self._over(x[0])[0], keepdims=self.keep).astype(x[0].dtype)
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Zeros."""
        return (np.zeros_like(x[0]),)

    def pattern(self, *x: Array) -> Array | None:
        """The places."""
        places: Array = np.argmax(x[0], axis=self._over(x[0])[0])
        return places

    def torch(self, *inputs: Shape) -> Torch:
        """`torch.argmax`, converted to the precision of the value."""
        return Torch("torch.Tensor.type_as", (self.reduced("torch.argmax"), X(0)))

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`ArgMax`, converted to the precision of the value."""
        (axis,) = self._resolved(to.x_shapes[0])
        return to.cast(to("ArgMax", to.x[0], axis=axis, keepdims=int(self.keep)), "float32")
