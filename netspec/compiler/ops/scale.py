"""Learned scale."""

from collections.abc import Iterable

from netspec.compiler.ir.aten_form import AtenCall
from netspec.compiler.ir.contract import *
from netspec.compiler.ir.onnx_read import is_by_channel


def _factors(x: str, weight: str) -> AtenForm:
    """A product with a factor for each channel, as `torch` writes it."""

    def fit(call: AtenCall) -> None:
        value, factors = call.tensor(x), call.tensor(weight).shape
        shape = value.shape
        channels = (shape[0], 1, 1) if len(shape) == 3 else shape[-1:]
        is_whole = not value.stored and shape == call.shape and factors == channels
        call.require(is_whole, "its factors are not one for each channel")

    return AtenForm(
        ("mul",), (x,), {"weight": weight}, unless=fit, is_apart=True, starts={"start": weight}
    )


@register
class Scale(ElementwiseOp):
    """A learned factor for each channel (the LayerScale of Touvron et al. 2021): y = w x.

    A picture has a factor for each channel, everything else for each place on the last axis.
    With g = dL/dy: dL/dw = sum of g x over all that a factor serves, and dL/dx = w g.
    """

    start: float = attribute(Real(), "initial value of the factors", 1)

    name = "scale"
    onnx_ends = ("Mul",)
    parameter_names = ("weight",)
    aten = (_factors("self", "other"), _factors("other", "self"))
    examples = (
        Example("scale", ((3, 4, 5),)),
        Example("scale(1e-6)", ((2, 3, 3),)),
        Example("scale(start = 0.5)", ((7,),)),
        Example("scale", ((3, 5),)),
    )
    bad_examples = (
        BadExample("scale(start = true)", ((7,),), codes.CALL_VALUE),
        BadExample("scale(1, 2)", ((7,),), codes.CALL_TOO_MANY),
    )

    def parameter_axis(self, x: Shape) -> int:
        """The axis of the channels for a picture, else the last axis."""
        return 1 if len(x) == 3 else len(x)

    def parameters(self, *inputs: Shape) -> tuple[ParameterSpec, ...]:
        """`weight`."""
        (x,) = inputs
        shape = (x[self.parameter_axis(x) - 1],)
        return (ParameterSpec("weight", shape, Constant(self.start), "scale"),)

    def value(self, *x: Expression) -> Expression:
        """The product of x and w."""
        return x[0] * x[1]

    def derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """The derivative by each factor, which is the other factor."""
        return (x[1], x[0])

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`Mul` by stored numbers, one for each channel of a picture, else for each last place."""
        found = read.pattern("Mul(x, Reshape(c_w, c_sizes))") or read.pattern("Mul(x, c_w)")
        x = None if found is None else found.values["x"].shape
        if found is None or x is None:
            return
        factors = read.array(found.values["c_w"])
        if factors is None or factors.dtype.kind != "f" or factors.size == 1:
            return
        fits = (
            is_by_channel(read.array_of(found, "c_w", "c_sizes"), x, x[0])
            if len(x) == 3
            else factors.shape == x[-1:]
        )
        if fits:
            held = {"weight": Held(found.values["c_w"], factors.reshape(-1))}
            yield read.layer(cls(), found.values["x"], found=found, parameters=held)

    def torch(self, *inputs: Shape) -> Torch:
        """A product with a parameter."""
        weight: P | Torch = P("weight")
        if len(inputs[0]) == 3:
            weight = Torch("torch.reshape", (weight, (-1, 1, 1)))
        return Torch("torch.mul", (X(0), weight))
