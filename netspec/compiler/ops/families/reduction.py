"""The base class of reductions over axes: their attributes, the shape rule, and the kernel options."""

from collections.abc import Iterable
from typing import Any, ClassVar

from netspec.compiler.ir.contract import *
from netspec.records import record


@record
class ReductionOp(Op):
    """An op that replaces all numbers along some axes by one.

    The kernels are called with `_options`.

    Attributes:
        forward_kernel: the kernel that computes the value from the input.
        backward_kernel: the kernel that computes the gradient of the input from the operands in
            `reads`, in that order.
        reads: operands of the backward kernel: `x` is the input, `y` the value, `dy` its gradient.
    """

    axes: tuple[int, ...] = attribute(AxesOf(), "the axes to go over")
    keep: bool = attribute(Bool(), "keep these axes, with size 1", False)

    storage = Storage.ANY

    forward_kernel: ClassVar[str]
    backward_kernel: ClassVar[str]
    reads: ClassVar[tuple[str, ...]] = ("dy",)

    def _resolved(self, x: Shape) -> tuple[int, ...]:
        """Return the axes, counted from 1, in ascending order.

        Raises:
            ShapeError: `shape/axis`, for an axis that x does not have, or for one given twice.
        """
        axes = sorted(resolve_axis(self.name, axis, x, "axes") for axis in self.axes)
        if len(set(axes)) < len(axes):
            message = f"`{self.name}` goes over each axis once, not over {list(self.axes)}"
            raise ShapeError(codes.SHAPE_AXIS, message, blame="axes")
        return tuple(axes)

    def shape(self, *inputs: Shape) -> Shape:
        """Return the sizes of the other axes, and 1 for each reduced axis if they are kept.

        Raises:
            ShapeError: `shape/axis`, for a wrong axis, or if no axis is left.
        """
        (x,) = inputs
        axes = self._resolved(x)
        if self.keep:
            return tuple(1 if axis in axes else size for axis, size in enumerate(x, 1))
        if len(axes) == len(x):
            raise ShapeError(
                codes.SHAPE_AXIS,
                f"`{self.name}` over all axes of {show_shape(x)} leaves none",
                blame="axes",
                fixes=(Fix("keep", "true", "keep them with size 1: `keep = true`"),),
            )
        return tuple(size for axis, size in enumerate(x, 1) if axis not in axes)

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """Return one pixel if the channels are reduced and kept, or the input is not a picture;
        else None.
        """
        over_channels = self.keep and self._resolved(inputs[0]) == (1,)
        return super().sees(*inputs) if over_channels or len(inputs[0]) == 1 else None

    def mixes(self, over: tuple[int | None, ...], *inputs: Shape) -> bool:
        """Along the axes that it goes over."""
        return over[0] in self._resolved(inputs[0])

    def _options(self, to: Lowering) -> dict[str, Any]:
        """Return the reduced axes as stored, and the position of each other axis in the stored
        value.
        """
        (x,) = to.x_shapes
        axes, inside = self._resolved(x), to.x_layouts[0]
        left = [axis for axis in range(1, len(x) + 1) if axis not in axes]
        order = [
            to.layout.position(axis if self.keep else 1 + left.index(axis))
            for axis in inside.order
            if self.keep or axis in left
        ]
        return {
            "axes": tuple(sorted(inside.position(axis) for axis in axes)),
            "order": tuple(order),
        }

    def lower(self, to: Lowering) -> None:
        """Append one kernel call."""
        options = self._options(to)
        to.call(self.forward_kernel, to.x[0], to.out, writes=[to.out], **options)

    def lower_backward(self, to: Lowering) -> None:
        """Append one kernel call."""
        if to.wanted[0]:
            dx = to.gradient_buffer(0)
            known = {"x": to.x[0], "y": to.out, "dy": to.dy}
            given = [known[name] for name in self.reads]
            options = self._options(to)
            to.call(self.backward_kernel, *given, dx, writes=[dx], **options)
            to.gradient(0, dx)

    # -- for the reference

    def _over(self, x: Array) -> tuple[int, ...]:
        """Return the reduced axes of a batch."""
        return self._resolved(x.shape[1:])

    def _beside(self, x: Array, reduced: Array) -> Array:
        """Return a reduced batch with all axes of x. Those that are gone have size 1."""
        return reduced if self.keep else np.expand_dims(reduced, self._over(x))

    def reduced(self, function: str) -> Torch:
        """Return a call of a PyTorch function that takes `dim` and `keepdim`."""
        dim = self.axes[0] if len(self.axes) == 1 else self.axes
        return Torch(
            function, (X(0),), {"dim": dim, "keepdim": self.keep}, defaults={"keepdim": False}
        )

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """The operator, over some axes of each image."""
        rank, axes = read.rank(), read.whole(read.given(1))
        if rank is None:
            return
        if axes is None and read.given(1) is None:
            axes = tuple(read.attributes.ints("axes") or range(rank))
        if axes:
            over = tuple(sorted(axis + rank if axis < 0 else axis for axis in axes))
            if min(over) >= 1:
                yield read.layer(cls(over, bool(read.attributes.whole("keepdims"))), read.given(0))

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`onnx_operator` over the axes."""
        if not self.onnx_operator:
            return super().onnx(to)
        axes = self._resolved(to.x_shapes[0])
        return to.reduced(self.onnx_operator, to.x[0], axes, keep=self.keep)
