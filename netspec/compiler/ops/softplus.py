"""Softplus."""

from collections.abc import Iterable

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.torch_formula import whole
from netspec.compiler.ops.families.function import FunctionOp


@register
class Softplus(FunctionOp):
    """Softplus (Dugas et al. 2001): y = log(1 + exp(beta x)) / beta; y = x where beta x > threshold.

    dy/dx = sigmoid(beta x), and 1 above the threshold, as in PyTorch.
    """

    beta: float = attribute(Real(0, low_open=True), "steepness of the bend", 1)
    threshold: float = attribute(Real(), "where beta x is larger, y is x itself", 20)

    name = "softplus"
    onnx_ends = ("Where",)
    # PyTorch's exporter.
    onnx_spellings = ("Where(Greater(x, 20), x, Softplus(x))",)
    value_range = (0.0, float("inf"))
    aten = (AtenForm(("softplus",), attributes={"beta": "beta", "threshold": "threshold"}),)
    examples = (
        Example("softplus", ((5,),)),
        Example("softplus(beta = 2, threshold = 0.5)", ((5,),)),
    )
    bad_examples = (BadExample("softplus(0)", ((7,),), codes.CALL_VALUE),)

    def of(self, x: Expression) -> Expression:
        """log(1 + exp(beta x)) / beta. exp may overflow where this branch is not chosen."""
        scaled = x * self.beta
        return where(scaled > self.threshold, x, log1p(exp(scaled)) / self.beta)

    def slope(self, y: Expression, x: Expression) -> Expression:
        """sigmoid(beta x)."""
        scaled = x * self.beta
        return where(scaled > self.threshold, 1, sigmoid(scaled))

    def torch(self, *inputs: Shape) -> Torch:
        """`F.softplus`."""
        return Torch(
            "F.softplus", (X(0),), {"beta": whole(self.beta), "threshold": whole(self.threshold)},
            defaults={"beta": 1, "threshold": 20}, as_module="nn.Softplus",
        )  # fmt: skip

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """The formula where its bend is another one."""
        bent = "Log(Add(Exp(Mul(x, c_beta)), 1))"
        for text in (
            f"Where(Greater(Mul(x, c_beta), c_limit), x, Div({bent}, c_beta))",
            "Where(Greater(x, c_limit), x, Log(Add(Exp(x), 1)))",
        ):
            found = read.pattern(text)
            if found is not None:
                beta, limit = (read.number(found.values.get(n)) for n in ("c_beta", "c_limit"))
                if limit is not None:
                    op = cls(1 if beta is None else beta, limit)
                    yield read.layer(op, found.values["x"], found=found)

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Softplus`, or the formula where its bend is another one."""
        if self.beta == 1 and self.threshold >= 20:  # log(1 + exp(20)) is 20 in single precision
            return to("Softplus", to.x[0])
        return super().onnx(to)
