"""Values side by side along a new axis."""

from collections.abc import Iterable
from typing import Any

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.sizes import differ
from netspec.compiler.ops.families.rearranging import move

STACK_MISMATCH = Code.error("shape/stack-mismatch", "values of different shapes to be stacked")


@register
class Stack(Op):
    """Values of equal shape side by side along a new axis: place i of axis `axis` of y is value i.

    y = [a, b, ...] with dL/da = place 0 of dL/dy, dL/db = place 1, and so on.
    """

    axis: int = attribute(AxisOf(new=True), "the new axis, as it counts in the value", 1)

    name = "stack"
    onnx_ends = ("Concat",)
    only_moves = True
    arity = None
    aten = (
        AtenForm(
            ("stack",),
            ("tensors",),
            attributes={"axis": lambda call: call.new_axis("dim", "tensors.0")},
        ),
    )
    examples = (
        Example("stack", ((2,), (2,), (2,))),
        Example("stack(axis = -1)", ((2, 3), (2, 3))),
        Example("stack(2)", ((2, 3, 2), (2, 3, 2))),
    )
    bad_examples = (
        BadExample("stack", ((3, 4), (3, 5)), STACK_MISMATCH),
        BadExample("stack(4)", ((3, 4), (3, 4)), codes.SHAPE_AXIS),
        BadExample("stack", ((3, 4),), codes.CALL_INPUTS),
    )

    def _at(self, x: Shape) -> int:
        return resolve_axis(self.name, self.axis, (*x, 1))

    def shape(self, *inputs: Shape) -> Shape:
        """The shape of each, and their count."""
        first = inputs[0]
        if any(differ(shape, first) for shape in inputs[1:]):
            shown = " and ".join(show_shape(shape) for shape in inputs)
            raise ShapeError(STACK_MISMATCH, f"`stack` needs equal shapes, not {shown}")
        require_axis_free(first)
        at = self._at(first)
        return (*first[: at - 1], len(inputs), *first[at - 1 :])

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """None: rows and columns no longer tell where a number came from."""
        return None if len(inputs[0]) > 1 else super().sees(*inputs)

    def mixes(self, over: tuple[int | None, ...], *inputs: Shape) -> bool:
        """No."""
        return False

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """`np.stack`."""
        return np.stack(x, self._at(x[0].shape[1:]))

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Each its place."""
        at = self._at(x[0].shape[1:])
        return tuple(dy.take(i, at) for i in range(len(x)))

    def _move(self, to: Lowering, index: int, source: Buffer | None, target: Buffer | None) -> None:
        """Copy an input to its place in the value, or the place's gradient to that of the input."""
        x = to.x_shapes[index]
        at, old = self._at(x), [f"a{axis}" for axis in range(len(x))]
        new = [*old[: at - 1], "new", *old[at - 1 :]]
        sizes = {**dict(zip(old, x, strict=True)), "new": 1}
        inside, outside = ["new", *to.x_layouts[index].stored(old)], to.layout.stored(new)
        start = [0] * len(new)
        start[outside.index("new")] = index
        region: dict[str, Any] = {"start": tuple(start), "step": (1,) * len(new)}
        shape = to.layout.stored((*x[: at - 1], 1, *x[at - 1 :]))
        if source is not None:
            part = to.buffer(f"x{index}.part", shape)
            move(to, source, part, inside, outside, sizes)
            to.call("copies.insert", part, to.out, writes=[to.out], **region)
        if target is not None:
            part = to.buffer(f"dx{index}.part", shape)
            to.call("copies.extract", to.dy, part, writes=[part], **region)
            move(to, part, target, outside, inside, sizes)

    def lower(self, to: Lowering) -> None:
        """One copy an input."""
        for i, x in enumerate(to.x):
            self._move(to, i, x, None)

    def lower_backward(self, to: Lowering) -> None:
        """One copy an input whose gradient is wanted."""
        for i in range(len(to.x)):
            if to.wanted[i]:
                dx = to.gradient_buffer(i)
                self._move(to, i, None, dx)
                to.gradient(i, dx)

    def torch(self, *inputs: Shape) -> Torch:
        """`torch.stack`."""
        return Torch("torch.stack", (tuple(X(i) for i in range(len(inputs))),), {"dim": self.axis})

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`Concat` of values with a new axis each."""
        axis, inner = read.attributes.whole("axis"), []
        for value in read.root.inputs:
            maker = None if value is None else value.maker
            if maker is None or maker.operator != "Unsqueeze" or maker.layer != read.root.layer:
                return
            if read.whole(maker.given(1)) != (axis,):
                return
            inner.append(maker.given(0))
        if axis >= 1 and len(inner) > 1 and all(v is not None for v in inner):
            yield read.form(cls(axis), *(v for v in inner if v is not None))

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Concat` of the values with the new axis."""
        at = self._at(to.x_shapes[0])
        parts = (to("Unsqueeze", x, to.ints(at)) for x in to.x)
        return to("Concat", *parts, axis=at)
