"""The base class of ops that apply a formula to every element."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from netspec.compiler.ir.expression import (
    Apply,
    Const,
    Expression,
    Var,
    decisions,
    evaluate,
    variables,
    where,
)
from netspec.compiler.ir.graph import Shape, show_shape
from netspec.compiler.ir.layout import Storage
from netspec.compiler.ir.op import Evaluation, Op, ParameterSpec, ShapeError, Torch, X, needed
from netspec.compiler.ir.sizes import differ
from netspec.compiler.ir.torch_formula import torch_formula
from netspec.diagnostics import Code

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from netspec.compiler.ir.onnx_form import OnnxForm, OnnxValue
    from netspec.compiler.ir.plan import Buffer, Lowering

    Array = NDArray[Any]


class ElementwiseOp(Op):
    """An op that applies a formula, given as data, to every element.

    Subclasses define `value` and `derivatives`; shape, reference and lowering follow from them. In
    both, `x` are the inputs, followed by the parameters that the op declares: vectors with one
    number for each index of one axis, or with a single number for all. An op of several inputs
    declares the code `unequal`.

    Attributes:
        unequal: the diagnostic code for inputs of different shapes.
    """

    storage = Storage.KEPT

    unequal: ClassVar[Code]

    @needed
    def value(self, *x: Expression) -> Expression:
        """Return the formula of the value."""
        raise NotImplementedError

    @needed
    def derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """Return the formula of dy/dx for each of `x`.

        If it is written in `y`, the inputs need not be kept.
        """
        raise NotImplementedError

    def require_formulas(self, operands: Sequence[str]) -> bool:
        """See `Op`."""
        x = [*map(Var, operands)]
        self.checked_value(*x)
        self.checked_derivatives(Var("y"), *x)
        return True

    def checked_value(self, *x: Expression) -> Expression:
        """Return `value`, which an op of one's own may have wrong.

        Raises:
            TypeError: if it is no formula.
        """
        found = self.value(*x)
        if not isinstance(found, Expression):
            raise TypeError(f"`value` must return a formula, not {_kind(found)}")
        return found

    def checked_derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """Return `derivatives`, which an op of one's own may have wrong.

        Raises:
            TypeError: if they are no tuple of formulas, one for each of `x`.
        """
        found = self.derivatives(y, *x)
        is_tuple = isinstance(found, tuple) and all(isinstance(f, Expression) for f in found)
        if not is_tuple or len(found) != len(x):
            raise TypeError(
                "`derivatives` must return a tuple, one formula for each input and parameter:"
                f" {len(x)} here, not {_kind(found)}"
            )
        return found

    def parameter_axis(self, x: Shape) -> int:
        """Return the axis of the parameters, counted from 1: the channels."""
        return 1

    def shape(self, *inputs: Shape) -> Shape:
        """Return the common shape of the inputs.

        Raises:
            ShapeError: with the code `unequal`, if their shapes differ.
        """
        first = inputs[0]
        if any(differ(other, first) for other in inputs[1:]):
            raise ShapeError(
                self.unequal,
                f"`{self.name}` needs equal shapes, not "
                + " and ".join(show_shape(shape) for shape in inputs),
            )
        return first

    def mixes(self, over: tuple[int | None, ...], *inputs: Shape) -> bool:
        """No."""
        return False

    # -- reference

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """Evaluate the formula, one NumPy function at a time."""
        values = self._values(run, x)
        return evaluate(self.checked_value(*map(Var, values)), values)

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Apply the chain rule: dx = dy * dy/dx.

        The gradient of a parameter is summed over all elements that each of its numbers applies to.
        """
        values = self._values(run, x)
        formulas = self.checked_derivatives(Var("y"), *map(Var, values))
        values["y"] = self.forward(run, *x)
        products = [dy * evaluate(formula, values) for formula in formulas]
        axis = self.parameter_axis(dy.shape[1:])
        for (name, parameter), product in zip(
            run.parameters.items(), products[len(x) :], strict=True
        ):
            served = tuple(a for a in range(dy.ndim) if a != axis or parameter.size == 1)
            run.gradients[name] = product.sum(axis=served).reshape(parameter.shape)
        return tuple(products[: len(x)])

    def _values(self, run: Evaluation, x: tuple[Array, ...]) -> dict[str, Array]:
        """Return the inputs, and the parameters in the shape in which they broadcast, by their
        names in formulas.
        """
        values = dict(zip(operand_names(len(x)), x, strict=True))
        behind = (1,) * (x[0].ndim - 1 - self.parameter_axis(x[0].shape[1:]))
        return values | {name: p.reshape(-1, *behind) for name, p in run.parameters.items()}

    def pattern(self, *x: Array) -> Array | None:
        """Return the results of the comparisons of inputs in the formula; None if it has none."""
        import numpy as np

        values = dict(zip(operand_names(len(x)), x, strict=True))
        parameters = [spec.name for spec in self.parameters(*(a.shape[1:] for a in x))]
        formula = self.checked_value(*map(Var, (*values, *parameters)))
        found = [
            evaluate(each, values)
            for each in decisions(formula)
            if values.keys() >= set(variables(each))
        ]
        return np.stack(found) if found else None

    # -- lowering

    def lower(self, to: Lowering) -> None:
        """Append one elementwise step, which can be fused with its neighbours."""
        for spec in self.parameters(*to.x_shapes):
            to.saved[spec.name] = to.parameter_view(spec.name, self._view(to, spec))
        operands = self._operands(to)
        to.elementwise(to.out, self.checked_value(*map(Var, operands)), **operands)

    def lower_backward(self, to: Lowering) -> None:
        """Append a sum for each parameter, then an elementwise step for each input.

        An input whose gradient is `dy` unchanged needs no step.
        """
        operands = self._operands(to)
        formulas = self.checked_derivatives(Var("y"), *map(Var, operands))
        operands |= {"y": to.out, "dy": to.dy}
        specs = self.parameters(*to.x_shapes)
        for spec, formula in zip(specs, formulas[len(to.x) :], strict=True):
            self._lower_sum(to, spec, formula, operands)
        for i, formula in enumerate(formulas[: len(to.x)]):
            if not to.wanted[i]:
                continue
            if formula == Const(1.0):
                to.gradient(i, to.dy)
                continue
            product = chain_rule(formula)
            dx = to.gradient_buffer(i)
            to.elementwise(dx, product, **{name: operands[name] for name in variables(product)})
            to.gradient(i, dx)

    def _lower_sum(
        self, to: Lowering, spec: ParameterSpec, formula: Expression, operands: dict[str, Buffer]
    ) -> None:
        """Append the gradient of a parameter: the sum of dy * formula over all that each number
        applies to.
        """
        factor: Buffer | None = None
        if isinstance(formula, Var) and operands[formula.name].batched:
            factor = operands[formula.name]
        elif formula != Const(1.0):
            factor = to.buffer(f"slope_{spec.name}", to.out.shape)
            used = variables(formula)
            assert used, "a constant slope other than 1"
            to.elementwise(factor, formula, **{name: operands[name] for name in used})
        gradient = to.parameter_gradient(spec.name)
        size, *behind = self._view(to, spec)
        after = math.prod(to.out.shape[len(to.out.shape) - len(behind) :])
        if size == 1:
            after = math.prod(to.out.shape)
        to.call(
            "broadcast_sums.backward", factor, to.dy, gradient, to.scratch, writes=[gradient],
            scratch=to.needs("broadcast_sums.scratch_size", (size * after,)), after=after,
        )  # fmt: skip

    def _operands(self, to: Lowering) -> dict[str, Buffer]:
        """Return the inputs, and the views of the parameters, by their names in formulas."""
        named = dict(zip(operand_names(len(to.x)), to.x, strict=True))
        return named | {s.name: to.saved[s.name] for s in self.parameters(*to.x_shapes)}

    def _view(self, to: Lowering, spec: ParameterSpec) -> tuple[int, ...]:
        """Return the shape in which a parameter broadcasts against a stored value."""
        (size,) = spec.shape
        if size == 1:
            return (1,)
        x = to.x_shapes[0]
        return (size, *(1,) * (len(x) - to.layout.position(self.parameter_axis(x))))

    # -- PyTorch

    def torch(self, *inputs: Shape) -> Torch:
        """Return `torch_function` or `torch_module` if there is one, else the formula."""
        if self.torch_function or self.torch_module or self.parameters(*inputs):
            return super().torch(*inputs)
        operands = {name: X(i) for i, name in enumerate(operand_names(len(inputs)))}
        return torch_formula(self.checked_value(*map(Var, operands)), operands)

    # -- ONNX

    @classmethod
    def onnx_forms(cls) -> tuple[Op, ...]:
        """The op with its defaults, if it has no attributes that must be given, and no parameters."""
        fields = cls.attributes().values()
        if any(f.default is dataclasses.MISSING for f in fields) or cls.parameter_names:
            return ()
        return (cls(),)

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """Append `onnx_operator` if there is one, else the formula."""
        if self.onnx_operator:
            return super().onnx(to)
        values = dict(zip(operand_names(len(to.x)), to.x, strict=True))
        behind = len(to.shape) - self.parameter_axis(to.x_shapes[0])
        for name, parameter in to.parameters.items():
            values[name] = to.beside(parameter, behind)
        return to.formula(self.checked_value(*map(Var, values)), values)


def chain_rule(derivative: Expression) -> Expression:
    """Return `dy * derivative`, where a derivative `where(c, 1, 0)` gives `where(c, dy, 0)`."""
    dy = Var("dy")
    if isinstance(derivative, Apply) and derivative.function == "where":
        condition, then, otherwise = derivative.arguments
        if (then, otherwise) == (Const(1.0), Const(0.0)):
            return where(condition, dy, 0.0)
    return dy * derivative


def operand_names(count: int) -> tuple[str, ...]:
    """Return the names of so many inputs in formulas."""
    return ("x",) if count == 1 else tuple(f"x{i}" for i in range(count))


def _kind(found: object) -> str:
    """Say what an op returned in place of formulas."""
    if isinstance(found, Expression):
        return "a formula alone (is a comma missing, as in `(a,)`?)"
    if isinstance(found, tuple):
        wrong = next((type(f).__name__ for f in found if not isinstance(f, Expression)), None)
        return f"a tuple of {len(found)}" if wrong is None else f"a tuple with {wrong} in it"
    return f"a {type(found).__name__}"
