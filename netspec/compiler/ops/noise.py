"""Random numbers of a value's shape."""

from collections.abc import Iterable

from netspec.compiler.ir.contract import *


@register
class Noise(Op):
    """Standard normal numbers of x's shape, drawn anew at each training step; zeros in evaluation.

    y = e in training, e from N(0, 1); y = 0 in evaluation; dL/dx = 0. So z = mean + std * noise(mean)
    is sampled in training, and its mean in evaluation.
    """

    name = "noise"
    onnx_ends = ("ConstantOfShape",)
    storage = Storage.KEPT
    # Times whether it is training; in evaluation it is 0 here.
    aten = (AtenForm(("randn_like",)),)
    examples = (
        Example("noise", ((12,),)),
        Example("noise", ((5, 3),)),
        Example("noise", ((3, 4, 5),)),
        Example("noise", ((2, 3, 2, 4),)),
    )
    bad_examples = (BadExample("noise(0.5)", ((12,),), codes.CALL_TOO_MANY),)

    def draws(self) -> bool:
        """The noise."""
        return True

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """The run's numbers; in evaluation, zeros."""
        return run.masks[run.node.name] if run.training else np.zeros_like(x[0])

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Zeros."""
        return (np.zeros_like(x[0]),)

    def lower(self, to: Lowering) -> None:
        """Draw them before the pass begins; a view of them is the value."""
        if not to.training:
            to.elementwise(to.out, Const(0.0))
            return
        drawn = to.buffer("mask", to.out.shape)
        to.call("dropout.sample_normal", to.rng, drawn, writes=[drawn])
        to.view(to.out, drawn)

    def lower_backward(self, to: Lowering) -> None:
        """Zeros."""
        if to.wanted[0]:
            dx = to.gradient_buffer(0)
            to.elementwise(dx, Const(0.0))
            to.gradient(0, dx)

    def torch(self, *inputs: Shape) -> Torch:
        """`torch.randn_like`, times 0 in evaluation."""
        return Torch("torch.mul", (Torch("torch.randn_like", (X(0),)), TRAINING))

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """Zeros of a value's shape."""
        found = read.pattern("ConstantOfShape(Shape(x))")
        if found is not None and found.values["x"].shape is not None:
            yield read.form(cls(), found.values["x"])

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """Zeros."""
        return to("ConstantOfShape", to("Shape", to.x[0]))
