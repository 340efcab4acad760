"""Dropout."""

from netspec.compiler.ir.contract import *


@register
class Dropout(Op):
    """Inverted dropout (Srivastava et al. 2014): in training y = m x, dL/dx = m dL/dy.

    The mask m is 0 with probability p, else 1 / (1 - p). In evaluation y = x.
    """

    p: float = attribute(Real(0, 1), "probability to drop", 0.5)

    name = "dropout"
    storage = Storage.KEPT
    torch_module = "nn.Dropout"
    examples = (
        Example("dropout", ((12,),)),
        Example("dropout(0.2)", ((3, 4, 4),)),
        Example("dropout(0)", ((5,),)),
        Example("dropout(1)", ((5,),)),
    )
    bad_examples = (
        BadExample("dropout(1.5)", ((12,),), codes.CALL_VALUE),
        BadExample("dropout(keep = 0.5)", ((12,),), codes.CALL_UNKNOWN_ATTRIBUTE),
    )

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """Multiply by the run's mask; in evaluation, return the input."""
        return x[0] * run.masks[run.node.name] if run.training else x[0]

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Multiply by the same mask."""
        return (dy * run.masks[run.node.name] if run.training else dy,)

    def lower(self, to: Lowering) -> None:
        """Draw the mask and multiply; a view of the input in evaluation."""
        if not to.training:
            to.view(to.out, to.x[0])
            return
        mask = to.saved["mask"] = to.buffer("mask", to.out.shape)
        to.call("dropout.sample_mask", to.rng, mask, writes=[mask], p=self.p)
        to.elementwise(to.out, Var("x") * Var("mask"), x=to.x[0], mask=mask)

    def lower_backward(self, to: Lowering) -> None:
        """Multiply by the same mask."""
        if not to.wanted[0]:
            return
        if not to.training:
            to.gradient(0, to.dy)
            return
        dx = to.gradient_buffer(0)
        to.elementwise(dx, Var("dy") * Var("mask"), dy=to.dy, mask=to.saved["mask"])
        to.gradient(0, dx)
