"""Gated linear unit."""

from collections.abc import Iterable
from typing import Any

from netspec.compiler.ir.contract import *

HALVES = Code.error("shape/halves", "an axis that cannot be cut into two halves")


@register
class Glu(Op):
    """Gated linear unit (Dauphin et al. 2017): y = a s with s = sigmoid(b), [a; b] = x along an axis.

    With g = dL/dy: dL/da = g s, dL/db = g a s (1 - s) = g y (1 - s).
    """

    axis: int = attribute(AxisOf(), "axis to cut into halves", -1)

    name = "glu"
    storage = Storage.KEPT
    onnx_ends = ("Mul",)
    aten = (AtenForm(("glu",), attributes={"axis": lambda call: call.axis("dim")}),)
    examples = (
        Example("glu", ((6,),)),
        Example("glu", ((3, 5, 4),)),
        Example("glu(1)", ((4, 3, 2),)),
        Example("glu(axis = 2)", ((2, 4, 3),)),
        Example("glu(1)", ((2, 1, 1),)),
        Example("glu(axis = -2)", ((4, 3),)),
        Example("glu(1)", ((4, 2, 3, 2),)),
    )
    bad_examples = (
        BadExample("glu", ((4, 5, 5),), HALVES),
        BadExample("glu(1)", ((5, 4, 4),), HALVES),
        BadExample("glu(4)", ((4, 4, 4),), codes.SHAPE_AXIS),
        BadExample("glu(0)", ((4, 4, 4),), codes.CALL_VALUE),
    )

    def _cut(self, x: Shape) -> tuple[int, int]:
        """Return the axis, counted from 1, and the size of a half.

        Raises:
            ShapeError: `shape/axis`, `shape/halves`.
        """
        axis = resolve_axis(self.name, self.axis, x)
        size = x[axis - 1]
        if size % 2:
            of_channels = Fix("axis", "1", "the channels have two halves: `axis = 1`")
            raise ShapeError(
                HALVES,
                f"axis {axis} of {show_shape(x)} cannot be cut into halves",
                blame="axis",
                notes=(f"{size} is odd",),
                fixes=() if self.axis != -1 or x[0] % 2 else (of_channels,),
            )
        return axis, size // 2

    def shape(self, *inputs: Shape) -> Shape:
        """Half as many places along the axis."""
        (x,) = inputs
        axis, half = self._cut(x)
        return (*x[: axis - 1], half, *x[axis:])

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """One pixel; along the axis that is cut, the one half a picture away too."""
        (x,) = inputs
        axis, half = self._cut(x)
        return tuple((half + 1 if a == axis else 1, 1) for a in range(2, len(x) + 1))

    def mixes(self, over: tuple[int | None, ...], *inputs: Shape) -> bool:
        """Along its axis."""
        return over[0] == resolve_axis(self.name, self.axis, inputs[0])

    def _halves(self, x: Array) -> tuple[Array, Array]:
        """Return a and sigmoid(b), of which no exponential overflows."""
        a, b = np.split(x, 2, axis=self.axis)
        return a, np.exp(-np.logaddexp(0, -b))

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """The formula."""
        a, s = self._halves(x[0])
        y: Array = a * s
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """The formulas above, laid end to end."""
        a, s = self._halves(x[0])
        return (np.concatenate((dy * s, dy * a * s * (1 - s)), axis=self.axis),)

    def _regions(self, to: Lowering) -> tuple[dict[str, Any], dict[str, Any]]:
        """Where a and b lie in the input as it is stored: the regions that kernels of copies take."""
        axis, half = self._cut(to.x_shapes[0])
        step = (1,) * len(to.x_shapes[0])
        at = to.layout.position(axis) - 1
        start = tuple(half if i == at else 0 for i in range(len(step)))
        return {"start": (0,) * len(step), "step": step}, {"start": start, "step": step}

    def lower(self, to: Lowering) -> None:
        """A copy of each half, and the formula."""
        halves = {name: to.buffer(name, to.out.shape) for name in ("a", "b")}
        for half, region in zip(halves.values(), self._regions(to), strict=True):
            to.call("copies.extract", to.x[0], half, writes=[half], **region)
        to.elementwise(to.out, Var("a") * sigmoid(Var("b")), **halves)
        to.saved["b"] = halves["b"]

    def lower_backward(self, to: Lowering) -> None:
        """The gradient of each half, put in its place. It follows from y and b, so x need not be kept."""
        if not to.wanted[0]:
            return
        dy, y, s = Var("dy"), Var("y"), sigmoid(Var("b"))
        da, db = to.buffer("da", to.out.shape), to.buffer("db", to.out.shape)
        to.elementwise(da, dy * s, dy=to.dy, b=to.saved["b"])
        to.elementwise(db, dy * y * (1 - s), dy=to.dy, y=to.out, b=to.saved["b"])
        dx = to.gradient_buffer(0)
        for half, region in zip((da, db), self._regions(to), strict=True):
            to.call("copies.insert", half, dx, writes=[dx], **region)
        to.gradient(0, dx)

    def torch(self, *inputs: Shape) -> Torch:
        """`F.glu`."""
        return Torch("F.glu", (X(0),), {"dim": self.axis}, defaults={"dim": -1}, as_module="nn.GLU")

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """A product of one half with `Sigmoid` of the other."""
        axis, _ = self._cut(to.x_shapes[0])
        a, b = to.split(to.x[0], 2, axis)
        return to("Mul", a, to("Sigmoid", b))

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """Where a `Split` is behind the product: the form above, along its axis."""
        for value in read.root.inputs:
            split = read.behind(value, "Split")
            x = None if split is None else split.given(0)
            if split is not None and x is not None and x.shape is not None:
                axis = split.attributes.whole("axis")
                yield read.form(cls(axis + len(x.shape) + 1 if axis < 0 else axis), x)
