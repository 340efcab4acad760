"""Learned scale."""

from netspec.compiler.ir.contract import *


@register
class Scale(Op):
    """A learned factor for each channel (the LayerScale of Touvron et al. 2021): y = w x.

    A picture has a factor for each channel, everything else for each place on the last axis.
    With g = dL/dy: dL/dw = sum of g x over all that a factor serves, and dL/dx = w g.
    """

    start: float = attribute(Real(), "what the factors start from", 1)

    name = "scale"
    parameter_names = ("weight",)
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

    @staticmethod
    def _factors(x: Shape) -> int:
        return x[0] if len(x) == 3 else x[-1]

    def parameters(self, *inputs: Shape) -> tuple[ParameterSpec, ...]:
        """`weight`."""
        shape = (self._factors(inputs[0]),)
        return (ParameterSpec("weight", shape, Constant(self.start), "scale"),)

    @staticmethod
    def _meet(weight: Array, x: Array) -> Array:
        return weight[:, None, None] if x.ndim == 4 else weight

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """The product."""
        return x[0] * self._meet(run.parameters["weight"], x[0])

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """The other product, and its sum."""
        served = (0, 2, 3) if dy.ndim == 4 else tuple(range(dy.ndim - 1))
        run.gradients["weight"] = (dy * x[0]).sum(axis=served)
        return (dy * self._meet(run.parameters["weight"], dy),)

    def lower(self, to: Lowering) -> None:
        """An elementwise product, which fuses with its neighbours."""
        factors = (self._factors(to.x_shapes[0]),)
        vector = to.saved["factors"] = to.buffer("factors", factors, batched=False)
        to.call("scale.copy_weight", to.parameter("weight"), vector, writes=[vector])
        to.elementwise(to.out, Var("x") * Var("scale"), x=to.x[0], scale=vector)

    def lower_backward(self, to: Lowering) -> None:
        """A sum of products, and an elementwise product."""
        dweight = to.parameter_gradient("weight")
        scratch = to.needs("scale.scratch_size", (self._factors(to.x_shapes[0]),))
        to.call(
            "scale.backward_weight", to.x[0], to.dy, dweight, to.scratch,
            writes=[dweight], scratch=scratch,
        )  # fmt: skip
        if to.wanted[0]:
            dx = to.gradient_buffer(0)
            to.elementwise(dx, Var("dy") * Var("scale"), dy=to.dy, scale=to.saved["factors"])
            to.gradient(0, dx)

    def torch(self, *inputs: Shape) -> Torch:
        """A product with a parameter."""
        weight: P | Torch = P("weight")
        if len(inputs[0]) == 3:
            weight = Torch("torch.reshape", (weight, (-1, 1, 1)))
        return Torch("torch.mul", (X(0), weight))
