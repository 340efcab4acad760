"""Sizes of 1 repeated."""

from collections.abc import Iterable

from netspec.compiler.ir.aten_form import AtenCall
from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.arithmetic import summed

EXPAND = Code.error("shape/expand", "sizes to which a value cannot be repeated")


def _repeated(call: AtenCall) -> tuple[int, ...]:
    """Return the sizes with an axis of its own for the repetitions of each place along an axis."""
    shape, at = call.tensor("self").shape, call.axis("dim")
    return (*shape[:at], call.whole("repeats"), *shape[at:])


def _has_one_place(call: AtenCall) -> None:
    places = call.tensor("self").shape[call.axis("dim") - 1]
    call.require(1 in (places, call.whole("repeats")), "it repeats several places")


@register
class Expand(Op):
    """A value repeated along its axes of size 1, to the sizes given; -1 leaves a size as it is.

    y = x at each repetition: dL/dx = the sum of dL/dy over the repetitions.
    """

    sizes: tuple[int, ...] = attribute(
        IntList(-1, are_sizes=True), "the shape of one image; -1: as it is"
    )

    name = "expand"
    onnx_ends = ("Expand",)
    only_moves = True
    storage = Storage.KEPT
    aten = (
        AtenForm(
            ("expand", "expand_as", "broadcast_to"),
            attributes={"sizes": lambda call: call.shape},
            only_shapes=True,
            spreads=Always(True),
        ),
        AtenForm(
            ("repeat_interleave",),
            attributes={"sizes": lambda call: call.shape},
            unless=_has_one_place,
            only_shapes=True,
            spreads=Always(True),
        ),
        AtenForm(
            ("repeat_interleave",),
            before={"self": (Then("unsqueeze", {"axis": lambda call: call.axis("dim") + 1}),)},
            attributes={"sizes": _repeated},
            then=(Then("reshape", {"sizes": lambda call: call.shape}),),
        ),
    )
    examples = (
        Example("expand([-1, 2, 3])", ((2, 1, 1),)),
        Example("expand([3, 2])", ((1, 2),)),
        Example("expand(3)", ((3,),)),
    )
    bad_examples = (
        BadExample("expand([3, 4])", ((3, 2),), EXPAND),
        BadExample("expand([3, 4])", ((3,),), EXPAND),
        BadExample("expand([0, 4])", ((3, 4),), codes.CALL_VALUE),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """The sizes."""
        (x,) = inputs
        if len(x) != len(self.sizes):
            message = (
                f"`expand` needs a size for each axis of {show_shape(x)}, not {list(self.sizes)}"
            )
            raise ShapeError(EXPAND, message, blame="sizes")
        for axis, (size, wanted) in enumerate(zip(x, self.sizes, strict=True), 1):
            if wanted == 0:
                message = (
                    f"`sizes` must be whole numbers of at least 1, or -1, not {list(self.sizes)}"
                )
                raise ShapeError(codes.CALL_VALUE, message, blame="sizes")
            if wanted != -1 and size != 1 and size - wanted:
                message = f"axis {axis} of {show_shape(x)} cannot be repeated to {wanted}"
                raise ShapeError(EXPAND, message, blame="sizes")
        return tuple(s if w == -1 else w for s, w in zip(x, self.sizes, strict=True))

    def mixes(self, over: tuple[int | None, ...], *inputs: Shape) -> bool:
        """No."""
        return False

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """`np.broadcast_to`."""
        return np.broadcast_to(x[0], (len(x[0]), *self.shape(x[0].shape[1:])))

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """The sum over the repetitions."""
        return (summed(dy, x[0]),)

    def lower(self, to: Lowering) -> None:
        """One copy; none where nothing is repeated."""
        if to.out.shape == to.x[0].shape:
            to.view(to.out, to.x[0])
        else:
            to.call("copies.repeat", to.x[0], to.out, writes=[to.out])

    def lower_backward(self, to: Lowering) -> None:
        """One sum."""
        if not to.wanted[0]:
            return
        if to.out.shape == to.x[0].shape:
            to.gradient(0, to.dy)
            return
        dx = to.gradient_buffer(0)
        to.call("reductions.sum_repeated", to.dy, dx, writes=[dx])
        to.gradient(0, dx)

    def torch(self, *inputs: Shape) -> Torch:
        """`torch.broadcast_to`, for any batch size."""
        return Torch("torch.broadcast_to", (X(0), (BATCH, *self.shape(*inputs))))

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`Expand`."""
        x, target = read.shape(), read.sizes(read.given(1))
        if x is None or target is None or len(target) != len(x) + 1:
            return
        sizes = tuple(
            -1 if size in (1, own) else size for own, size in zip(x, target[1:], strict=True)
        )
        whole = tuple(size for size in sizes if isinstance(size, int))
        if len(whole) == len(sizes):
            yield read.layer(cls(whole), read.given(0))

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Expand`."""
        return to("Expand", to.x[0], to.sizes((1, *to.shape)))
