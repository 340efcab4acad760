"""Reshape."""

import math
from collections.abc import Iterable

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.sizes import elements

RESHAPE = Code.error("shape/reshape", "sizes whose number of elements is not that of the value")


@register
class Reshape(Op):
    """The numbers of each image, row-major over (C, H, W), in another shape; the batch stays apart.

    y = reshape(x, sizes) and, with g = dL/dy, dL/dx = reshape(g, the sizes of x).
    One size may be -1: what is left for it.
    """

    sizes: tuple[int, ...] = attribute(
        IntList(1, wildcard=True, are_sizes=True), "the shape of one image; one size may be -1"
    )

    name = "reshape"
    onnx_ends = ("Reshape",)
    only_moves = True
    storage = Storage.ANY
    aten = (
        AtenForm(
            ("view", "reshape", "_unsafe_view", "unflatten", "flatten", "view_as", "reshape_as"),
            attributes={"sizes": lambda call: call.shape},
            only_shapes=True,
        ),
    )
    examples = (
        Example("reshape([4, 15])", ((3, 4, 5),)),
        Example("reshape([5, -1, 2])", ((3, 4, 5),)),
        Example("reshape(-1)", ((2, 3, 3),)),
        Example("reshape([3, 20])", ((3, 4, 5),)),
        Example("reshape([2, 3, 2])", ((12,),)),
        Example("reshape([1, 4, 3])", ((12,),)),
        Example("reshape([6, 1, 1])", ((2, 3),)),
        Example("reshape([2, 2, -1, 3])", ((4, 3, 2),)),
        Example("reshape([3, 4])", ((2, 6),)),
    )
    bad_examples = (
        BadExample("reshape([5, 5])", ((3, 4, 4),), RESHAPE),
        BadExample("reshape([5, -1])", ((3, 4, 4),), RESHAPE),
        BadExample("reshape([-1, -1])", ((3, 4, 4),), codes.CALL_VALUE),
        BadExample("reshape([0, 48])", ((3, 4, 4),), codes.CALL_VALUE),
        BadExample("reshape([])", ((3, 4, 4),), codes.CALL_VALUE),
        BadExample("reshape", ((3, 4, 4),), codes.CALL_MISSING),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """The sizes, where -1 is replaced by a number."""
        (x,) = inputs
        if -1 not in self.sizes and elements(x) == elements(self.sizes):
            return self.sizes
        count = math.prod(x)
        given = math.prod(size for size in self.sizes if size != -1)
        rest = count % given if -1 in self.sizes else given - count
        if rest:
            product = " * ".join(str(size) for size in self.sizes if size != -1)
            wanted = f"{product} = {given}" if "*" in product else product
            if -1 in self.sizes:
                message = f"the {count} numbers of {show_shape(x)} are not a multiple of {wanted}"
            else:
                message = f"{show_shape(x)} has {count} numbers, not {wanted}"
            raise ShapeError(
                RESHAPE,
                message,
                blame="sizes",
                notes=(f"{' * '.join(map(str, x))} = {count}",),
            )
        return tuple(count // given if size == -1 else size for size in self.sizes)

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """None: rows and columns no longer tell where a number came from."""
        return None if len(inputs[0]) > 1 else super().sees(*inputs)

    def mixes(self, over: tuple[int | None, ...], *inputs: Shape) -> bool:
        """Where an axis gets other numbers in front of it, or is cut or joined."""
        (x,), (at,) = inputs, over
        if at is None:
            return False
        y, before = self.shape(x), math.prod(x[: at - 1])
        kept = (i for i, size in enumerate(y) if size == x[at - 1] and math.prod(y[:i]) == before)
        return next(kept, None) is None

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """A reshape."""
        return x[0].reshape(len(x[0]), *self.sizes)

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """A reshape."""
        return (dy.reshape(x[0].shape),)

    def lower(self, to: Lowering) -> None:
        """A view, between transposing copies if pictures are stored in another order."""
        source = to_planes(to, to.x[0], to.x_layouts[0], to.x_shapes[0], "planes")
        if to.layout.is_row_major:
            to.view(to.out, source)
            return
        planes = to.buffer("reshaped", to.node.shape)
        to.view(planes, source)
        from_planes(to, planes, to.out, to.layout, to.node.shape)

    def lower_backward(self, to: Lowering) -> None:
        """The inverse view and copies."""
        if not to.wanted[0]:
            return
        dx, shape = to.gradient_buffer(0), to.x_shapes[0]
        source = to_planes(to, to.dy, to.layout, to.node.shape, "dreshaped")
        if to.x_layouts[0].is_row_major:
            to.view(dx, source)
        else:
            planes = to.buffer("dplanes", shape)
            to.view(planes, source)
            from_planes(to, planes, dx, to.x_layouts[0], shape)
        to.gradient(0, dx)

    def torch(self, *inputs: Shape) -> Torch:
        """`torch.reshape`, for any batch size, also of no images if no size is left open."""
        return Torch("torch.reshape", (X(0), (BATCH, *self.sizes)))

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`Reshape`."""
        x, target = read.shape(), read.sizes(read.given(1))
        sizes = None if x is None or target is None else read.image_sizes(target, x)
        if sizes:
            yield read.layer(cls(sizes), read.given(0))

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Reshape`."""
        return to.reshaped(to.x[0], to.shape)
