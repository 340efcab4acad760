"""Channels become pixels."""

from collections.abc import Iterable, Mapping, Sequence

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.pixel_shuffle import PIXELS, down, up
from netspec.compiler.ops.families.rearranging import RearrangingOp
from netspec.compiler.ops.families.windows import require_picture


@register
class PixelShuffle(RearrangingOp):
    """Channels become pixels (Shi et al. 2016): (C r r, H, W) becomes (C, H r, W r).

    y[c, h r + i, w r + j] = x[c r r + i r + j, h, w]; dL/dx = `pixel_unshuffle` of dL/dy.
    """

    factor: int = attribute(Int(1), "r, the factor of height and width")

    name = "pixel_shuffle"
    onnx_ends = ("DepthToSpace", "Reshape")
    torch_function = "F.pixel_shuffle"
    torch_module = "nn.PixelShuffle"
    aten = (AtenForm(("pixel_shuffle",), attributes={"factor": "upscale_factor"}),)
    examples = (
        Example("pixel_shuffle(2)", ((4, 2, 3),)),
        Example("pixel_shuffle(3)", ((9, 1, 2),)),
    )
    bad_examples = (
        BadExample("pixel_shuffle(2)", ((6, 2, 2),), PIXELS),
        BadExample("pixel_shuffle(2)", ((8,),), codes.SHAPE_RANK),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """(C / r^2, H r, W r)."""
        (x,) = inputs
        require_picture(self.name, x)
        channels, height, width = x
        square = self.factor * self.factor
        if channels % square:
            message = f"{channels} channels are no multiple of {self.factor}^2 = {square}"
            raise ShapeError(PIXELS, message, blame="factor")
        return channels // square, height * self.factor, width * self.factor

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """One pixel for r rows and columns."""
        return (1, 1 / self.factor), (1, 1 / self.factor)

    def tokens(self, to: Lowering) -> tuple[Sequence[str], Sequence[str], Mapping[str, int]]:
        """Height and width by r, and channels by r twice."""
        (x,), r = to.x_shapes, self.factor
        sizes = {"c": x[0] // (r * r), "h": x[1], "w": x[2], "r": r, "s": r}
        return ["h", "w", "c", "r", "s"], ["h", "r", "w", "s", "c"], sizes

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """A transpose of the parts of the axes."""
        return up(x[0], self.factor)

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """The inverse transpose."""
        return (down(dy, self.factor),)

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`DepthToSpace`, or a transpose of the parts of the axes."""
        if read.root.operator == "DepthToSpace":
            if read.attributes.text("mode") == "CRD":
                yield read.layer(cls(read.attributes.whole("blocksize")), read.given(0))
            return
        found = read.pattern("Reshape(Transpose(Reshape(x, s), perm=(0, 1, 4, 2, 5, 3)), t)")
        x = None if found is None else found.values["x"].shape
        sizes = None if found is None else read.sizes(found.values["s"])
        if found is None or x is None or len(x) != 3 or sizes is None or len(sizes) != 6:
            return
        r = sizes[2]
        if isinstance(r, int) and r == sizes[3] and sizes[1] == x[0] // (r * r):
            yield read.layer(cls(r), found.values["x"], found=found)

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`DepthToSpace`."""
        return to("DepthToSpace", to.x[0], blocksize=self.factor, mode="CRD")
