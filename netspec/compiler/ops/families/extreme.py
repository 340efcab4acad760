"""The base class of the largest and the smallest number over axes."""

from typing import ClassVar

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.reduction import ReductionOp


class ExtremeOp(ReductionOp):
    """The largest or the smallest number. `method` is NumPy's method, `function` PyTorch's function."""

    backward_kernel = "reductions.shared"
    reads = ("x", "y", "dy")

    method: ClassVar[str]
    function: ClassVar[str]

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """The extreme number."""
        return self._extreme(x[0], keep=self.keep)

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Equal numbers get equal shares of the gradient."""
        chosen = x[0] == self._extreme(x[0], keep=True)
        count = chosen.sum(axis=self._over(x[0]), keepdims=True)
        return (chosen * self._beside(x[0], dy) / count,)

    def pattern(self, *x: Array) -> Array | None:
        """The positions of the extreme numbers."""
        places: Array = x[0] == self._extreme(x[0], keep=True)
        return places

    def torch(self, *inputs: Shape) -> Torch:
        """PyTorch's function, whose gradient is shared too."""
        return self.reduced(self.function)

    def _extreme(self, x: Array, *, keep: bool) -> Array:
        y: Array = getattr(x, self.method)(axis=self._over(x), keepdims=keep)
        return y
