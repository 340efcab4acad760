"""The smallest number."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.reduction import ReductionOp


@register
class Min(ReductionOp):
    """The smallest number over axes; its gradient is shared by equal ones, as in PyTorch.

    y = min of x. With g = dL/dy: dL/dx = g / k at the k places of x that are equal to y, else 0.
    """

    name = "min"
    forward_kernel = "reductions.smallest"
    backward_kernel = "reductions.shared"
    reads = ("x", "y", "dy")
    examples = (Example("min([1, 2], keep = true)", ((3, 2),)),)

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """The smallest."""
        y: Array = x[0].min(axis=self._over(x[0]), keepdims=self.keep)
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Equal numbers get equal shares of the gradient."""
        y = x[0].min(axis=self._over(x[0]), keepdims=True)
        chosen = x[0] == y
        count = chosen.sum(axis=self._over(x[0]), keepdims=True)
        return (chosen * self._beside(x[0], dy) / count,)

    def pattern(self, *x: Array) -> Array | None:
        """The positions of the smallest numbers."""
        y = x[0].min(axis=self._over(x[0]), keepdims=True)
        places: Array = x[0] == y
        return places

    def torch(self, *inputs: Shape) -> Torch:
        """`torch.amin`."""
        return self.reduced("torch.amin")
