"""Windows as columns."""

import math
from collections.abc import Iterable
from typing import Any

from netspec.compiler.ir.attributes import flat, sides, spread
from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.windows import (
    axes,
    is_even,
    onnx_read_window,
    onnx_sides,
    require_axes,
    require_fit,
    require_picture,
    torch_sides,
)

# The filters of ONNX's form have as many numbers as this squared.
_MOST_PLACES = 1 << 10


@register
class Unfold(Op):
    """Windows as columns: (C, H, W) becomes (C K, L), for L windows of K pixels (im2col).

    y[(c, i, j), l] = pixel (i, j) of channel c of window l, the windows row by row; 0 in the padding.
    dL/dx of a pixel = the sum of dL/dy over the windows that hold it: dL/dx = fold(dL/dy).
    """

    kernel: Sizes = attribute(SizesOf(1), "size of the windows")
    stride: Sizes = attribute(SizesOf(1), "step of the windows", 1)
    pad: Padding = attribute(PaddingOf(same=False), "zeros around the picture", 0)
    dilation: Sizes = attribute(SizesOf(1), "distance between the pixels of a window", 1)

    name = "unfold"
    onnx_ends = ("Reshape",)
    aten = (
        AtenForm(
            ("im2col",),
            attributes={
                "kernel": "kernel_size",
                "stride": "stride",
                "pad": "padding",
                "dilation": "dilation",
            },
        ),
    )
    examples = (
        Example("unfold(2)", ((2, 3, 3),)),
        Example("unfold([3, 2], stride = 2, pad = 1, dilation = [1, 2])", ((1, 3, 4),)),
        Example("unfold(2, 3, [[2, 0], [0, 1]])", ((1, 3, 4),)),
    )
    bad_examples = (
        BadExample("unfold(5)", ((3, 4, 4),), codes.SHAPE_KERNEL_TOO_LARGE),
        BadExample("unfold(2)", ((10,),), codes.SHAPE_RANK),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """(C K, L)."""
        (x,) = inputs
        require_picture(self.name, x)
        require_axes(self, x)
        window = axes(x, self.kernel, self.stride, self.pad, self.dilation)
        require_fit(self.name, window)
        return x[0] * math.prod(spread(self.kernel, 2)), window[0].output * window[1].output

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """None: rows and columns no longer tell where a number came from."""
        return None

    def _index(self, x: Array) -> tuple[Array, Array]:
        """The row and the column of each number of y in the padded picture: (K, L)."""
        window = axes(x.shape[1:], self.kernel, self.stride, self.pad, self.dilation)
        taps = np.indices(spread(self.kernel, 2)).reshape(2, -1, 1) * np.reshape(
            spread(self.dilation, 2), (2, 1, 1)
        )
        starts = np.indices([axis.output for axis in window]).reshape(2, 1, -1)
        rows, columns = taps + starts * np.reshape(spread(self.stride, 2), (2, 1, 1))
        return rows, columns

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """Each number from its place in the padded picture."""
        padded = np.pad(x[0], ((0, 0), (0, 0), *sides(self.pad, 2)))
        rows, columns = self._index(x[0])
        windows: Array = padded[:, :, rows, columns]
        return windows.reshape(len(padded), -1, rows.shape[1])

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Each gradient to its place in the padded picture, without the padding."""
        (top, bottom), (left, right) = sides(self.pad, 2)
        n, channels, height, width = x[0].shape
        padded = np.zeros((n, channels, height + top + bottom, width + left + right))
        rows, columns = self._index(x[0])
        places: Any = (slice(None), slice(None), rows, columns)
        np.add.at(padded, places, dy.reshape(n, channels, *rows.shape))
        return (padded[:, :, top : top + height, left : left + width],)

    def _options(self) -> dict[str, Any]:
        return {
            "kernel": spread(self.kernel, 2), "stride": spread(self.stride, 2),
            "pad": flat(self.pad, 2), "dilation": spread(self.dilation, 2),
        }  # fmt: skip

    def lower(self, to: Lowering) -> None:
        """One kernel."""
        to.call("windows.unfold", to.x[0], to.out, writes=[to.out], **self._options())

    def lower_backward(self, to: Lowering) -> None:
        """One kernel."""
        if to.wanted[0]:
            dx = to.gradient_buffer(0)
            to.call("windows.fold", to.dy, dx, writes=[dx], **self._options())
            to.gradient(0, dx)

    def torch(self, *inputs: Shape) -> Torch:
        """`F.unfold`, after `F.pad` where sides differ."""
        even = is_even(self.pad)
        picture = X(0) if even else Torch("F.pad", (X(0), torch_sides(self.pad, 2)))
        return Torch(
            "F.unfold",
            (picture, spread(self.kernel, 2)),
            {
                "dilation": spread(self.dilation, 2),
                "padding": flat(self.pad, 2)[::2] if even else (0, 0),
                "stride": spread(self.stride, 2),
            },
            defaults={"dilation": 1, "padding": 0, "stride": 1},
            pairs=True,
        )

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`Conv` with a filter for each place of a window, which holds a single 1."""
        found = read.pattern("Reshape(Conv(x, c_w), s)")
        x = None if found is None else found.values["x"].shape
        if found is None or x is None or len(x) != 3:
            return
        (conv,) = (op for op in found.covers if op.operator == "Conv")
        given = conv.attributes
        window = onnx_read_window(given, x, given.ints("kernel_shape"))
        if window is not None:
            yield read.form(cls(**window), found.values["x"])

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Conv` with a filter for each place of a window, which holds a single 1."""
        channels = to.x_shapes[0][0]
        kernel = spread(self.kernel, 2)
        places = math.prod(kernel)
        if places > _MOST_PLACES:
            raise NoOnnxFormError(
                f"`{self.name}` with windows of {places:,} places has no ONNX form"
            )
        ones = to.floats(np.eye(places).ravel().tolist(), (places, 1, *kernel))
        windows = to(
            "Conv", to.x[0], to("Tile", ones, to.ints(channels, 1, 1, 1)),
            kernel_shape=kernel, strides=spread(self.stride, 2), pads=onnx_sides(sides(self.pad, 2)),
            dilations=spread(self.dilation, 2), group=channels,
        )  # fmt: skip
        return to.reshaped(windows, to.shape)
