"""Place of the largest number."""

from collections.abc import Iterable

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.reduction import ReductionOp


@register
class ArgMax(ReductionOp):
    """Place of the largest number along an axis, counted from 0; of equal ones the first.

    y = the place, a whole number in the precision of the value: dL/dx = 0.
    """

    axes: tuple[int, ...] = attribute(AxesOf(1), "the axis to go along")

    name = "argmax"
    onnx_ends = ("Cast", "ArgMax")
    forward_kernel = "reductions.place_of_largest"
    backward_kernel = "reductions.nothing"
    aten = (
        AtenForm(
            ("argmax",), attributes={"axes": lambda call: call.axis("dim"), "keep": "keepdim"}
        ),
    )
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

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`ArgMax`, converted to real numbers or not."""
        found = read.pattern("Cast(ArgMax(x))") or read.pattern("ArgMax(x)")
        rank = (
            None
            if found is None or found.values["x"].shape is None
            else len(found.values["x"].shape)
        )
        if found is None or rank is None:
            return
        given = found.covers[-1].attributes
        axis = given.whole("axis") + rank + 1 if given.whole("axis") < 0 else given.whole("axis")
        if axis >= 1 and not given.whole("select_last_index"):
            op = cls((axis,), bool(given.whole("keepdims")))
            yield read.layer(op, found.values["x"], found=found)

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`ArgMax`, converted to the precision of the value."""
        (axis,) = self._resolved(to.x_shapes[0])
        return to.cast(to("ArgMax", to.x[0], axis=axis, keepdims=int(self.keep)), "float32")
