"""Padding."""

from collections.abc import Iterable
from typing import Any

from netspec.compiler.ir.attributes import flat, sides
from netspec.compiler.ir.contract import *
from netspec.compiler.ir.onnx_read import MOST_AXES
from netspec.compiler.ops.families.windows import AXES, onnx_padded, require_axes, torch_sides

CIRCULAR = Code.error("shape/circular", "a frame wider than the picture that it is taken from")
PAD_VALUE = Code.error("shape/pad-value", "a `value` in a mode that does not use it")
REFLECT = Code.error("shape/reflect", "reflection padding that is not smaller than the picture")


@register
class Pad(Op):
    """A frame around the picture: of one value, of its mirror image, of its edge, or of its other side.

    y[n, c, i, j] = x[n, c, r(i - top), r(j - left)], where r(i) = i inside the picture. Outside,
    `constant` gives `value`; `reflect` has r(-i) = i and r(H - 1 + i) = H - 1 - i; `replicate` has
    r(-i) = 0 and r(H - 1 + i) = H - 1; `circular` has r(i) = i mod H.

    With g = dL/dy:
        dL/dx[n, c, h, w] = sum of g[n, c, i, j] over the places with r(i - top) = h and r(j - left) = w
    """

    pad: Padding = attribute(PaddingOf(same=False), "width of the frame")
    value: float = attribute(Real(), "value of a constant frame", 0)
    mode: str = attribute(
        Choice(("constant", "reflect", "replicate", "circular")),
        "what the frame is filled with",
        "constant",
    )

    name = "pad"
    onnx_ends = ("Pad", "Concat")
    storage = Storage.CHANNELS_LAST
    aten = (
        AtenForm(
            ("pad",),
            attributes={
                "pad": lambda call: call.frame("pad"),
                "value": lambda call: call["value"] or 0.0,
                "mode": "mode",
            },
            does_nothing=lambda call: not any(call.numbers("pad")),
        ),
        AtenForm(
            ("constant_pad_nd",),
            attributes={"pad": lambda call: call.frame("pad"), "value": "value"},
            does_nothing=lambda call: not any(call.numbers("pad")),
        ),
    )
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
        Example("pad(1, mode = circular)", ((2, 3, 4),)),
        Example("pad([[3, 2], [0, 1]], mode = circular)", ((1, 3, 2),)),
        Example("pad([[1, 2]], value = 0.5)", ((2, 4),)),
        Example("pad(2, mode = circular)", ((2, 3),)),
        Example("pad([[2, 1]], mode = reflect)", ((2, 3),)),
        Example("pad([[1, 0], [0, 2], [1, 1]], mode = replicate)", ((1, 2, 2, 2),)),
        Example("pad([1, 0, 2], value = -1)", ((2, 2, 2, 2),)),
    )
    bad_examples = (
        BadExample("pad(1)", ((10,),), codes.SHAPE_RANK),
        BadExample("pad([1, 2])", ((3, 10),), codes.SHAPE_RANK),
        BadExample("pad(4, mode = reflect)", ((3, 4, 4),), REFLECT),
        BadExample("pad(5, mode = circular)", ((3, 4, 4),), CIRCULAR),
        BadExample("pad(1, value = 1, mode = replicate)", ((3, 4, 4),), PAD_VALUE),
        BadExample("pad(-1)", ((3, 4, 4),), codes.CALL_VALUE),
        BadExample("pad", ((3, 4, 4),), codes.CALL_MISSING),
        BadExample('pad(1, mode = "wrap")', ((3, 4, 4),), codes.CALL_VALUE),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """(C, H + top + bottom, W + left + right)."""
        (x,) = inputs
        require_axes(self, x)
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
        around = sides(self.pad, len(x) - 1)
        for axis, size, pair in zip(AXES[len(x) - 1], x[1:], around, strict=True):
            self._require_enough(axis, size, max(pair))
        return (x[0], *(size + sum(pair) for size, pair in zip(x[1:], around, strict=True)))

    def _require_enough(self, axis: str, size: int, most: int) -> None:
        """Check that an axis is long enough for what is taken from it."""
        replicate = Fix("mode", "replicate", "repeat the edge: `mode = replicate`")
        if self.mode == "reflect" and most > size - 1:
            raise ShapeError(
                REFLECT,
                f"a mirror image of {most} needs a {axis} of at least {most + 1}, not {size}",
                blame="pad",
                notes=("the edge itself is not mirrored",),
                fixes=(replicate,),
            )
        if self.mode == "circular" and most > size:
            raise ShapeError(
                CIRCULAR,
                f"a frame of {most} from the other side needs a {axis} of at least {most},"
                f" not {size}",
                blame="pad",
                fixes=(replicate,),
            )

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """`np.pad`."""
        around = ((0, 0), (0, 0), *sides(self.pad, x[0].ndim - 2))
        if self.mode == "constant":
            return np.pad(x[0], around, constant_values=self.value)
        if self.mode == "reflect":
            return np.pad(x[0], around, mode="reflect")
        return np.pad(x[0], around, mode="edge" if self.mode == "replicate" else "wrap")

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Each place sends its gradient to the pixel that it was read from."""
        dx = np.zeros_like(x[0])
        befores = [before for before, _ in sides(self.pad, dy.ndim - 2)]
        for at in np.ndindex(*dy.shape[2:]):
            source = [
                self._source(i - before, size)
                for i, before, size in zip(at, befores, dx.shape[2:], strict=True)
            ]
            if None not in source:
                dx[(slice(None), slice(None), *source)] += dy[(slice(None), slice(None), *at)]
        return (dx,)

    def _source(self, i: int, size: int) -> int | None:
        """r(i): the row from which place i is read, or None for a constant."""
        if 0 <= i < size:
            return i
        if self.mode == "constant":
            return None
        if self.mode == "circular":
            return i % size
        edge = 0 if i < 0 else size - 1
        return 2 * edge - i if self.mode == "reflect" else edge

    def lower(self, to: Lowering) -> None:
        """One copy, or one for each region."""
        if self.mode == "constant":
            to.call(
                "copies.embed", to.x[0], to.out,
                writes=[to.out], **self._region(to), value=self.value,
            )  # fmt: skip
        else:
            to.call(
                "edges.forward", to.x[0], to.out,
                writes=[to.out], pad=flat(self.pad, len(to.node.shape) - 1), mode=self.mode,
            )  # fmt: skip

    def lower_backward(self, to: Lowering) -> None:
        """The gradient of the picture's own part, plus that of the parts that were read from it
        again.
        """
        if not to.wanted[0]:
            return
        dx = to.gradient_buffer(0)
        if self.mode == "constant":
            to.call("copies.extract", to.dy, dx, writes=[dx], **self._region(to))
        else:
            to.call(
                "edges.backward",
                to.dy,
                dx,
                writes=[dx],
                pad=flat(self.pad, len(to.node.shape) - 1),
                mode=self.mode,
            )
        to.gradient(0, dx)

    def _region(self, to: Lowering) -> dict[str, Any]:
        """The region of the padded picture that the picture itself fills."""
        befores = [before for before, _ in sides(self.pad, len(to.node.shape) - 1)]
        return {"start": (*befores, 0), "step": (1,) * (len(befores) + 1)}

    def torch(self, *inputs: Shape) -> Torch:
        """`F.pad`."""
        options: dict[str, Any] = {"mode": self.mode}
        if self.mode == "constant":
            options["value"] = self.value
        given = torch_sides(self.pad, len(inputs[0]) - 1)
        return Torch("F.pad", (X(0), given), options, defaults={"mode": "constant", "value": 0.0})

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`Pad` behind the channels."""
        x, widths = read.shape(), read.whole(read.given(1))
        if read.root.operator == "Concat":
            yield from cls._from_slices(read)
            return
        if x is None or widths is None or read.given(3) is not None:
            return
        rank = len(x) + 1
        if len(widths) != 2 * rank or any(widths[i] for i in (0, 1, rank, rank + 1)):
            return
        pairs = tuple(zip(widths[2:rank], widths[rank + 2 :], strict=True))
        modes = {"reflect": "reflect", "edge": "replicate", "constant": "constant"}
        mode = modes.get(read.attributes.text("mode"))
        value = read.number(read.given(2)) if read.given(2) is not None else 0
        if mode is None or value is None or not pairs or min(map(min, pairs)) < 0:
            return
        pad = pairs[0][0] if len({side for pair in pairs for side in pair}) == 1 else pairs
        yield read.layer(cls(pad, value if mode == "constant" else 0, mode), read.given(0))

    @classmethod
    def _from_slices(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """Yield the frames of the other side that may end at a `Concat`."""
        pairs: list[tuple[int, int]] = []
        at: FileValue | None = read.root.outputs[0]
        last = MOST_AXES  # the frame of each axis lies around those of the axes before it
        while at is not None and at.maker is not None and at.maker.operator == "Concat":
            parts, axis = at.maker.inputs, at.maker.attributes.whole("axis")
            whole = [p for p in parts if p is not None and read.behind(p, "Slice") is None]
            inner = whole[0] if len(whole) == 1 else None
            if inner is None or not 2 <= axis < last:
                return
            last = axis
            place = parts.index(inner)
            before = read.extent(parts[0]) if place else 0
            after = read.extent(parts[-1]) if place < len(parts) - 1 else 0
            if before is None or after is None:
                return
            while len(pairs) < axis - 1:
                pairs.append((0, 0))
            pairs[axis - 2] = before, after
            at = inner
        if at is None or at.shape is None or not pairs:
            return
        pairs += [(0, 0)] * (len(at.shape) - 1 - len(pairs))
        pad = pairs[0][0] if len({side for pair in pairs for side in pair}) == 1 else tuple(pairs)
        yield read.form(cls(pad, mode="circular"), at)

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Pad`, or slices of the other side."""
        count = len(to.shape) - 1
        pads = sides(self.pad, count)
        if self.mode != "circular":
            mode = {"reflect": "reflect", "replicate": "edge"}.get(self.mode, "")
            return onnx_padded(to, to.x[0], pads, self.value, mode)
        value = to.x[0]
        for axis, ((before, after), size) in enumerate(
            zip(pads, to.x_shapes[0][1:], strict=True), 2
        ):
            parts = [to.part(value, axis, size - before, size)] if before else []
            parts.append(value)
            parts += [to.part(value, axis, 0, after)] if after else []
            value = to("Concat", *parts, axis=axis) if len(parts) > 1 else value
        return value
