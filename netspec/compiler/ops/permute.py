"""Permute."""

from collections.abc import Iterable

from netspec.compiler.ir.aten_form import AtenCall
from netspec.compiler.ir.contract import *
from netspec.compiler.ir.layout import Layout

PERMUTE = Code.error("shape/permute", "axes that do not list each axis of the value once")


def _ordered(call: AtenCall) -> tuple[int, ...]:
    return call.order(call.numbers("dims"))


def _swapped(call: AtenCall) -> tuple[int, ...]:
    return call.swapped(*(call.whole(name) for name in list(call.arguments)[1:3]))


def _is_same(axes: tuple[int, ...]) -> bool:
    """Whether all axes stay in order: only the batch may stand elsewhere."""
    return list(axes) == sorted(axes)


@register
class Permute(Op):
    """The axes in another order: axis k of y is axis `axes[k]` of x; `permute([2, 1])` transposes.

    y = transpose(x, axes) and, with g = dL/dy, dL/dx = transpose(g, back), where back[axes[k]] = k.
    Axis 0, the batch, stays in front and is not written.
    """

    axes: tuple[int, ...] = attribute(IntList(0), "the axes of one image, counted from 1")

    name = "permute"
    onnx_ends = ("Transpose",)
    only_moves = True
    storage = Storage.ANY
    moves_axes = True
    aten = (
        AtenForm(
            ("permute",),
            attributes={"axes": _ordered},
            does_nothing=lambda call: _is_same(_ordered(call)),
            moves_batch=True,
        ),
        AtenForm(
            ("t", "numpy_T"),
            attributes={"axes": lambda call: call.swapped(0, call.tensor("self").rank - 1)},
            unless=lambda call: call.require(call.tensor("self").rank == 2, "it has not two axes"),
            moves_batch=True,
        ),
        AtenForm(
            ("transpose", "swapaxes"),
            attributes={"axes": _swapped},
            does_nothing=lambda call: _is_same(_swapped(call)),
            moves_batch=True,
        ),
    )
    examples = (
        Example("permute([2, 3, 1])", ((3, 4, 5),)),
        Example("permute([3, 1, 2])", ((3, 4, 5),)),
        Example("permute([1, 3, 2])", ((2, 3, 4),)),
        Example("permute([2, 1])", ((3, 5),)),
        Example("permute([1, 2])", ((3, 5),)),
        Example("permute([2, 1, 3])", ((3, 1, 1),)),
        Example("permute([4, 2, 1, 3])", ((2, 3, 1, 4),)),
        Example("permute(1)", ((4,),)),
    )
    bad_examples = (
        BadExample("permute([1, 2])", ((3, 4, 4),), PERMUTE),
        BadExample("permute([1, 1, 2])", ((3, 4, 4),), PERMUTE),
        BadExample("permute([0, 2, 3, 1])", ((3, 4, 4),), PERMUTE),
        BadExample("permute([-1, 1])", ((3, 4),), codes.CALL_VALUE),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """The sizes in the new order."""
        (x,) = inputs
        rank = len(x)
        if sorted(self.axes) != list(range(1, rank + 1)):
            fixes: tuple[Fix, ...] = ()
            if self.axes[0] == 0:
                text = str(list(self.axes[1:]))
                fixes = (Fix("axes", text, f"axis 0 is the batch, which stays: `permute({text})`"),)
            raise ShapeError(
                PERMUTE,
                f"`permute` must list each of the axes 1 to {rank} of {show_shape(x)} once,"
                f" not {list(self.axes)}",
                blame="axes",
                fixes=fixes,
            )
        return tuple(x[axis - 1] for axis in self.axes)

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """None if the channels of a picture move: rows and columns then no longer tell where a
        number came from.
        """
        moved = len(inputs[0]) > 1 and self.axes[0] != 1
        return None if moved else super().sees(*inputs)

    def mixes(self, over: tuple[int | None, ...], *inputs: Shape) -> bool:
        """No."""
        return False

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """`np.transpose`."""
        return x[0].transpose(0, *self.axes)

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """The inverse permutation."""
        return (dy.transpose(0, *(1 + self.axes.index(a) for a in range(1, dy.ndim))),)

    @staticmethod
    def _copy(
        to: Lowering,
        source: Buffer,
        target: Buffer,
        axes: tuple[int, ...],
        layouts: tuple[Layout, Layout],
    ) -> None:
        """Append a copy of `source` with its axes permuted, both stored by their layouts; a view if
        nothing moves.
        """
        stored = tuple(layouts[0].position(axis) - 1 for axis in layouts[1].stored(axes))
        moved = [axis for axis in stored if source.shape[axis] != 1]
        if moved == sorted(moved):
            to.view(target, source)
        else:
            to.call(
                "copies.transpose", source, target,
                writes=[target], split=source.shape, axes=stored,
            )  # fmt: skip

    def lower(self, to: Lowering) -> None:
        """One transposing copy."""
        self._copy(to, to.x[0], to.out, self.axes, (to.x_layouts[0], to.layout))

    def lower_backward(self, to: Lowering) -> None:
        """One transposing copy."""
        if to.wanted[0]:
            dx = to.gradient_buffer(0)
            back = tuple(1 + self.axes.index(a) for a in range(1, len(self.axes) + 1))
            self._copy(to, to.dy, dx, back, (to.layout, to.x_layouts[0]))
            to.gradient(0, dx)

    def torch(self, *inputs: Shape) -> Torch:
        """`torch.permute`."""
        return Torch("torch.permute", (X(0), (0, *self.axes)))

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`Transpose` that leaves the batch in front."""
        axes, x = read.attributes.ints("perm"), read.shape()
        if x is not None and axes and axes[0] == 0:
            yield read.layer(cls(tuple(axes[1:])), read.given(0))

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Transpose`."""
        return to.transposed(to.x[0], self.axes)
