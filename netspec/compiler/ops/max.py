"""The largest number."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.reduction import ReductionOp


@register
class Max(ReductionOp):
    """The largest number over axes; its gradient is shared by equal ones, as in PyTorch.

    y = max of x. With g = dL/dy: dL/dx = g / k at the k places of x that are equal to y, else 0.
    """

    name = "max"
    forward_kernel = "reductions.largest"
    backward_kernel = "reductions.shared"
    reads = ("x", "y", "dy")
    examples = (
        Example("max(3)", ((2, 3, 2),)),
        Example("max([1, 2], keep = true)", ((3, 2),)),
    )

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """The largest."""
        y: Array = x[0].max(axis=self._over(x[0]), keepdims=self.keep)
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Equal numbers get equal shares of the gradient."""
        y = x[0].max(axis=self._over(x[0]), keepdims=True)
        chosen = x[0] == y
        count = chosen.sum(axis=self._over(x[0]), keepdims=True)
        return (chosen * self._beside(x[0], dy) / count,)

    def pattern(self, *x: Array) -> Array | None:
        """The positions of the largest numbers."""
        y = x[0].max(axis=self._over(x[0]), keepdims=True)
        places: Array = x[0] == y
        return places

    def torch(self, *inputs: Shape) -> Torch:
        """`torch.amax`."""
        return self.reduced("torch.amax")
