"""Axes of size 1 left out."""

from collections.abc import Iterable, Mapping, Sequence

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.rearranging import RearrangingOp

SQUEEZE = Code.error("shape/squeeze", "an axis to be left out whose size is not 1")


@register
class Squeeze(RearrangingOp):
    """Axes of size 1 left out.

    y = x without them: dL/dx = dL/dy with them.
    """

    axes: tuple[int, ...] = attribute(AxesOf(), "the axes to leave out")

    name = "squeeze"
    onnx_ends = ("Squeeze",)
    only_moves = True
    storage = Storage.ANY
    torch_function = "torch.squeeze"
    aten = (
        AtenForm(
            ("squeeze.dim", "squeeze.dims"), attributes={"axes": lambda call: call.axes("dim")}
        ),
    )
    examples = (
        Example("squeeze(1)", ((1, 3, 2),)),
        Example("squeeze([2, -1])", ((3, 1, 2, 1),)),
        Example("squeeze(2)", ((2, 1, 3, 2),)),
    )
    bad_examples = (
        BadExample("squeeze(2)", ((3, 4),), SQUEEZE),
        BadExample("squeeze(1)", ((1,),), codes.SHAPE_AXIS),
        BadExample("squeeze(3)", ((1, 2),), codes.SHAPE_AXIS),
    )

    def _gone(self, x: Shape) -> set[int]:
        return {resolve_axis(self.name, axis, x, "axes") for axis in self.axes}

    def shape(self, *inputs: Shape) -> Shape:
        """The other sizes."""
        (x,) = inputs
        gone = self._gone(x)
        for axis in sorted(gone):
            if x[axis - 1] - 1:
                message = f"axis {axis} of {show_shape(x)} has the size {x[axis - 1]}, not 1"
                raise ShapeError(SQUEEZE, message, blame="axes")
        if len(gone) == len(x):
            message = f"`squeeze` of all axes of {show_shape(x)} leaves none"
            raise ShapeError(codes.SHAPE_AXIS, message, blame="axes")
        return tuple(size for axis, size in enumerate(x, 1) if axis not in gone)

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """None: rows and columns no longer tell where a number came from."""
        return None if len(inputs[0]) > 1 else super().sees(*inputs)

    def tokens(self, to: Lowering) -> tuple[Sequence[str], Sequence[str], Mapping[str, int]]:
        """The axes, and those that stay."""
        (x,) = to.x_shapes
        old, gone = [f"a{axis}" for axis in range(len(x))], self._gone(x)
        left = [token for axis, token in enumerate(old, 1) if axis not in gone]
        dropped = [token for token in old if token not in left]
        sizes = dict(zip(old, x, strict=True)) | dict.fromkeys(dropped, 1)
        return to.x_layouts[0].stored(old), [*to.layout.stored(left), *dropped], sizes

    def mixes(self, over: tuple[int | None, ...], *inputs: Shape) -> bool:
        """No."""
        return False

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """`np.squeeze`."""
        y: Array = np.squeeze(x[0], tuple(self._gone(x[0].shape[1:])))
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """A reshape."""
        return (dy.reshape(x[0].shape),)

    def torch(self, *inputs: Shape) -> Torch:
        """`torch.squeeze`."""
        return Torch("torch.squeeze", (X(0), self.axes if len(self.axes) > 1 else self.axes[0]))

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`Squeeze`."""
        rank, axes = read.rank(), read.whole(read.given(1))
        x = read.shape()
        if rank is None or x is None:
            return
        if axes is None and read.given(1) is None:
            axes = tuple(axis for axis, size in enumerate(x, 1) if size == 1)
        if axes:
            gone = tuple(axis + rank if axis < 0 else axis for axis in axes)
            if min(gone) >= 1:
                yield read.layer(cls(gone), read.given(0))

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Squeeze`."""
        return to("Squeeze", to.x[0], to.ints(*sorted(self._gone(to.x_shapes[0]))))
