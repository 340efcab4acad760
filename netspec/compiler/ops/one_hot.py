"""Places as vectors of one 1."""

from collections.abc import Iterable

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.storage import from_planes, to_planes


@register
class OneHot(Op):
    """A new last axis with 1 at the place that x says, and 0 elsewhere: y[.., c] = 1 where x = c.

    x is a whole number, counted from 0; a fraction is cut off, and one outside is the nearest inside.
    dL/dx = 0.
    """

    classes: int = attribute(Int(1), "how many places there are")

    name = "one_hot"
    onnx_ends = ("OneHot",)
    value_range = (0.0, 1.0)
    aten = (
        AtenForm(
            ("one_hot",),
            attributes={"classes": lambda call: call.shape[-1]},
            unless=lambda call: call.require(
                call.whole("num_classes") > 0, "the number of classes depends on the numbers"
            ),
            places="self",
            last_place=lambda call: call.shape[-1] - 1,
        ),
    )
    examples = (
        Example("one_hot(3)", ((5,),)),
        Example("one_hot(4)", ((2, 3),)),
        Example("one_hot(classes = 2)", ((2, 3, 2),)),
        Example("one_hot(1)", ((2,),)),
    )
    bad_examples = (BadExample("one_hot(0)", ((5,),), codes.CALL_VALUE),)

    def shape(self, *inputs: Shape) -> Shape:
        """One axis more."""
        (x,) = inputs
        require_axis_free(x)
        return (*x, self.classes)

    def takes(self, index: int) -> tuple[NumberType, ...]:
        """Whole numbers."""
        return "int", "real"

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """None: rows and columns no longer tell where a number came from."""
        return None if len(inputs[0]) == 3 else super().sees(*inputs)

    def _places(self, x: Array) -> Array:
        whole: Array = np.clip(np.nan_to_num(x), 0, self.classes - 1).astype(np.int64)
        return whole

    def mixes(self, over: tuple[int | None, ...], *inputs: Shape) -> bool:
        """No."""
        return False

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """The rows of an identity matrix."""
        y: Array = np.eye(self.classes, dtype=x[0].dtype)[self._places(x[0])]
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Zeros."""
        return (np.zeros_like(x[0]),)

    def pattern(self, *x: Array) -> Array | None:
        """The places."""
        return self._places(x[0])

    def lower(self, to: Lowering) -> None:
        """One kernel, between the orders of storage."""
        (shape,), (layout,) = to.x_shapes, to.x_layouts
        places = to_planes(to, to.x[0], layout, shape, "places")
        whole = self.shape(shape)
        if to.layout.is_row_major:
            to.call("gather.one_hot", places, to.out, writes=[to.out])
            return
        planes = to.buffer("planes", whole)
        to.call("gather.one_hot", places, planes, writes=[planes])
        from_planes(to, planes, to.out, to.layout, whole)

    def lower_backward(self, to: Lowering) -> None:
        """Zeros."""
        if to.wanted[0]:
            dx = to.gradient_buffer(0)
            to.call("reductions.nothing", to.dy, dx, writes=[dx], axes=(), order=())
            to.gradient(0, dx)

    def torch(self, *inputs: Shape) -> Torch:
        """`F.one_hot`, in the precision of the input."""
        inside = Torch("torch.clamp", (X(0), 0, self.classes - 1))
        places = Torch("torch.Tensor.long", (inside,))
        return Torch("torch.Tensor.type_as", (Torch("F.one_hot", (places, self.classes)), X(0)))

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`OneHot`, of places that are kept inside the axis or that are there by themselves."""
        found = read.pattern("OneHot(Cast(Min(Max(p, 0), last)), c_n, c_values, axis=-1)")
        classes = None if found is None else read.whole(found.values["c_n"])
        if found is not None and classes is not None:
            yield read.form(cls(classes[0]), found.values["p"])
        found = read.pattern("OneHot(p, c_n, c_values, axis=-1)")
        classes = None if found is None else read.whole(found.values["c_n"])
        if found is None or classes is None or len(classes) != 1:
            return
        values = read.array(found.values["c_values"])
        if values is not None and values.reshape(-1).tolist() == [0, 1]:
            yield read.layer(cls(classes[0]), found.values["p"], found=found)

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`OneHot`, of places inside the axis."""
        last = to.float(self.classes - 1)
        inside = to("Min", to("Max", to.x[0], to.float(0)), last)
        values = to.floats((0, 1), (2,))
        return to("OneHot", to.cast(inside, "int64"), to.ints(self.classes), values, axis=-1)
