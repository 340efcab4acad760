"""Dropout."""

from collections.abc import Iterable

from netspec.compiler.ir.contract import *


@register
class Dropout(Op):
    """Inverted dropout (Srivastava et al. 2014): in training y = m x, dL/dx = m dL/dy.

    The mask m is 0 with probability p, else 1 / (1 - p). In evaluation y = x. By channel, m is one
    number for each channel of an image (Tompson et al. 2015).
    """

    p: float = attribute(Real(0, 1), "probability to drop", 0.5)
    by_channel: bool = attribute(Bool(), "drop whole channels", False)

    name = "dropout"
    rate = "p"
    onnx_ends = ("Dropout",)
    storage = Storage.KEPT
    aten = (
        AtenForm(
            ("dropout",),
            ("input", "self"),
            attributes={"p": "p"},
            does_nothing=lambda call: call["p"] == 0,
        ),
        AtenForm(
            ("feature_dropout",),
            ("input",),
            attributes={"p": "p", "by_channel": Always(True)},
            does_nothing=lambda call: call["p"] == 0,
        ),
    )
    examples = (
        Example("dropout", ((12,),)),
        Example("dropout(0.2)", ((3, 4, 4),)),
        Example("dropout(0)", ((5,),)),
        Example("dropout(1)", ((5,),)),
        Example("dropout(0.4, by_channel = true)", ((5, 4),)),
        Example("dropout(by_channel = true)", ((6, 3, 4),)),
        Example("dropout(0.3, true)", ((6, 2, 3, 2),)),
    )
    bad_examples = (
        BadExample("dropout(1.5)", ((12,),), codes.CALL_VALUE),
        BadExample("dropout(keep = 0.5)", ((12,),), codes.CALL_UNKNOWN_ATTRIBUTE),
        BadExample("dropout(by_channel = true)", ((12,),), codes.SHAPE_RANK),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """That of the input, which by channel needs something in its channels."""
        (x,) = inputs
        if self.by_channel and len(x) == 1:
            message = f"{show_shape(x)} has no channels to drop: its features are single numbers"
            raise ShapeError(codes.SHAPE_RANK, message, blame="by_channel")
        return x

    def draws(self) -> bool:
        """A mask."""
        return self.p > 0

    def _drops(self, training: bool) -> bool:
        """Whether anything can be dropped."""
        return training and self.draws()

    def mixes(self, over: tuple[int | None, ...], *inputs: Shape) -> bool:
        """No."""
        return False

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """Multiply by the run's mask; in evaluation, return the input."""
        return x[0] * run.masks[run.node.name] if self._drops(run.training) else x[0]

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Multiply by the same mask."""
        return (dy * run.masks[run.node.name] if self._drops(run.training) else dy,)

    def lower(self, to: Lowering) -> None:
        """Draw the mask and multiply; a view of the input where nothing is dropped."""
        if not self._drops(to.training):
            to.view(to.out, to.x[0])
            return
        (x,) = to.x_shapes
        dropped = (x[0], *(1,) * (len(x) - 1)) if self.by_channel else x
        mask = to.saved["mask"] = to.buffer("mask", to.layout.stored(dropped))
        to.call("dropout.sample_mask", to.rng, mask, writes=[mask], p=self.p)
        self._scale(to, to.x[0], to.out)

    def _scale(self, to: Lowering, values: Buffer, out: Buffer) -> None:
        """Multiply by the mask."""
        mask = to.saved["mask"]
        if self.by_channel:
            to.call("dropout.scale_images", values, mask, out, writes=[out])
        else:
            to.elementwise(out, Var("x") * Var("mask"), x=values, mask=mask)

    def lower_backward(self, to: Lowering) -> None:
        """Multiply by the same mask."""
        if not to.wanted[0]:
            return
        if not self._drops(to.training):
            to.gradient(0, to.dy)
            return
        dx = to.gradient_buffer(0)
        self._scale(to, to.dy, dx)
        to.gradient(0, dx)

    def torch(self, *inputs: Shape) -> Torch:
        """`nn.Dropout`, or that which drops channels of this rank."""
        return Torch(
            f"nn.Dropout{len(inputs[0]) - 1}d" if self.by_channel else "nn.Dropout", (self.p,)
        )

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`Dropout`."""
        rate = read.number(read.given(1))
        yield read.layer(cls(0.5 if rate is None else rate), read.given(0))

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Dropout`, which passes the value on; `Identity` for a rate that ONNX does not have."""
        if self.p == 1:
            return to("Identity", to.x[0])
        return to("Dropout", to.x[0], to.float(self.p))
