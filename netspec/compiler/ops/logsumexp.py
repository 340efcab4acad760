"""Logarithm of a sum of exponentials."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.reduction import ReductionOp


@register
class LogSumExp(ReductionOp):
    """Logarithm of the sum of exponentials over axes: y = log(sum of exp(x)), without overflow.

    dL/dx = g exp(x - y) with g = dL/dy.
    """

    name = "logsumexp"
    onnx_ends = ("ReduceLogSumExp",)
    onnx_operator = "ReduceLogSumExp"
    forward_kernel = "reductions.logsumexp"
    backward_kernel = "reductions.logsumexp_backward"
    reads = ("x", "y", "dy")
    aten = (
        AtenForm(
            ("logsumexp",), attributes={"axes": lambda call: call.axes("dim"), "keep": "keepdim"}
        ),
    )
    examples = (Example("logsumexp(3)", ((2, 3, 2),)),)

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """The definition, two numbers at a time, so that nothing overflows."""
        axes = self._over(x[0])
        y: Array = np.logaddexp.reduce(x[0], axis=axes, keepdims=True)
        return y if self.keep else y.squeeze(axes)

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """The softmax, times g."""
        y = self._beside(x[0], self.forward(run, *x))
        return (self._beside(x[0], dy) * np.exp(x[0] - y),)

    def torch(self, *inputs: Shape) -> Torch:
        """`torch.logsumexp`."""
        return self.reduced("torch.logsumexp")
