"""As much of a value as another one has."""

from collections.abc import Iterable

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.sizes import Size
from netspec.compiler.ops.slice import Slice


@register
class SliceAs(Op):
    """As many of the first places along an axis as another value has: y = x[:, :T] for `slice_as(x, z)`.

    T is the size of z along that axis, such as the length of a sequence that is left open. With
    g = dL/dy: dL/dx[:, :T] = g, and 0 elsewhere; dL/dz = 0.
    """

    axis: int = attribute(AxisOf(), "axis to cut, in both values", 1)

    name = "slice_as"
    onnx_ends = ("Slice",)
    arity = 2
    storage = Storage.ROW_MAJOR
    examples = (
        Example("slice_as", ((5, 3), (2, 4))),
        Example("slice_as(2)", ((2, 6, 3), (4, 5, 1))),
        Example("slice_as(1)", ((4, 2), (4,))),
        Example("slice_as(axis = -1)", ((2, 5), (3, 2))),
        Example("slice_as", ((7,), (3,))),
        Example("slice_as(3)", ((2, 3, 4), (2, 3, 2))),
    )
    bad_examples = (
        BadExample("slice_as", ((5, 3), (6, 3)), codes.SHAPE_SLICE),
        BadExample("slice_as(2)", ((5, 3), (6,)), codes.SHAPE_AXIS),
        BadExample("slice_as", ((5, 3),), codes.CALL_INPUTS),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """That of x with the other size.

        Raises:
            ShapeError: `shape/axis`, `shape/slice` if x has fewer places.
        """
        x, other = inputs
        at, size = self._places(x, other)
        return (*x[: at - 1], size, *x[at:])

    def _places(self, x: Shape, other: Shape) -> tuple[int, int]:
        """Return the axis, counted from 1, and how many places are kept."""
        at = resolve_axis(self.name, self.axis, x)
        size = other[resolve_axis(self.name, self.axis, other) - 1]
        if size > x[at - 1]:
            raise ShapeError(
                codes.SHAPE_SLICE,
                f"{show_shape(x)} has {x[at - 1]} places along axis {at}, fewer than the {size} of"
                f" {show_shape(other)}",
            )
        return at, size

    def _slice(self, x: Shape, other: Shape) -> Slice:
        at, size = self._places(x, other)
        return Slice(at, 0, size)

    def takes(self, index: int) -> tuple[NumberType, ...]:
        """Of the other value only the size counts."""
        return ("real", "int", "bool") if index == 1 else ("real",)

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """One pixel."""
        return ()

    def mixes(self, over: tuple[int | None, ...], *inputs: Shape) -> bool:
        """Along its axis, unless as many places are kept as there are."""
        at = resolve_axis(self.name, self.axis, inputs[0])
        if over[0] != at:
            return over[1] == resolve_axis(self.name, self.axis, inputs[1])
        return inputs[0][at - 1] != self.shape(*inputs)[at - 1]

    def advance(self, to: StepForm) -> str:
        """What is held for all positions, at the places of the new ones."""
        x, other = to.x_shapes
        at = resolve_axis(self.name, self.axis, x)
        if to.over != (None, resolve_axis(self.name, self.axis, other)):
            return to.same()
        places = to.places()
        for axis in range(1, len(x) + 1):
            if axis != at:
                places = to("unsqueeze", places, axis=axis)
        (n,) = to.shape_of(to.places())
        wide = to("expand", places, sizes=(*x[: at - 1], n, *x[at:]))
        return to("gather", to.x[0], wide, axis=at)

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """A slice."""
        value, other = x
        return self._slice(value.shape[1:], other.shape[1:]).forward(run, value)

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Zeros, except in the slice."""
        value, other = x
        (dx,) = self._slice(value.shape[1:], other.shape[1:]).backward(run, dy, value)
        return dx, np.zeros_like(other)

    def lower(self, to: Lowering) -> None:
        """One copy, or none if everything is kept."""
        self._slice(*to.x_shapes).lower(to)

    def lower_backward(self, to: Lowering) -> None:
        """One copy into an array of zeros; zeros for the other value."""
        self._slice(*to.x_shapes).lower_backward(to)
        if to.wanted[1]:
            nothing = to.gradient_buffer(1)
            to.call("reductions.nothing", to.dy, nothing, writes=[nothing], axes=(), order=())
            to.gradient(1, nothing)

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`Slice` from the first place on, as far as an input of the net goes."""
        starts, axes = read.whole(read.given(1)), read.whole(read.given(3))
        stops = read.sizes(read.given(2))
        if starts != (0,) or axes is None or stops is None or isinstance(stops[0], int):
            return
        (axis,) = axes
        other = read.last_with(axis, stops[0]) if axis >= 1 else None
        if other is not None:
            yield read.layer(cls(axis), read.given(0), other)

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Slice`, up to the size of the other value."""
        at, size = self._places(*to.x_shapes)
        return to.part(to.x[0], at, 0, size)

    def torch(self, *inputs: Shape) -> Torch:
        """`torch.narrow`."""
        at, _ = self._places(*inputs)
        other = resolve_axis(self.name, self.axis, inputs[1])
        return Torch("torch.narrow", (X(0), at, 0, Size.named(f"1.{other}")))
