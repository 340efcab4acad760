"""Channel shuffle."""

import math
from collections.abc import Iterable, Mapping

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.idiom import flat_sizes
from netspec.compiler.ops.families.windows import require_axes


def _dealt(given: tuple[Mapping[str, object], ...], x: Shape) -> dict[str, object] | None:
    """Return the groups, if channels are parted, the two axes swapped, and put together again."""
    parted, order, joined = flat_sizes(given[0]["sizes"]), given[1]["axes"], given[2]["sizes"]
    count = len(x) + 1
    is_dealt = (
        len(parted) == count
        and parted[0] * parted[1] == x[0]
        and parted[2:] == x[1:]
        and order == (2, 1, *range(3, count + 1))
        and joined == x
    )
    return {"groups": parted[0]} if is_dealt else None


@register
class ChannelShuffle(Op):
    """Channels dealt out like cards (Zhang et al. 2018): one of each group in turn.

    With C = G K channels in G groups, y[j G + i] = x[i K + j] for group i and place j in it, and
    dL/dx[i K + j] = g[j G + i]: the shuffle of K groups.
    """

    groups: int = attribute(Int(1), "number of groups of channels")

    name = "channel_shuffle"
    onnx_ends = ("Reshape",)
    storage = Storage.CHANNELS_LAST
    aten = (
        AtenForm(("channel_shuffle", "native_channel_shuffle"), attributes={"groups": "groups"}),
    )
    idioms = (Idiom(("reshape", "permute", "reshape"), _dealt),)
    examples = (
        Example("channel_shuffle(2)", ((6, 3, 4),)),
        Example("channel_shuffle(3)", ((6, 2, 2),)),
        Example("channel_shuffle(1)", ((4, 2, 2),)),
        Example("channel_shuffle(4)", ((4, 1, 1),)),
        Example("channel_shuffle(3)", ((6, 5),)),
        Example("channel_shuffle(2)", ((6, 2, 3, 2),)),
    )
    bad_examples = (
        BadExample("channel_shuffle(4)", ((6, 3, 3),), codes.SHAPE_GROUPS),
        BadExample("channel_shuffle(2)", ((6,),), codes.SHAPE_RANK),
        BadExample("channel_shuffle", ((6, 3, 3),), codes.CALL_MISSING),
        BadExample("channel_shuffle(0)", ((6, 3, 3),), codes.CALL_VALUE),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """Unchanged."""
        (x,) = inputs
        require_axes(self, x)
        if x[0] % self.groups:
            common = math.gcd(x[0], self.groups)
            raise ShapeError(
                codes.SHAPE_GROUPS,
                f"{x[0]} channels cannot be split into {self.groups} groups",
                blame="groups",
                notes=(f"{x[0]} / {self.groups} = {x[0] / self.groups:g}",),
                fixes=(Fix("groups", str(common), f"`groups = {common}` divides {x[0]}"),),
            )
        return x

    @staticmethod
    def _shuffle(x: Array, groups: int) -> Array:
        n, channels, *extents = x.shape
        dealt = x.reshape(n, groups, channels // groups, *extents).swapaxes(1, 2)
        return dealt.reshape(x.shape)

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """A transpose of the axes of groups and places."""
        return self._shuffle(x[0], self.groups)

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """The inverse transpose."""
        return (self._shuffle(dy, dy.shape[1] // self.groups),)

    @staticmethod
    def _copy(to: Lowering, source: Buffer, target: Buffer, groups: int) -> None:
        *extents, channels = source.shape
        split = (*extents, groups, channels // groups)
        last = len(extents)
        axes = (*range(last), last + 1, last)
        to.call("copies.transpose", source, target, writes=[target], split=split, axes=axes)

    def lower(self, to: Lowering) -> None:
        """One transposing copy."""
        self._copy(to, to.x[0], to.out, self.groups)

    def lower_backward(self, to: Lowering) -> None:
        """One transposing copy."""
        if to.wanted[0]:
            dx = to.gradient_buffer(0)
            self._copy(to, to.dy, dx, to.x_shapes[0][0] // self.groups)
            to.gradient(0, dx)

    def torch(self, *inputs: Shape) -> Torch:
        """`F.channel_shuffle`."""
        return Torch("F.channel_shuffle", (X(0), self.groups))

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """A transpose of the axes of groups and places."""
        for perm in ((0, 2, 1, 3), (0, 2, 1, 3, 4), (0, 2, 1, 3, 4, 5)):
            found = read.pattern(f"Reshape(Transpose(Reshape(x, s), perm={perm}), t)")
            x = None if found is None else found.values["x"].shape
            if found is None or x is None or len(x) != len(perm) - 2:
                continue
            dealt, back = (read.sizes(found.values[name]) for name in ("s", "t"))
            if dealt is None or back is None or len(dealt) != len(perm) or len(back) != len(x) + 1:
                continue
            groups, rest = dealt[1], dealt[2]
            if not isinstance(groups, int) or groups < 1 or x[0] % groups:
                continue
            if rest in (x[0] // groups, -1) and back[1] in (x[0], -1, 0):
                yield read.layer(cls(groups), found.values["x"], found=found)

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """A transpose of the axes of groups and places."""
        channels, *pixels = to.shape
        dealt = to.reshaped(to.x[0], (self.groups, channels // self.groups, *pixels))
        turned = to.transposed(dealt, (2, 1, *range(3, 3 + len(pixels))))
        return to.reshaped(turned, to.shape)
