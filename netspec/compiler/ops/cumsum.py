"""Running sums."""

from collections.abc import Iterable

from netspec.compiler.ir.contract import *


@register
class CumSum(Op):
    """Running sum along an axis: y[i] = x[0] + ... + x[i].

    With g = dL/dy: dL/dx[i] = g[i] + g[i + 1] + ..., the running sum from the end.
    """

    axis: int = attribute(AxisOf(), "the axis to go along")

    name = "cumsum"
    onnx_ends = ("CumSum",)
    storage = Storage.KEPT
    torch_function = "torch.cumsum"
    aten = (AtenForm(("cumsum",), attributes={"axis": lambda call: call.axis("dim")}),)
    examples = (Example("cumsum(2)", ((2, 3, 2),)),)
    bad_examples = (BadExample("cumsum(2)", ((7,),), codes.SHAPE_AXIS),)

    def shape(self, *inputs: Shape) -> Shape:
        """Unchanged."""
        resolve_axis(self.name, self.axis, inputs[0])
        return inputs[0]

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """One pixel along the channels, else whole rows or columns."""
        along_channels = resolve_axis(self.name, self.axis, inputs[0]) == 1
        return super().sees(*inputs) if along_channels else None

    def mixes(self, over: tuple[int | None, ...], *inputs: Shape) -> bool:
        """Along its axis."""
        return over[0] == resolve_axis(self.name, self.axis, inputs[0])

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """`np.cumsum`."""
        y: Array = np.cumsum(x[0], self.axis)
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """From the end."""
        return (np.flip(np.cumsum(np.flip(dy, self.axis), self.axis), self.axis),)

    def _axis(self, to: Lowering) -> int:
        (x,) = to.x_shapes
        return to.layout.position(resolve_axis(self.name, self.axis, x))

    def lower(self, to: Lowering) -> None:
        """One kernel."""
        to.call("reductions.running", to.x[0], to.out, writes=[to.out], axis=self._axis(to))

    def lower_backward(self, to: Lowering) -> None:
        """One kernel."""
        if to.wanted[0]:
            dx = to.gradient_buffer(0)
            to.call("reductions.running_backward", to.dy, dx, writes=[dx], axis=self._axis(to))
            to.gradient(0, dx)

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`CumSum`."""
        rank, axis = read.rank(), read.whole(read.given(1))
        if (
            rank is None
            or axis is None
            or read.attributes.whole("exclusive")
            or read.attributes.whole("reverse")
        ):
            return
        yield read.layer(cls(axis[0] + rank if axis[0] < 0 else axis[0]), read.given(0))

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`CumSum`."""
        axis = resolve_axis(self.name, self.axis, to.shape)
        return to("CumSum", to.x[0], to.int_array([axis], ()))
