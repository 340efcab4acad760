"""Global maximum pooling."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.idiom import flat_sizes
from netspec.compiler.ops.families.global_pool import GlobalPoolOp
from netspec.compiler.ops.families.windows import beside, first_maximum, spatial


@register
class GlobalMaxPool(GlobalPoolOp):
    """Maximum over each channel's picture: (C, H, W) becomes (C,).

    y = max of x. With g = dL/dy: dL/dx = g at the first maximum, row by row, and 0 elsewhere.
    """

    name = "global_max_pool"
    onnx_ends = ("Flatten", "Reshape", "Squeeze")
    onnx_reduction = "ReduceMax"
    onnx_operator = "GlobalMaxPool"
    adaptive = "max"
    idioms = (
        Idiom(
            ("adaptive_max_pool", "flatten"),
            lambda given, _: {} if set(flat_sizes(given[0]["size"])) == {1} else None,
        ),
    )
    examples = (
        Example("global_max_pool", ((2, 2, 3),)),
        Example("global_max_pool", ((3, 5),)),
        Example("global_max_pool", ((2, 3, 2, 4),)),
    )
    bad_examples = (BadExample("global_max_pool", ((10,),), codes.SHAPE_RANK),)

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """The maximum over height and width."""
        y: Array = x[0].max(axis=spatial(x[0]))
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """All to the first maximum."""
        return (first_maximum(x[0]) * beside(dy, x[0].ndim - 2),)

    def pattern(self, *x: Array) -> Array | None:
        """Where the maxima are."""
        return first_maximum(x[0])

    def lower(self, to: Lowering) -> None:
        """One kernel."""
        pooled = to.buffer("pooled", self._one(to))
        to.call("adaptive.max_forward", to.x[0], pooled, writes=[pooled])
        to.view(to.out, pooled)

    def lower_backward(self, to: Lowering) -> None:
        """The kernel searches for the maxima again."""
        if to.wanted[0]:
            dx, dy = to.gradient_buffer(0), to.buffer("dpooled", self._one(to))
            to.view(dy, to.dy)
            to.call("adaptive.max_backward", to.x[0], dy, dx, writes=[dx])
            to.gradient(0, dx)

    @staticmethod
    def _one(to: Lowering) -> Shape:
        """The stored shape of one pixel."""
        return (*(1,) * (len(to.x[0].shape) - 1), *to.out.shape)
