"""Places moved in a circle."""

from collections.abc import Iterable, Sequence
from typing import Any

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.onnx_read import MOST_AXES


def _turns(moves: Sequence[tuple[int, int]], x: Shape) -> Iterable[Sequence[tuple[int, int]]]:
    """Yield (axis, shift) with each shift to the nearer side, and with those of over a half as given."""
    near = [
        (axis, shift + x[axis - 1] if -shift * 2 > x[axis - 1] else shift) for axis, shift in moves
    ]
    yield near
    if near != list(moves):
        yield moves


@register
class Roll(Op):
    """Places moved along axes; what leaves at one end comes back at the other: y[i + shift] = x[i].

    y[i + shift] = x[i], counted modulo the size: dL/dx[i] = dL/dy[i + shift].
    """

    shifts: tuple[int, ...] = attribute(IntList(-MAX_SIZE), "by how many places, for each axis")
    axes: tuple[int, ...] = attribute(AxesOf(), "the axes")

    name = "roll"
    onnx_ends = ("Concat",)
    only_moves = True
    storage = Storage.KEPT
    torch_function = "torch.roll"
    aten = (
        AtenForm(
            ("roll",),
            attributes={
                "shifts": lambda call: call.numbers("shifts"),
                "axes": lambda call: tuple(
                    call.tensor("self").axis(number) for number in call.numbers("dims")
                ),
            },
        ),
    )
    examples = (
        Example("roll([1, -2], [2, 3])", ((1, 2, 3),)),
        Example("roll(9, 1)", ((7,),)),
    )
    bad_examples = (
        BadExample("roll([1, 2], 1)", ((3, 4),), codes.SHAPE_AXIS),
        BadExample("roll(1, 3)", ((3, 4),), codes.SHAPE_AXIS),
        BadExample("roll(1)", ((3, 4),), codes.CALL_MISSING),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """Unchanged."""
        self._moves(inputs[0])
        return inputs[0]

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """None: the other end of the picture may be next."""
        return None if len(inputs[0]) > 1 else super().sees(*inputs)

    def _moves(self, x: Shape) -> list[tuple[int, int]]:
        """The axes, counted from 1, with their shifts."""
        axes = [resolve_axis(self.name, axis, x, "axes") for axis in self.axes]
        if len(axes) != len(self.shifts) or len(set(axes)) < len(axes):
            message = (
                f"`roll` needs a shift for each axis, not {list(self.shifts)} for {list(self.axes)}"
            )
            raise ShapeError(codes.SHAPE_AXIS, message, blame="axes")
        return list(zip(axes, self.shifts, strict=True))

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """`np.roll`."""
        return np.roll(x[0], self.shifts, self.axes)

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """`np.roll` back."""
        return (np.roll(dy, [-shift for shift in self.shifts], self.axes),)

    def _options(self, to: Lowering, sign: int) -> dict[str, Any]:
        shifts = [0] * len(to.out.shape)
        for axis, shift in self._moves(to.x_shapes[0]):
            shifts[to.layout.position(axis) - 1] = sign * shift
        return {"shifts": tuple(shifts)}

    def lower(self, to: Lowering) -> None:
        """One kernel."""
        to.call("copies.roll", to.x[0], to.out, writes=[to.out], **self._options(to, 1))

    def lower_backward(self, to: Lowering) -> None:
        """The same, back."""
        if to.wanted[0]:
            dx = to.gradient_buffer(0)
            to.call("copies.roll", to.dy, dx, writes=[dx], **self._options(to, -1))
            to.gradient(0, dx)

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """For each axis its two parts, the other way round."""
        moves: list[tuple[int, int]] = []
        at: FileValue | None = read.root.outputs[0]
        while at is not None and at.maker is not None and at.maker.operator == "Concat":
            if len(moves) == MOST_AXES:
                return
            parts = [v.maker for v in at.maker.inputs if v is not None]
            if len(parts) != 2 or any(p is None or p.operator != "Slice" for p in parts):
                break
            head, tail = parts
            cut = None if tail is None else read.whole(tail.given(2))
            inner = None if head is None else head.given(0)
            if cut is None or inner is None or tail is None or tail.given(0) is not inner:
                break
            moves.append((at.maker.attributes.whole("axis"), -cut[0]))
            at = inner
            if at.shape is None:
                return
            for turned in _turns(moves[::-1], at.shape):
                axes, shifts = zip(*turned, strict=True)
                yield read.form(cls(shifts, axes), at)

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """For each axis its two parts, the other way round."""
        value, shape = to.x[0], to.x_shapes[0]
        for axis, shift in self._moves(shape):
            size = to.sizes([shape[axis - 1]])
            cut = to("Mod", to.ints(-shift), size)
            head = to("Slice", value, cut, size, to.ints(axis))
            tail = to("Slice", value, to.ints(0), cut, to.ints(axis))
            value = to("Concat", head, tail, axis=axis)
        return value
