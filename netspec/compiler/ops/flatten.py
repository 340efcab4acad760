"""Flatten."""

import math
from collections.abc import Iterable

from netspec.compiler.ir.contract import *


@register
class Flatten(Op):
    """Every image as one vector, row-major over (C, H, W). The gradient is reshaped back.

    y[n, (c H + h) W + w] = x[n, c, h, w] and dL/dx[n, c, h, w] = g[n, (c H + h) W + w], with g = dL/dy.
    """

    name = "flatten"
    onnx_ends = ("Flatten", "Reshape")
    only_moves = True
    storage = Storage.ANY
    aten = (
        AtenForm(
            ("flatten", "view", "reshape"),
            unless=lambda call: call.require(
                len(call.shape) == 1 and call.tensor("self").first == 0, "it keeps an axis"
            ),
            only_shapes=True,
        ),
    )
    examples = (
        Example("flatten", ((3, 4, 5),)),
        Example("flatten", ((1, 4, 5),)),
        Example("flatten", ((6, 1, 1),)),
        Example("flatten", ((3, 4),)),
        Example("flatten", ((7,),)),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """(C H W,)."""
        return (math.prod(inputs[0]),)

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """A reshape."""
        return x[0].reshape(len(x[0]), -1)

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """A reshape."""
        return (dy.reshape(x[0].shape),)

    def lower(self, to: Lowering) -> None:
        """A view if the stored order is already that of the vector, else one transposing copy."""
        if self._in_order(to):
            to.view(to.out, to.x[0])
            return
        planes = to.buffer("planes", to.x_shapes[0])
        to.call("copies.to_channels_first", to.x[0], planes, writes=[planes])
        to.view(to.out, planes)

    def lower_backward(self, to: Lowering) -> None:
        """The inverse view or copy."""
        if not to.wanted[0]:
            return
        dx = to.gradient_buffer(0)
        if self._in_order(to):
            to.view(dx, to.dy)
        else:
            dplanes = to.buffer("dplanes", to.x_shapes[0])
            to.view(dplanes, to.dy)
            to.call("copies.to_channels_last", dplanes, dx, writes=[dx])
        to.gradient(0, dx)

    @staticmethod
    def _in_order(to: Lowering) -> bool:
        """Whether the value is stored in the order of the vector."""
        return to.x_layouts[0].keeps_order(to.x_shapes[0])

    def torch(self, *inputs: Shape) -> Torch:
        """`torch.flatten`."""
        return Torch("torch.flatten", (X(0), 1), as_module="nn.Flatten")

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`Flatten`, or a `Reshape` to one axis."""
        x = read.shape()
        if x is None:
            return
        if read.root.operator == "Flatten":
            if read.attributes.whole("axis") in (1, -len(x)):
                yield read.layer(cls(), read.given(0))
            return
        target = read.sizes(read.given(1))
        if target is not None and len(target) == 2 and read.image_sizes(target, x) is not None:
            yield read.layer(cls(), read.given(0))

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Flatten`."""
        return to("Flatten", to.x[0], axis=1)
