"""A new axis."""

from collections.abc import Iterable, Mapping, Sequence

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.rearranging import RearrangingOp


@register
class Unsqueeze(RearrangingOp):
    """A new axis of size 1: it becomes axis `axis` of the value.

    y = x with it: dL/dx = dL/dy without it.
    """

    axis: int = attribute(AxisOf(new=True), "the new axis, as it counts in the value")

    name = "unsqueeze"
    onnx_ends = ("Unsqueeze",)
    only_moves = True
    storage = Storage.ANY
    torch_function = "torch.unsqueeze"
    aten = (
        AtenForm(
            ("unsqueeze",),
            attributes={"axis": lambda call: call.new_axis("dim")},
            moves_batch=True,
            spreads=lambda call: set(call.shape[: call.new_axis("dim")]) == {1},
        ),
    )
    examples = (
        Example("unsqueeze(1)", ((2, 3),)),
        Example("unsqueeze(2)", ((2, 3),)),
        Example("unsqueeze(-1)", ((2, 3, 2),)),
    )
    bad_examples = (BadExample("unsqueeze(4)", ((3, 4),), codes.SHAPE_AXIS),)

    def _at(self, x: Shape) -> int:
        return resolve_axis(self.name, self.axis, (*x, 1))

    def shape(self, *inputs: Shape) -> Shape:
        """One axis more."""
        (x,) = inputs
        require_axis_free(x)
        at = self._at(x)
        return (*x[: at - 1], 1, *x[at - 1 :])

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """None: rows and columns no longer tell where a number came from."""
        return None if len(inputs[0]) > 1 else super().sees(*inputs)

    def tokens(self, to: Lowering) -> tuple[Sequence[str], Sequence[str], Mapping[str, int]]:
        """The axes, and the new one."""
        (x,) = to.x_shapes
        old = [f"a{axis}" for axis in range(len(x))]
        at = self._at(x)
        new = [*old[: at - 1], "new", *old[at - 1 :]]
        return (
            ["new", *to.x_layouts[0].stored(old)],
            to.layout.stored(new),
            {**dict(zip(old, x, strict=True)), "new": 1},
        )

    def mixes(self, over: tuple[int | None, ...], *inputs: Shape) -> bool:
        """No."""
        return False

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """`np.expand_dims`."""
        return np.expand_dims(x[0], self._at(x[0].shape[1:]))

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """A reshape."""
        return (dy.reshape(x[0].shape),)

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`Unsqueeze` of one axis."""
        rank, axes = read.rank(), read.whole(read.given(1))
        if rank is not None and axes is not None and len(axes) == 1:
            axis = axes[0] + rank + 1 if axes[0] < 0 else axes[0]
            if axis >= 1:
                yield read.layer(cls(axis), read.given(0))

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Unsqueeze`."""
        return to("Unsqueeze", to.x[0], to.ints(self._at(to.x_shapes[0])))
