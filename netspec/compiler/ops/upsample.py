"""Upsampling."""

from typing import Any

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.windows import require_picture

ALIGN_CORNERS = Code.error("shape/align-corners", "`align_corners` without interpolation")


@register
class Upsample(Op):
    """A picture enlarged by a whole factor: each pixel repeated, or linearly between pixels.

    `nearest`: y[n, c, i, j] = x[n, c, i // s, j // s], and with g = dL/dy
        dL/dx[n, c, h, w] = sum of g[n, c, i, j] over the block i // s = h, j // s = w
    `bilinear`: y[n, c] = A x[n, c] B^T, and dL/dx[n, c] = A^T g[n, c] B, where row i of A holds the
    shares of the two rows of pixels that i lies between: it lies at (i + 1/2) / s - 1/2, held to the
    picture, or at i (H - 1) / (s H - 1) with `align_corners`.
    """

    scale: Pair = attribute(PairOf(1), "factor of height and width")
    mode: str = attribute(
        Choice(("nearest", "bilinear")), "repeat pixels, or interpolate linearly", "nearest"
    )
    align_corners: bool = attribute(Bool(), "align the corner pixels of input and output", False)

    name = "upsample"
    examples = (
        Example("upsample(2)", ((3, 4, 5),)),
        Example("upsample([3, 1])", ((2, 3, 2),)),
        Example("upsample(2, mode = bilinear)", ((3, 4, 5),)),
        Example("upsample([3, 2], mode = bilinear)", ((2, 1, 3),)),
        Example("upsample(2, mode = bilinear, align_corners = true)", ((3, 4, 5),)),
        Example("upsample([1, 3], mode = bilinear, align_corners = true)", ((2, 1, 3),)),
    )
    bad_examples = (
        BadExample("upsample(2)", ((10,),), codes.SHAPE_RANK),
        BadExample("upsample(1.5)", ((3, 4, 4),), codes.CALL_VALUE),
        BadExample("upsample(2, align_corners = true)", ((3, 4, 4),), ALIGN_CORNERS),
        BadExample('upsample(2, mode = "cubic")', ((3, 4, 4),), codes.CALL_VALUE),
        BadExample("upsample", ((3, 4, 4),), codes.CALL_MISSING),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """(C, H scale, W scale)."""
        (x,) = inputs
        require_picture(self.name, x)
        if self.align_corners and self.mode == "nearest":
            raise ShapeError(
                ALIGN_CORNERS,
                "`mode = nearest` repeats pixels, and has no corners to align",
                blame="align_corners",
                fixes=(
                    Fix("mode", "bilinear", "interpolate: `mode = bilinear`"),
                    Fix("align_corners", "false", "leave it out"),
                ),
            )
        return (x[0], x[1] * self.scale[0], x[2] * self.scale[1])

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], tuple[int, float]] | None:
        """One pixel, or the two pixels that a number lies between."""
        extent = 1 if self.mode == "nearest" else 2
        return (extent, 1 / self.scale[0]), (extent, 1 / self.scale[1])

    def _matrices(self, x: Array) -> list[Array]:
        """A and B. For `nearest` each of their rows has a single 1."""
        matrices = []
        for size, scale in zip(x.shape[2:], self.scale, strict=True):
            enlarged = size * scale
            matrix = np.zeros((enlarged, size), x.dtype)
            for i in range(enlarged):
                if self.mode == "nearest":
                    at = float(i // scale)
                elif self.align_corners:
                    at = i * (size - 1) / (enlarged - 1) if enlarged > 1 else 0.0
                else:
                    at = max((i + 0.5) / scale - 0.5, 0.0)
                low = int(at)
                matrix[i, low] += 1 - (at - low)
                matrix[i, min(low + 1, size - 1)] += at - low
            matrices.append(matrix)
        return matrices

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """A x B^T."""
        a, b = self._matrices(x[0])
        return _both_axes(a, b, x[0])

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """A^T g B."""
        a, b = self._matrices(x[0])
        return (_both_axes(a.T, b.T, dy),)

    def lower(self, to: Lowering) -> None:
        """One copy, or two matrix products per image."""
        if self.mode == "nearest":
            to.call("upsample.nearest_forward", to.x[0], to.out, writes=[to.out], scale=self.scale)
            return
        to.call(
            "upsample.linear_forward", to.x[0], to.out, to.scratch,
            writes=[to.out], scratch=self._scratch(to), align_corners=self.align_corners,
        )  # fmt: skip

    def lower_backward(self, to: Lowering) -> None:
        """Sums of blocks, or two matrix products per image."""
        if not to.wanted[0]:
            return
        dx = to.gradient_buffer(0)
        if self.mode == "nearest":
            to.call("upsample.nearest_backward", to.dy, dx, writes=[dx], scale=self.scale)
        else:
            to.call(
                "upsample.linear_backward", to.dy, dx, to.scratch,
                writes=[dx], scratch=self._scratch(to), align_corners=self.align_corners,
            )  # fmt: skip
        to.gradient(0, dx)

    def _scratch(self, to: Lowering) -> Scratch:
        return to.needs("upsample.scratch_size", (to.x[0].shape, to.out.shape))

    def torch(self, *inputs: Shape) -> Torch:
        """`F.interpolate`."""
        options: dict[str, Any] = {"scale_factor": self.scale, "mode": self.mode}
        if self.mode == "bilinear":
            options["align_corners"] = self.align_corners
        return Torch("F.interpolate", (X(0),), options, defaults={"mode": "nearest"})


def _both_axes(a: Array, b: Array, x: Array) -> Array:
    """A x B^T for x (N, C, H, W).

    It only adds the pixels that have a share, so that no NaN spreads.
    """
    tall = _times(a, x.transpose(2, 3, 0, 1))
    return _times(b, tall.swapaxes(0, 1)).transpose(2, 3, 1, 0)


def _times(matrix: Array, x: Array) -> Array:
    """The product of a matrix (M, K) and x (K, ...)."""
    return np.stack([sum(row[j] * x[j] for j in np.flatnonzero(row)) for row in matrix])
