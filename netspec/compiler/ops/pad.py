"""Padding."""

from typing import Any

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.windows import AXES, require_picture

PAD_VALUE = Code.error("shape/pad-value", "a `value` in a mode that does not use it")
REFLECT = Code.error("shape/reflect", "reflection padding that is not smaller than the picture")


@register
class Pad(Op):
    """A frame around the picture: of one value, of its mirror image, or of its edge repeated.

    y[n, c, i, j] = x[n, c, r(i - top), r(j - left)], where r(i) = i inside the picture. Outside,
    `constant` gives `value`; `reflect` has r(-i) = i and r(H - 1 + i) = H - 1 - i; `replicate` has
    r(-i) = 0 and r(H - 1 + i) = H - 1.

    With g = dL/dy:
        dL/dx[n, c, h, w] = sum of g[n, c, i, j] over the places with r(i - top) = h and r(j - left) = w
    """

    pad: Padding = attribute(PaddingOf(same=False), "width of the frame")
    value: float = attribute(Real(), "value of a constant frame", 0)
    mode: str = attribute(
        Choice(("constant", "reflect", "replicate")), "what the frame is filled with", "constant"
    )

    name = "pad"
    examples = (
        Example("pad(1)", ((3, 4, 5),)),
        Example("pad([1, 2], value = -1.5)", ((2, 3, 4),)),
        Example("pad([[0, 1], [2, 0]])", ((2, 3, 3),)),
        Example("pad(0)", ((2, 3, 3),)),
        Example("pad(2, mode = reflect)", ((2, 4, 5),)),
        Example("pad([[3, 0], [1, 4]], mode = reflect)", ((2, 4, 5),)),
        Example("pad([[0, 2], [1, 0]], mode = reflect)", ((1, 3, 2),)),
        Example("pad(1, mode = replicate)", ((3, 4, 5),)),
        Example("pad([[3, 0], [0, 4]], mode = replicate)", ((2, 2, 1),)),
    )
    bad_examples = (
        BadExample("pad(1)", ((10,),), codes.SHAPE_RANK),
        BadExample("pad(4, mode = reflect)", ((3, 4, 4),), REFLECT),
        BadExample("pad(1, value = 1, mode = replicate)", ((3, 4, 4),), PAD_VALUE),
        BadExample("pad(-1)", ((3, 4, 4),), codes.CALL_VALUE),
        BadExample("pad", ((3, 4, 4),), codes.CALL_MISSING),
        BadExample('pad(1, mode = "wrap")', ((3, 4, 4),), codes.CALL_VALUE),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """(C, H + top + bottom, W + left + right)."""
        (x,) = inputs
        require_picture(self.name, x)
        channels, height, width = x
        top, bottom, left, right = self.pad
        if self.mode != "constant" and self.value:
            raise ShapeError(
                PAD_VALUE,
                f"`mode = {self.mode}` pads with the picture itself, and does not use a value",
                blame="value",
                fixes=(
                    Fix("mode", "constant", f"pad with {self.value:g}: `mode = constant`"),
                    Fix("value", "0", "leave the value out"),
                ),
            )
        for axis, size, most in (
            (AXES[0], height, max(top, bottom)),
            (AXES[1], width, max(left, right)),
        ):
            if self.mode == "reflect" and most > size - 1:
                raise ShapeError(
                    REFLECT,
                    f"a mirror image of {most} needs a {axis} of at least {most + 1}, not {size}",
                    blame="pad",
                    notes=("the edge itself is not mirrored",),
                    fixes=(Fix("mode", "replicate", "repeat the edge: `mode = replicate`"),),
                )
        return (channels, height + top + bottom, width + left + right)

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """`np.pad`."""
        top, bottom, left, right = self.pad
        around = ((0, 0), (0, 0), (top, bottom), (left, right))
        if self.mode == "constant":
            return np.pad(x[0], around, constant_values=self.value)
        return np.pad(x[0], around, mode="reflect" if self.mode == "reflect" else "edge")

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Each place sends its gradient to the pixel that it was read from."""
        dx = np.zeros_like(x[0])
        top, _, left, _ = self.pad
        height, width = x[0].shape[2:]
        for i in range(dy.shape[2]):
            for j in range(dy.shape[3]):
                row, column = self._source(i - top, height), self._source(j - left, width)
                if row is not None and column is not None:
                    dx[:, :, row, column] += dy[:, :, i, j]
        return (dx,)

    def _source(self, i: int, size: int) -> int | None:
        """r(i): the row from which place i is read, or None for a constant."""
        if 0 <= i < size:
            return i
        if self.mode == "constant":
            return None
        edge = 0 if i < 0 else size - 1
        return 2 * edge - i if self.mode == "reflect" else edge

    def lower(self, to: Lowering) -> None:
        """One copy, or one for each region."""
        if self.mode == "constant":
            to.call(
                "copies.embed", to.x[0], to.out,
                writes=[to.out], **self._region(), value=self.value,
            )  # fmt: skip
        else:
            to.call(
                "edges.forward", to.x[0], to.out,
                writes=[to.out], pad=self.pad, mode=self.mode,
            )  # fmt: skip

    def lower_backward(self, to: Lowering) -> None:
        """The gradient of the picture's own part, plus that of the parts that were read from it
        again.
        """
        if not to.wanted[0]:
            return
        dx = to.gradient_buffer(0)
        if self.mode == "constant":
            to.call("copies.extract", to.dy, dx, writes=[dx], **self._region())
        else:
            to.call("edges.backward", to.dy, dx, writes=[dx], pad=self.pad, mode=self.mode)
        to.gradient(0, dx)

    def _region(self) -> dict[str, Any]:
        """The region of the padded picture that the picture itself fills."""
        top, _, left, _ = self.pad
        return {"start": (top, left, 0), "step": (1, 1, 1)}

    def torch(self, *inputs: Shape) -> Torch:
        """`F.pad`."""
        top, bottom, left, right = self.pad
        options: dict[str, Any] = {"mode": self.mode}
        if self.mode == "constant":
            options["value"] = self.value
        sides = (left, right, top, bottom)
        return Torch("F.pad", (X(0), sides), options, defaults={"mode": "constant", "value": 0.0})
