"""Upsampling."""

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, TypeAlias, TypeVar

from netspec.compiler.ir.attributes import spread
from netspec.compiler.ir.contract import *
from netspec.compiler.ir.onnx_read import FileAttributes, joined, plain
from netspec.compiler.ir.sizes import Dim
from netspec.compiler.ops.families.windows import KINDS, require_axes

ALIGN_CORNERS = Code.error("shape/align-corners", "`align_corners` without interpolation")
SIZE_OR_SCALE = Code.error("shape/size-or-scale", "an `upsample` without a size, or with two")

# The number of axes behind the channels that an interpolation is for, as in PyTorch.
INTERPOLATIONS = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}
# Those that repeat pixels.
NEAREST = ("nearest", "nearest-exact")
# The numbers of a matrix that are not 0, by their columns, for each row. Only pixels that have a share
# are added, so that no NaN spreads.
_Rows: TypeAlias = list[dict[int, float]]


@register
class Upsample(Op):
    """A picture resized by factors or to a size: pixels repeated, or interpolated.

    `nearest`: y[n, c, i, j] = x[n, c, floor(i / s), floor(j / s)], and with g = dL/dy
        dL/dx[n, c, h, w] = sum of g[n, c, i, j] over the i, j that read the pixel
    `nearest-exact` reads floor((i + 1/2) / s), the pixel whose middle is nearest.
    `bilinear`: y[n, c] = A x[n, c] B^T, and dL/dx[n, c] = A^T g[n, c] B, where row i of A holds the
    shares of the two rows of pixels that i lies between: it lies at (i + 1/2) / s - 1/2, held to the
    picture, or at i (H - 1) / (H' - 1) with `align_corners`. `bicubic` has four rows, with the weights
    of a cubic curve (Keys 1981, a = -3/4), and repeats the edge. The size is H' = floor(s H); where it
    is given, s = H' / H. `linear` is for signals, `trilinear` for volumes.
    """

    scale: Factors | None = attribute(FactorsOf(1), "factor of height and width", None)
    mode: str = attribute(
        Choice((*NEAREST, *INTERPOLATIONS)), "repeat pixels, or interpolate", "nearest"
    )
    align_corners: bool = attribute(Bool(), "align the corner pixels of input and output", False)
    size: Sizes | None = attribute(SizesOf(1), "height and width, in place of factors", None)

    name = "upsample"
    onnx_ends = ("Resize",)
    storage = Storage.CHANNELS_LAST
    aten = tuple(
        AtenForm(
            (f"upsample_{mode.replace('-', '_')}{axes}d",),
            ("input",),
            attributes={
                "scale": lambda call: call.arguments.get("scale_factors"),
                "size": lambda call: (
                    None if call.has("scale_factors") else call.numbers("output_size")
                ),
                "mode": Always(mode),
                "align_corners": lambda call: bool(call.arguments.get("align_corners")),
            },
        )
        for mode, axes in (
            *(("nearest", axes) for axes in (1, 2, 3)),
            ("linear", 1),
            ("bilinear", 2),
            ("bicubic", 2),
            ("trilinear", 3),
        )
    )
    examples = (
        Example("upsample(2)", ((3, 4, 5),)),
        Example("upsample([3, 1])", ((2, 3, 2),)),
        Example("upsample(2, mode = bilinear)", ((3, 4, 5),)),
        Example("upsample([3, 2], mode = bilinear)", ((2, 1, 3),)),
        Example("upsample(2, mode = bilinear, align_corners = true)", ((3, 4, 5),)),
        Example("upsample([1, 3], mode = bilinear, align_corners = true)", ((2, 1, 3),)),
        Example("upsample(1.5)", ((2, 4, 5),)),
        Example("upsample(size = [7, 3])", ((2, 3, 5),)),
        Example('upsample(size = [7, 3], mode = "nearest-exact")', ((2, 3, 5),)),
        Example('upsample(1.7, mode = "nearest-exact")', ((2, 4),)),
        Example('upsample([2, 1, 0.6], mode = "nearest-exact")', ((2, 2, 3, 4),)),
        Example("upsample([1.7, 0.6], mode = bilinear)", ((2, 3, 4),)),
        Example("upsample(size = [2, 7], mode = bilinear)", ((2, 4, 3),)),
        Example("upsample(2, mode = bicubic)", ((2, 3, 4),)),
        Example("upsample(1.4, mode = bicubic)", ((1, 3, 4),)),
        Example("upsample(size = 5, mode = bicubic, align_corners = true)", ((2, 2, 6),)),
        Example("upsample(3)", ((2, 4),)),
        Example("upsample(size = 7, mode = linear)", ((2, 4),)),
        Example("upsample([2, 1, 3])", ((2, 2, 2, 3),)),
        Example("upsample([1.5, 2, 1], mode = trilinear)", ((2, 2, 3, 2),)),
        Example("upsample(size = 3, mode = trilinear, align_corners = true)", ((1, 2, 4, 2),)),
    )
    bad_examples = (
        BadExample("upsample(2)", ((10,),), codes.SHAPE_RANK),
        BadExample("upsample(0)", ((3, 4, 4),), codes.CALL_VALUE),
        BadExample("upsample(0.1)", ((3, 4, 4),), SIZE_OR_SCALE),
        BadExample("upsample(2, align_corners = true)", ((3, 4, 4),), ALIGN_CORNERS),
        BadExample('upsample(2, mode = "cubic")', ((3, 4, 4),), codes.CALL_VALUE),
        BadExample("upsample(2, mode = bilinear)", ((3, 4),), codes.SHAPE_RANK),
        BadExample("upsample(2, mode = trilinear)", ((3, 4, 4),), codes.SHAPE_RANK),
        BadExample("upsample", ((3, 4, 4),), SIZE_OR_SCALE),
        BadExample("upsample(2, size = 8)", ((3, 4, 4),), SIZE_OR_SCALE),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """(C, H', W') for a picture."""
        (x,) = inputs
        require_axes(self, x)
        self._require_one_size()
        self._require_mode(x)
        count = len(x) - 1
        if self.size is not None:
            return (x[0], *spread(self.size, count))
        sizes = tuple(
            _enlarged(size, factor)
            for size, factor in zip(x[1:], self._factors(count), strict=True)
        )
        if not all(size >= 1 for size in sizes):
            raise ShapeError(
                SIZE_OR_SCALE,
                f"a factor so small leaves nothing of {show_shape(x)}",
                blame="scale",
                notes=("the size is floor(scale * size)",),
            )
        return (x[0], *sizes)

    def _require_one_size(self) -> None:
        """Check that there is either a scale or a size."""
        if self.scale is None and self.size is None:
            message = "`upsample` needs a `scale`, or a `size`"
            raise ShapeError(SIZE_OR_SCALE, message)
        if self.scale is not None and self.size is not None:
            message = "`upsample` needs a `scale` or a `size`, not both"
            raise ShapeError(SIZE_OR_SCALE, message, blame="size")

    def _require_mode(self, x: Shape) -> None:
        """Check that the mode is one for values of this rank, and has corners if they are aligned."""
        count = len(x) - 1
        if INTERPOLATIONS.get(self.mode, count) != count:
            right = next(mode for mode, axes in INTERPOLATIONS.items() if axes == count)
            raise ShapeError(
                codes.SHAPE_RANK,
                f"`mode = {self.mode}` is for a {KINDS[INTERPOLATIONS[self.mode]]}, but"
                f" {show_shape(x)} is a {KINDS[count]}",
                blame="mode",
                fixes=(Fix("mode", right, f"for a {KINDS[count]}: `mode = {right}`"),),
            )
        if self.align_corners and self.mode in NEAREST:
            linear = next(mode for mode, axes in INTERPOLATIONS.items() if axes == count)
            raise ShapeError(
                ALIGN_CORNERS,
                f"`mode = {self.mode}` repeats pixels, and has no corners to align",
                blame="align_corners",
                fixes=(
                    Fix("mode", linear, f"interpolate: `mode = {linear}`"),
                    Fix("align_corners", "false", "leave it out"),
                ),
            )

    def _factors(self, count: int) -> tuple[float, ...]:
        """The factor of each axis, where factors are given."""
        assert self.scale is not None
        return spread(self.scale, count)

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """The pixels that a number lies between; None where a size is open and is made another."""
        extent = 1 if self.mode in NEAREST else 4 if self.mode == "bicubic" else 2
        (x,) = inputs
        if self.size is None:
            return tuple((extent, 1 / factor) for factor in self._factors(len(x) - 1))
        pairs = list(zip(x[1:], spread(self.size, len(x) - 1), strict=True))
        if not all(isinstance(size, int) for size, _ in pairs):
            return None
        return tuple((extent, size / wanted) for size, wanted in pairs)

    # -- reference

    def _matrices(self, x: Array) -> list[_Rows]:
        """A and B, and so on. For pixels that are repeated each of their rows has a single 1."""
        outputs = self.shape(x.shape[1:])[1:]
        matrices = []
        for axis, (size, count) in enumerate(zip(x.shape[2:], outputs, strict=True)):
            ratio = size / count
            if self.size is None:
                ratio = 1 / self._factors(len(outputs))[axis]
            rows: _Rows = []
            for i in range(count):
                row: dict[int, float] = {}
                for place, weight in self._weights(i, size, count, ratio):
                    inside = min(max(place, 0), size - 1)
                    row[inside] = row.get(inside, 0.0) + weight
                rows.append({place: weight for place, weight in row.items() if weight != 0})
            matrices.append(rows)
        return matrices

    def _weights(self, i: int, size: int, count: int, ratio: float) -> list[tuple[int, float]]:
        """The pixels from which number i is computed, with their weights."""
        if self.mode == "nearest":
            # PyTorch computes the place in single precision, but for these two.
            if count in (size, 2 * size):
                return [(i * size // count, 1.0)]
            return [(int(np.floor(np.float32(i) * np.float32(ratio))), 1.0)]
        at = (i + 0.5) * ratio - 0.5
        if self.mode == "nearest-exact":
            return [(int(np.floor(np.float32((i + 0.5) * float(np.float32(ratio))))), 1.0)]
        if self.align_corners:
            at = i * (size - 1) / (count - 1) if count > 1 else 0.0
        if self.mode == "bicubic":
            low = math.floor(at)
            return [(low + k, _cubic(abs(at - low - k))) for k in (-1, 0, 1, 2)]
        at = float(i) if count == size else max(at, 0.0)
        low = min(int(at), size - 1)
        return [(low, 1 - (at - low)), (low + 1, at - low)]

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """A x B^T."""
        out = x[0]
        for axis, rows in enumerate(self._matrices(x[0]), 2):
            out = _times(rows, out.swapaxes(0, axis)).swapaxes(0, axis)
        return out

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """A^T g B."""
        dx = dy
        for axis, rows in enumerate(self._matrices(x[0]), 2):
            turned = _times_turned(rows, dx.swapaxes(0, axis), x[0].shape[axis])
            dx = turned.swapaxes(0, axis)
        return (dx,)

    # -- lowering

    def _whole_factors(self, count: int) -> tuple[int, ...] | None:
        """The factors by which pixels are repeated; None where they are not, or not whole."""
        if self.mode not in NEAREST or self.scale is None:
            return None
        factors = self._factors(count)
        return tuple(map(int, factors)) if all(f == int(f) for f in factors) else None

    def _options(self, to: Lowering) -> dict[str, Any]:
        scale = None if self.size is not None else self._factors(len(to.node.shape) - 1)
        return {"mode": self.mode, "align_corners": self.align_corners, "scale": scale}

    def lower(self, to: Lowering) -> None:
        """One copy, or a matrix product per axis and image."""
        factors = self._whole_factors(len(to.node.shape) - 1)
        if factors is not None:
            to.call("upsample.nearest_forward", to.x[0], to.out, writes=[to.out], scale=factors)
            return
        to.call(
            "upsample.forward", to.x[0], to.out, to.scratch,
            writes=[to.out], scratch=self._scratch(to), **self._options(to),
        )  # fmt: skip

    def lower_backward(self, to: Lowering) -> None:
        """Sums of blocks, or a matrix product per axis and image."""
        if not to.wanted[0]:
            return
        dx, factors = to.gradient_buffer(0), self._whole_factors(len(to.node.shape) - 1)
        if factors is not None:
            to.call("upsample.nearest_backward", to.dy, dx, writes=[dx], scale=factors)
        else:
            to.call(
                "upsample.backward", to.dy, dx, to.scratch,
                writes=[dx], scratch=self._scratch(to), **self._options(to),
            )  # fmt: skip
        to.gradient(0, dx)

    def _scratch(self, to: Lowering) -> Scratch:
        return to.needs("upsample.scratch_size", (to.x[0].shape, to.out.shape))

    def torch(self, *inputs: Shape) -> Torch:
        """`F.interpolate`."""
        count = len(inputs[0]) - 1
        options: dict[str, Any] = {}
        if self.size is None:
            options["scale_factor"] = self._factors(count)
        else:
            options["size"] = spread(self.size, count)
        options["mode"] = self.mode
        if self.mode not in NEAREST:
            options["align_corners"] = self.align_corners
        return Torch("F.interpolate", (X(0),), options, defaults={"mode": "nearest"})

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`Resize` behind the channels, for the modes that PyTorch has too."""
        x, given = read.shape(), read.attributes
        if x is None or len(x) < 2:
            return
        corners = given.text("coordinate_transformation_mode")
        policy = given.text("keep_aspect_ratio_policy") or "stretch"
        if given.whole("antialias") or given.whole("exclude_outside") or policy != "stretch":
            return
        factors, sizes = read.array(read.given(2)), read.sizes(read.given(3))
        options: dict[str, Any] = {}
        factor: list[float | None]
        if factors is not None and factors.size:
            scale = _behind_channels(
                [plain(f) for f in factors.reshape(-1)], given, x, [1.0] * len(x)
            )
            if scale is None or (corners == "align_corners" and not _are_whole(scale, x)):
                return
            factor, options["scale"] = [*scale], joined(scale)
        else:
            wanted = None if sizes is None else _behind_channels(sizes, given, x, x)
            if wanted is None or (corners == "pytorch_half_pixel" and 1 in wanted):
                return
            factor = [_ratio(size, own) for size, own in zip(wanted, x[1:], strict=True)]
            whole = [size for size in wanted if isinstance(size, int)]
            if len(whole) < len(wanted):
                return
            options["size"] = joined(whole)
        mode = cls._onnx_mode(given, corners, factor)
        if mode is None:
            return
        aligned = corners == "align_corners" and mode not in NEAREST
        yield read.layer(cls(mode=mode, align_corners=aligned, **options), read.given(0))

    @classmethod
    def _onnx_mode(
        cls, given: FileAttributes, corners: str, factor: Sequence[float | None]
    ) -> str | None:
        if given.text("mode") == "nearest":
            kinds = {
                ("floor", "asymmetric"): "nearest",
                ("round_prefer_ceil", "half_pixel"): "nearest-exact",
            }
            rounding = given.text("nearest_mode")
            if rounding == "round_prefer_floor":  # the same for whole factors
                most = {"half_pixel": math.inf, "asymmetric": 2}.get(corners, 0)
                fits = (f is not None and f in range(1, 1 << 20) and f <= most for f in factor)
                return "nearest" if all(fits) else None
            return kinds.get((rounding, corners))
        if corners not in ("align_corners", "half_pixel", "pytorch_half_pixel"):
            return None
        if given.text("mode") == "linear":
            return {1: "linear", 2: "bilinear", 3: "trilinear"}.get(len(factor))
        return (
            "bicubic"
            if given.text("mode") == "cubic" and given.real("cubic_coeff_a") == -0.75
            else None
        )

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Resize`."""
        count = len(to.shape) - 1
        nearest = {"nearest": "floor", "nearest-exact": "round_prefer_ceil"}
        options: dict[str, Any] = {"mode": "nearest"}
        if self.mode in nearest:
            options["nearest_mode"] = nearest[self.mode]
            asymmetric = self.mode == "nearest"
            options["coordinate_transformation_mode"] = "asymmetric" if asymmetric else "half_pixel"
        else:
            options["mode"] = "cubic" if self.mode == "bicubic" else "linear"
            corners = "align_corners" if self.align_corners else "half_pixel"
            options |= {"coordinate_transformation_mode": corners, "cubic_coeff_a": -0.75}
        if self.size is None:
            factors = to.floats((1, 1, *self._factors(count)), (count + 2,))
            return to("Resize", to.x[0], None, factors, **options)
        if to.opset >= 18:
            options["axes"] = tuple(range(2, count + 2))
            sizes = to.sizes(to.shape[1:])
        else:
            sizes = to.sizes((BATCH, *to.shape))
        return to("Resize", to.x[0], None, None, sizes, **options)


T = TypeVar("T", float, Dim)


def _behind_channels(
    given: Sequence[T], attributes: FileAttributes, x: Shape, kept: Sequence[T]
) -> list[T] | None:
    """Return what a `Resize` gives for each axis behind the channels; None if it changes others.

    Args:
        given: a factor or a size for each axis, or for those in its attribute `axes`.
        attributes: the operator's.
        x: the shape of one image.
        kept: for each axis behind the batch what leaves it as it is.
    """
    rank: int = len(x) + 1
    said: tuple[int, ...] = attributes.ints("axes")
    axes: list[int] = [a + rank if a < 0 else a for a in said] or list(range(rank))
    if len(set(axes)) != len(given) or len(axes) != len(given) or not {*axes} <= {*range(rank)}:
        return None
    by_axis = dict(zip(axes, given, strict=True))
    found = [by_axis.get(axis, same) for axis, same in enumerate(kept, 1)]
    return None if found[0] != kept[0] else found[1:]


def _ratio(size: Dim, own: Dim) -> float | None:
    """Return the factor between two sizes; None if one is open."""
    return size / own if isinstance(size, int) and isinstance(own, int) else None


def _are_whole(factors: Sequence[float], x: Shape) -> bool:
    """Whether the sizes of a picture times factors are whole numbers."""
    return all(
        float(f * size if isinstance(size, int) else f).is_integer()
        for f, size in zip(factors, x[1:], strict=True)
    )


def _enlarged(size: int, factor: float) -> int:
    """Return floor(factor * size), in double precision as PyTorch does."""
    if isinstance(factor, int):
        return size * factor
    if isinstance(size, int):
        return math.floor(size * factor)
    exact = Fraction(factor).limit_denominator(1000)
    return size * exact.numerator // exact.denominator


def _cubic(distance: float) -> float:
    """The weight of a pixel in cubic interpolation, by its distance of at most 2."""
    a, t = -0.75, distance
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a


def _times(rows: _Rows, x: Array) -> Array:
    """The product of a matrix (M, K) and x (K, ...)."""
    zero = np.zeros_like(x[0])
    return np.stack([sum((weight * x[k] for k, weight in row.items()), zero) for row in rows])


def _times_turned(rows: _Rows, y: Array, columns: int) -> Array:
    """The product of the transposed matrix (K, M) and y (M, ...)."""
    out = np.zeros((columns, *y.shape[1:]), y.dtype)
    for row, each in zip(rows, y, strict=True):
        for k, weight in row.items():
            out[k] += weight * each
    return out
