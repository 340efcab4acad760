"""Pixels become channels."""

from collections.abc import Iterable, Mapping, Sequence

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.pixel_shuffle import PIXELS, down, up
from netspec.compiler.ops.families.rearranging import RearrangingOp
from netspec.compiler.ops.families.windows import require_picture


@register
class PixelUnshuffle(RearrangingOp):
    """Pixels become channels: (C, H r, W r) becomes (C r r, H, W), the inverse of `pixel_shuffle`.

    y[c r r + i r + j, h, w] = x[c, h r + i, w r + j]; dL/dx = `pixel_shuffle` of dL/dy.
    """

    factor: int = attribute(Int(1), "r, the factor of height and width")

    name = "pixel_unshuffle"
    onnx_ends = ("Reshape",)
    torch_function = "F.pixel_unshuffle"
    torch_module = "nn.PixelUnshuffle"
    aten = (AtenForm(("pixel_unshuffle",), attributes={"factor": "downscale_factor"}),)
    examples = (
        Example("pixel_unshuffle(2)", ((2, 2, 4),)),
        Example("pixel_unshuffle(3)", ((1, 3, 3),)),
    )
    bad_examples = (
        BadExample("pixel_unshuffle(2)", ((3, 3, 4),), PIXELS),
        BadExample("pixel_unshuffle(2)", ((8,),), codes.SHAPE_RANK),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """(C r^2, H / r, W / r)."""
        (x,) = inputs
        require_picture(self.name, x)
        channels, height, width = x
        if height % self.factor or width % self.factor:
            message = f"{height}x{width} pixels are no multiple of {self.factor}x{self.factor}"
            raise ShapeError(PIXELS, message, blame="factor")
        return channels * self.factor * self.factor, height // self.factor, width // self.factor

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """One pixel, of every r-th row and column or between them."""
        return (self.factor, self.factor), (self.factor, self.factor)

    def tokens(self, to: Lowering) -> tuple[Sequence[str], Sequence[str], Mapping[str, int]]:
        """Height and width by r, and channels by r twice."""
        (x,), r = to.x_shapes, self.factor
        sizes = {"c": x[0], "h": x[1] // r, "w": x[2] // r, "r": r, "s": r}
        return ["h", "r", "w", "s", "c"], ["h", "w", "c", "r", "s"], sizes

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """A transpose of the parts of the axes."""
        return down(x[0], self.factor)

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """The inverse transpose."""
        return (up(dy, self.factor),)

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """A transpose of the parts of the axes."""
        found = read.pattern("Reshape(Transpose(Reshape(x, s), perm=(0, 1, 3, 5, 2, 4)), t)")
        sizes = None if found is None else read.sizes(found.values["s"])
        if (
            found is not None
            and sizes is not None
            and len(sizes) == 6
            and isinstance(sizes[3], int)
        ):
            yield read.form(cls(sizes[3]), found.values["x"])

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """A transpose of the parts of the axes."""
        channels, height, width = to.x_shapes[0]
        r = self.factor
        parts = to.reshaped(to.x[0], (channels, height // r, r, width // r, r))
        return to.reshaped(to.transposed(parts, (1, 3, 5, 2, 4)), to.shape)
