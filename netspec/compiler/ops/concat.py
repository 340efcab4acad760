"""Concatenation."""

from collections.abc import Iterable, Iterator
from typing import Any

from netspec.compiler.ir.contract import *

CONCAT_MISMATCH = Code.error(
    "shape/concat-mismatch", "values of different sizes on an axis other than the joined one"
)


@register
class Concat(Op):
    """Values laid end to end along an axis, the channels by default: y = [a; b; ...].

    With g = dL/dy, and a filling the places 0 to A of the axis, b the places A to A + B:
        dL/da = g[0:A], dL/db = g[A:A + B], ...
    """

    axis: int = attribute(AxisOf(), "axis to join them along; 1 is the channels", 1)

    name = "concat"
    onnx_ends = ("Concat",)
    only_moves = True
    storage = Storage.KEPT
    arity = None
    is_associative = True
    aten = (
        AtenForm(
            ("cat", "concat", "concatenate"),
            ("tensors",),
            attributes={"axis": lambda call: call.axis("dim", "tensors.0")},
        ),
    )
    examples = (
        Example("concat", ((3, 4, 5), (2, 4, 5))),
        Example("concat", ((3, 2, 3), (1, 2, 3), (4, 2, 3))),
        Example("concat(axis = 2)", ((2, 3, 4), (2, 1, 4))),
        Example("concat(axis = -1)", ((2, 3, 4), (2, 3, 2))),
        Example("concat", ((5,), (3,))),
        Example("concat(axis = 1)", ((2, 3), (4, 3))),
        Example("concat(axis = 2)", ((3, 2), (3, 5))),
    )
    bad_examples = (
        BadExample("concat", ((3, 4, 4), (3, 4, 5)), CONCAT_MISMATCH),
        BadExample("concat", ((3, 4, 4), (48,)), CONCAT_MISMATCH),
        BadExample("concat(axis = 4)", ((3, 4, 4), (3, 4, 4)), codes.SHAPE_AXIS),
        BadExample("concat(axis = 0)", ((3, 4, 4), (3, 4, 4)), codes.CALL_VALUE),
        BadExample("concat", ((3, 4, 4),), codes.CALL_INPUTS),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """The sizes along the axis add up; the others are equal."""
        first = inputs[0]
        shown = " and ".join(show_shape(shape) for shape in inputs)
        if any(len(shape) != len(first) for shape in inputs):
            raise ShapeError(
                CONCAT_MISMATCH,
                f"`concat` needs values with the same number of axes, not {shown}",
            )
        axis = resolve_axis(self.name, self.axis, first)
        rank = len(first)

        def differs(a: int) -> bool:
            return any(shape[a - 1] - first[a - 1] for shape in inputs[1:])

        wrong = [a for a in range(1, rank + 1) if a != axis and differs(a)]
        if wrong:
            other = wrong[0]
            fixes: tuple[Fix, ...] = ()
            if wrong == [other] and not differs(axis):
                why = f"they differ in {axis_name(other, rank)} only: `axis = {other}`"
                fixes = (Fix("axis", str(other), why),)
            raise ShapeError(
                CONCAT_MISMATCH,
                f"`concat` along axis {axis} needs equal sizes on the other axes, not {shown}",
                notes=tuple(
                    f"{axis_name(a, rank)}: "
                    + " and ".join(str(shape[a - 1]) for shape in inputs)
                    for a in wrong
                ),
                fixes=fixes,
            )  # fmt: skip
        along = sum(shape[axis - 1] for shape in inputs)
        return (*first[: axis - 1], along, *first[axis:])

    def mixes(self, over: tuple[int | None, ...], *inputs: Shape) -> bool:
        """Along its axis."""
        return resolve_axis(self.name, self.axis, inputs[0]) in over

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """`np.concatenate`."""
        return np.concatenate(x, axis=self.axis)

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """`np.split`."""
        ends = np.cumsum([a.shape[self.axis] for a in x])
        return tuple(np.split(dy, ends[:-1], axis=self.axis))

    def _parts(self, to: Lowering) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield each input with the region of the output that it fills."""
        shapes = to.x_shapes
        axis = resolve_axis(self.name, self.axis, shapes[0])
        rank = len(shapes[0])
        at = 0
        for i, shape in enumerate(shapes):
            start = [0] * rank
            start[to.layout.position(axis) - 1] = at
            yield i, {"start": tuple(start), "step": (1,) * rank}
            at += shape[axis - 1]

    def lower(self, to: Lowering) -> None:
        """One copy per input."""
        for i, region in self._parts(to):
            to.call("copies.insert", to.x[i], to.out, writes=[to.out], **region)

    def lower_backward(self, to: Lowering) -> None:
        """One copy per input whose gradient is wanted."""
        for i, region in self._parts(to):
            if to.wanted[i]:
                dx = to.gradient_buffer(i)
                to.call("copies.extract", to.dy, dx, writes=[dx], **region)
                to.gradient(i, dx)

    def torch(self, *inputs: Shape) -> Torch:
        """`torch.cat`."""
        return Torch("torch.cat", (tuple(X(i) for i in range(len(inputs))),), {"dim": self.axis})

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`Concat`."""
        rank = read.rank()
        if rank is not None and len(read.root.inputs) > 1:
            axis = read.attributes.whole("axis")
            yield read.layer(cls(axis + rank if axis < 0 else axis), *read.root.inputs)

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Concat`."""
        return to("Concat", *to.x, axis=resolve_axis(self.name, self.axis, to.shape))
