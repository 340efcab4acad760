"""Numbers chosen by their places."""

import math
from collections.abc import Callable, Iterable

from netspec.compiler.ir.aten_form import AtenCall, AtenTensor, NoNetspecFormError
from netspec.compiler.ir.contract import *

GATHER = Code.error("shape/gather", "places of another shape than the value that they choose from")


Indexed = Callable[[AtenCall], tuple[int, Shape]]


def _indexed(call: AtenCall) -> tuple[int, Shape]:
    """Return the axis that `x[places]` or `x[:, places]` chooses along, and the shape of the places.

    Raises:
        NoNetspecFormError: if it chooses along several axes, or by what is no whole number.
    """
    given = call.arguments.get("indices")
    items = given if isinstance(given, tuple) else (call.arguments.get("indices.0"),)
    if "indices.1" in call.arguments or sum(item is not None for item in items) != 1:
        raise NoNetspecFormError("it chooses along several axes at once")
    dim = next(i for i, item in enumerate(items) if item is not None)
    places = items[dim]
    if not isinstance(places, AtenTensor) or places.is_condition or places.first == 0:
        raise NoNetspecFormError("its places are no table of whole numbers")
    return call.tensor("self").axis(dim), places.shape


def _along(indexed: Indexed) -> tuple[Then, ...]:
    """Return what makes a table of places as long as the value along all other axes."""

    def shapes(call: AtenCall) -> tuple[Shape, Shape]:
        axis, places = indexed(call)
        x = call.tensor("self").shape
        count = math.prod(size for size in places if isinstance(size, int))
        front, behind = x[: axis - 1], x[axis:]
        ones = (1,) * len(front), (1,) * len(behind)
        return (*ones[0], count, *ones[1]), (*front, count, *behind)

    return (
        Then("reshape", {"sizes": lambda call: shapes(call)[0]}, only_shapes=True),
        Then("expand", {"sizes": lambda call: shapes(call)[1]}, only_shapes=True),
    )


def _last(axis: int, call: AtenCall) -> object:
    """Return the last place along an axis."""
    return call.tensor("self").shape[axis - 1] - 1


