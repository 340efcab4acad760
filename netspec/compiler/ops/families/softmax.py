"""The base class of softmax and its logarithm: the axis, and the kernels that follow from it."""

from collections.abc import Iterable
from typing import ClassVar

from netspec.compiler.ir.contract import *
from netspec.records import record


@record
class SoftmaxOp(Op):
    """A softmax along one axis. The backward pass needs only the value, not the input.

    Attributes:
        of_one: what it is for a single number, whatever that is.
    """

    axis: int = attribute(AxisOf(), "axis along which it sums to 1; 1 is the channels", 1)

    storage = Storage.KEPT

    of_one: ClassVar[int]
    forward_kernel: ClassVar[str]
    backward_kernel: ClassVar[str]

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """The operator; before opset 13 it goes over all axes from its own on."""
        x, axis = read.shape(), read.attributes.whole("axis")
        if x is None:
            return
        axis = axis + len(x) + 1 if axis < 0 else axis
        if read.attributes.whole("flattens") and axis >= 1:
            wide = [at for at in range(axis, len(x) + 1) if x[at - 1] != 1]
            if len(wide) > 1:
                return
            axis = wide[0] if wide else axis
        if axis >= 1:
            yield read.layer(cls(axis), read.given(0))

    def shape(self, *inputs: Shape) -> Shape:
        """Return the shape of the input."""
        resolve_axis(self.name, self.axis, inputs[0])
        return inputs[0]

    def lint(self, node: Node, graph: Graph) -> Iterable[Finding]:
        """A warning about an axis of one place, along which the value is a constant."""
        (x,) = graph.shapes_into(node)
        axis = resolve_axis(self.name, self.axis, x)
        if x[axis - 1] != 1:
            return
        wide = [at for at in range(1, len(x) + 1) if x[at - 1] != 1]
        fixes: tuple[Fix, ...] = ()
        if len(wide) == 1:
            why = f"only axis {wide[0]} has several places: `axis = {wide[0]}`"
            fixes = (Fix("axis", str(wide[0]), why),)
        yield Finding(
            codes.SHAPE_ONE_CLASS,
            f"`{self.name}` along axis {axis} of {show_shape(x)} is always {self.of_one}",
            blame="axis",
            fixes=fixes,
            help=None if fixes else "a single score becomes a probability by `sigmoid`",
        )

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """Return one pixel if the axis is that of the channels, else None, for whole rows or
        columns.
        """
        along_channels = resolve_axis(self.name, self.axis, inputs[0]) == 1
        return super().sees(*inputs) if along_channels else None

    def mixes(self, over: tuple[int | None, ...], *inputs: Shape) -> bool:
        """Along its axis."""
        return over[0] == resolve_axis(self.name, self.axis, inputs[0])

    def _stored_axis(self, to: Lowering) -> int:
        (shape,) = to.x_shapes
        return to.layout.position(resolve_axis(self.name, self.axis, shape))

    def lower(self, to: Lowering) -> None:
        """Append one kernel call."""
        axis = self._stored_axis(to)
        to.call(self.forward_kernel, to.x[0], to.out, writes=[to.out], axis=axis)

    def lower_backward(self, to: Lowering) -> None:
        """Append one kernel call."""
        if to.wanted[0]:
            dx = to.gradient_buffer(0)
            axis = self._stored_axis(to)
            to.call(self.backward_kernel, to.out, to.dy, dx, writes=[dx], axis=axis)
            to.gradient(0, dx)
