"""Slice."""

from collections.abc import Iterable
from typing import Any

from netspec.compiler.ir.contract import *


@register
class Slice(Op):
    """Places `start` to `stop` (exclusive) along an axis, every `step`-th: y = x[:, start:stop:step].

    With g = dL/dy: dL/dx[:, start:stop:step] = g, and 0 elsewhere. Negative places count from the end;
    both must lie in the value.
    """

    axis: int = attribute(AxisOf(), "axis to cut; 1 is the channels")
    start: int = attribute(Int(-MAX_SIZE), "the first place")
    stop: int | None = attribute(
        Int(-MAX_SIZE), "the place after the last; by default the end", None
    )
    step: int = attribute(Int(1), "distance from place to place", 1)

    name = "slice"
    onnx_ends = ("Slice", "Split")
    only_moves = True
    storage = Storage.KEPT
    aten = (
        AtenForm(
            ("slice",),
            attributes={
                "axis": lambda call: call.axis("dim"),
                "start": lambda call: call["start"] or 0,
                "stop": lambda call: None if call["end"] in (None, 2**63 - 1) else call["end"],
                "step": "step",
            },
            only_shapes=True,
        ),
        AtenForm(
            ("narrow",),
            attributes={
                "axis": lambda call: call.axis("dim"),
                "start": "start",
                "stop": lambda call: call.whole("start") + call.whole("length"),
            },
        ),
        AtenForm(
            ("select",),
            attributes={
                "axis": lambda call: call.axis("dim"),
                "start": "index",
                "stop": lambda call: call.whole("index") + 1 or None,
            },
            then=(Then("squeeze", {"axes": lambda call: call.axis("dim")}),),
            moves_batch=True,
        ),
        AtenForm(
            ("chunk", "split", "split_with_sizes", "tensor_split"),
            attributes={
                "axis": lambda call: call.axis("dim"),
                "start": lambda call: call.part_ends("dim")[0],
                "stop": lambda call: call.part_ends("dim")[1],
            },
            moves_batch=True,
        ),
        AtenForm(
            ("unbind",),
            attributes={
                "axis": lambda call: call.axis("dim"),
                "start": lambda call: call.part,
                "stop": lambda call: call.part + 1,
            },
            then=(Then("squeeze", {"axes": lambda call: call.axis("dim")}),),
            moves_batch=True,
        ),
    )
    examples = (
        Example("slice(1, 0, 2)", ((5, 3, 4),)),
        Example("slice(1, start = 2, stop = -1)", ((6, 2, 2),)),
        Example("slice(2, 1, step = 2)", ((2, 6, 3),)),
        Example("slice(-1, -3)", ((2, 3, 5),)),
        Example("slice(3, 0, step = 3)", ((1, 2, 7),)),
        Example("slice(axis = 1, start = 3)", ((7,),)),
        Example("slice(2, 1, 4)", ((3, 5),)),
        Example("slice(1, 0, 3)", ((3, 2, 2),)),
    )
    bad_examples = (
        BadExample("slice(1, 0, 6)", ((5, 3, 4),), codes.SHAPE_SLICE),
        BadExample("slice(1, 5)", ((5, 3, 4),), codes.SHAPE_SLICE),
        BadExample("slice(1, 3, 3)", ((5, 3, 4),), codes.SHAPE_SLICE),
        BadExample("slice(4, 0)", ((5, 3, 4),), codes.SHAPE_AXIS),
        BadExample("slice(0, 0, 1)", ((5, 3, 4),), codes.CALL_VALUE),
        BadExample("slice(1, 0, step = 0)", ((5, 3, 4),), codes.CALL_VALUE),
        BadExample("slice(1)", ((5, 3, 4),), codes.CALL_MISSING),
    )

    def _ends(self, x: Shape) -> tuple[int, int, int]:
        """Return the axis, counted from 1, the first place along it, and the place after the last.

        Raises:
            ShapeError: `shape/axis`, `shape/slice`.
        """
        axis = resolve_axis(self.name, self.axis, x)
        size = x[axis - 1]
        start = self.start + size if self.start < 0 else self.start
        stop = size if self.stop is None else self.stop
        stop = stop + size if stop < 0 else stop
        if start < 0 or start > size - 1:
            raise ShapeError(
                codes.SHAPE_SLICE,
                f"axis {axis} of {show_shape(x)} has the places 0 to {size - 1}, not {self.start}",
                blame="start",
                fixes=(Fix("start", "0", "from the first on: `start = 0`"),),
            )
        if stop > size:
            raise ShapeError(
                codes.SHAPE_SLICE,
                f"axis {axis} of {show_shape(x)} ends at {size}, before {self.stop}",
                blame="stop",
                fixes=(Fix("stop", str(size), f"to the end: `stop = {size}`"),),
            )
        if stop < start + 1:
            raise ShapeError(
                codes.SHAPE_SLICE,
                f"places {start} to {stop} along axis {axis} of {show_shape(x)} are empty",
                blame="stop" if self.stop is not None else "start",
                notes=("`stop` is the place after the last",),
            )
        return axis, start, stop

    def _count(self, start: int, stop: int) -> int:
        """The number of places that are kept."""
        return (stop - start + self.step - 1) // self.step

    def shape(self, *inputs: Shape) -> Shape:
        """ceil((stop - start) / step) places along the axis."""
        (x,) = inputs
        axis, start, stop = self._ends(x)
        return (*x[: axis - 1], self._count(start, stop), *x[axis:])

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """One pixel. Along the sliced axis the next one is `step` away."""
        (x,) = inputs
        axis, _, _ = self._ends(x)
        return tuple((1, self.step if axis == a else 1) for a in range(2, len(x) + 1))

    def _index(self, x: Array) -> tuple[slice, ...]:
        axis, start, stop = self._ends(x.shape[1:])
        return (slice(None),) * axis + (slice(start, stop, self.step),)

    def mixes(self, over: tuple[int | None, ...], *inputs: Shape) -> bool:
        """Along its axis, where places get other numbers."""
        return over[0] == resolve_axis(self.name, self.axis, inputs[0])

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """A slice."""
        return x[0][self._index(x[0])]

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Zeros, except in the slice."""
        dx = np.zeros_like(x[0])
        dx[self._index(x[0])] = dy
        return (dx,)

    def _region(self, to: Lowering) -> dict[str, Any]:
        rank = len(to.x_shapes[0])
        axis, first, _ = self._ends(to.x_shapes[0])
        at = to.layout.position(axis) - 1
        start, step = [0] * rank, [1] * rank
        start[at], step[at] = first, self.step
        return {"start": tuple(start), "step": tuple(step)}

    def lower(self, to: Lowering) -> None:
        """One copy, or none if everything is kept."""
        if to.out.shape == to.x[0].shape:
            to.view(to.out, to.x[0])
        else:
            to.call("copies.extract", to.x[0], to.out, writes=[to.out], **self._region(to))

    def lower_backward(self, to: Lowering) -> None:
        """One copy into an array of zeros."""
        if not to.wanted[0]:
            return
        if to.out.shape == to.x[0].shape:
            to.gradient(0, to.dy)
            return
        dx = to.gradient_buffer(0)
        to.call("copies.embed", to.dy, dx, writes=[dx], **self._region(to), value=0.0)
        to.gradient(0, dx)

    def torch(self, *inputs: Shape) -> Torch:
        """`torch.narrow`, or `torch.slice_copy` if the step is not 1."""
        axis, start, stop = self._ends(inputs[0])
        if self.step == 1:
            return Torch("torch.narrow", (X(0), axis, start, self._count(start, stop)))
        return Torch("torch.slice_copy", (X(0), axis, start, stop, self.step))

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`Slice` along one axis, or one for each part of a `Split`."""
        rank = read.rank()
        if rank is None:
            return
        if read.root.operator == "Split":
            yield from cls._from_split(read, rank)
            return
        starts, stops, axes, steps = (read.whole(read.given(i)) for i in range(1, 5))
        count = 1 if starts is None else len(starts)
        if starts is None or count != 1:
            return
        step = 1 if steps is None else steps[0]
        axis = 0 if axes is None else axes[0]
        axis = axis + rank if axis < 0 else axis
        ends = read.sizes(read.given(2))
        x = read.shape()
        if axis < 1 or step < 1 or ends is None or x is None or axis > len(x):
            return
        size, stop = x[axis - 1], None if stops is None else stops[0]
        if stop is None and ends[0] != size:
            return
        start = starts[0]
        if isinstance(size, int):
            start = max(start + size if start < 0 else start, 0)
            if stop is not None:
                stop = min(max(stop + size if stop < 0 else stop, 0), size)
        if stop is not None and (stop == size or stop > NO_END):
            stop = None if start else stop
        yield read.layer(
            cls(axis, start, None if stop == size and start else stop, step), read.given(0)
        )

    @classmethod
    def _from_split(cls, read: OnnxReader, rank: int) -> Iterable[OnnxLayer | None]:
        axis, x = read.attributes.whole("axis"), read.shape()
        axis = axis + rank if axis < 0 else axis
        if x is None or axis < 1 or not isinstance(x[axis - 1], int):
            return
        size, count = x[axis - 1], len(read.root.outputs)
        parts = read.whole(read.given(1))
        if parts is None:
            part = -(-size // count)
            parts = (*(part,) * (count - 1), size - part * (count - 1))
        start = 0
        for i, part in enumerate(parts):
            yield read.layer(cls(axis, start, start + part), read.given(0), output=i)
            start += part

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Slice`."""
        axis, start, stop = self._ends(to.x_shapes[0])
        return to.part(to.x[0], axis, start, stop, self.step)