@register
class Gather(Op):
    """Numbers at places along an axis: y[.., i, ..] = x[.., p[.., i, ..], ..] for `gather(x, p, axis)`.

    A place is a whole number, counted from 0; one outside the axis is the nearest inside. The value
    has the shape of p, which may be smaller than x. dL/dx = the sum of dL/dy over the places that
    chose it; dL/dp = 0.
    """

    axis: int = attribute(AxisOf(), "the axis to choose along")

    name = "gather"
    onnx_ends = ("GatherElements",)
    arity = 2
    aten = (
        AtenForm(
            ("gather",),
            ("self", "index"),
            attributes={"axis": lambda call: call.axis("dim")},
            places="index",
            last_place=lambda call: _last(call.axis("dim"), call),
        ),
        AtenForm(
            ("index_select",),
            ("self", "index"),
            attributes={"axis": lambda call: call.axis("dim")},
            before={"index": _along(lambda call: (call.axis("dim"), call.tensor("index").shape))},
            places="index",
            last_place=lambda call: _last(call.axis("dim"), call),
        ),
        AtenForm(
            ("index",),
            ("self", "indices"),
            attributes={"axis": lambda call: _indexed(call)[0]},
            before={"indices": _along(_indexed)},
            then=(Then("reshape", {"sizes": lambda call: call.shape}, only_shapes=True),),
            places="indices",
            last_place=lambda call: _last(_indexed(call)[0], call),
        ),
    )
    examples = (
        Example("gather(1)", ((3,), (5,))),
        Example("gather(2)", ((2, 3), (2, 4))),
        Example("gather(-1)", ((3, 3), (2, 1))),
        Example("gather(1)", ((4, 2, 3), (2, 2, 3))),
        Example("gather(axis = 3)", ((2, 3, 4), (2, 2, 5))),
    )
    bad_examples = (
        BadExample("gather(1)", ((3, 4), (3, 5)), GATHER),
        BadExample("gather(1)", ((3, 4), (3,)), GATHER),
        BadExample("gather(3)", ((3, 4), (3, 4)), codes.SHAPE_AXIS),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """That of the places."""
        x, places = inputs
        axis = resolve_axis(self.name, self.axis, x)
        pairs = enumerate(zip(x, places, strict=False), 1)
        if len(x) != len(places) or any(
            isinstance(size, int) and isinstance(n, int) and n > size and at != axis
            for at, (size, n) in pairs
        ):
            message = (
                f"`gather` on axis {axis} needs places with the axes of {show_shape(x)},"
                f" none but that one longer, not {show_shape(places)}"
            )
            help = "`unsqueeze` and `expand` give places the axes of the value"
            raise ShapeError(GATHER, message, help=help)
        return places

    def takes(self, index: int) -> tuple[NumberType, ...]:
        """Places are whole numbers."""
        return ("int", "real") if index == 1 else ("real",)

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """None: the places may be any."""
        return None

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """`np.take_along_axis`."""
        value, places = x
        axis = self._axis(value)
        part = tuple(slice(None) if a == axis else slice(n) for a, n in enumerate(places.shape))
        y: Array = np.take_along_axis(value[part], self._places(value, places), axis)
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Added up where they came from."""
        value, places = x
        dx, chosen, axis = np.zeros_like(value), self._places(value, places), self._axis(value)
        for index in np.ndindex(*dy.shape):
            place = (*index[:axis], chosen[index], *index[axis + 1 :])
            dx[place] += dy[index]
        return dx, np.zeros_like(places)

    def pattern(self, *x: Array) -> Array | None:
        """The places."""
        return self._places(*x)

    def _axis(self, x: Array) -> int:
        return resolve_axis(self.name, self.axis, x.shape[1:])

    def _places(self, x: Array, places: Array) -> Array:
        """Return the places as whole numbers."""
        last = x.shape[self._axis(x)] - 1
        whole: Array = np.clip(np.nan_to_num(places), 0, last).astype(np.int64)
        return whole

    def lower(self, to: Lowering) -> None:
        """One kernel."""
        x, places = to.x
        to.call("gather.choose", x, places, to.out, writes=[to.out], axis=self._stored_axis(to))

    def lower_backward(self, to: Lowering) -> None:
        """One kernel for each."""
        if to.wanted[0]:
            dx, axis = to.gradient_buffer(0), self._stored_axis(to)
            to.call("gather.choose_backward", to.x[1], to.dy, dx, writes=[dx], axis=axis)
            to.gradient(0, dx)
        if to.wanted[1]:
            nothing = to.gradient_buffer(1)
            to.call("reductions.nothing", to.dy, nothing, writes=[nothing], axes=(), order=())
            to.gradient(1, nothing)

    def _stored_axis(self, to: Lowering) -> int:
        return to.layout.position(resolve_axis(self.name, self.axis, to.x_shapes[0]))

    def torch(self, *inputs: Shape) -> Torch:
        """`torch.gather`."""
        axis = resolve_axis(self.name, self.axis, inputs[0])
        inside = Torch("torch.clamp", (X(1), 0, inputs[0][axis - 1] - 1))
        return Torch("torch.gather", (X(0), self.axis, Torch("torch.Tensor.long", (inside,))))

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`GatherElements`, of places inside the axis."""
        value, places = read.given(0), read.given(1)
        rank = None if value is None or value.shape is None else len(value.shape) + 1
        if rank is None or value is None or places is None:
            return
        axis = read.attributes.whole("axis")
        op = cls(axis + rank if axis < 0 else axis)
        yield read.layer(op, value, places)
        found = read.pattern("GatherElements(v, Cast(Min(Max(p, 0), last)))")
        if found is not None:
            yield read.form(op, value, found.values["p"])

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`GatherElements`, of places inside the axis."""
        axis = resolve_axis(self.name, self.axis, to.x_shapes[0])
        last = to.size_as_float(to.x_shapes[0][axis - 1] - 1)
        inside = to("Min", to("Max", to.x[1], to.float(0)), last)
        return to("GatherElements", to.x[0], to.cast(inside, "int64"), axis=axis)
