"""The base class of arithmetic on values, and on values and numbers. Sizes of 1 are broadcast."""

import functools
from collections.abc import Iterable, Sequence
from typing import TypeVar

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.elementwise_op import chain_rule, operand_names
from netspec.compiler.ir.expression import lift, variables
from netspec.compiler.ir.torch_formula import whole

T = TypeVar("T")


class ArithmeticOp(ElementwiseOp):
    """A formula of values whose sizes are equal or 1. A number may take the place of one of them.

    Where a size is 1, the value is broadcast along that axis, and its gradient is the sum over the
    repetitions. Subclasses define `combine` and `slopes` for all operands in order, and
    `number_places`, which names the attributes that hold numbers in place of values.
    """

    @classmethod
    def onnx_forms(cls) -> tuple[Op, ...]:
        """None: `from_onnx` finds the operands, of which some may be numbers."""
        return ()

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """The operator of the formula, with values and single numbers as its operands."""
        inputs, numbers = [], {}
        for i, value in enumerate(read.root.inputs):
            number = read.number(value)
            if number is None or len(read.root.inputs) > 2:
                inputs.append(value)
            else:
                numbers[cls.number_places[i]] = number
        yield read.layer(cls(**numbers), *inputs)

    def combine(self, *x: Expression) -> Expression:
        """Return the formula of the value."""
        raise NotImplementedError

    def slopes(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """Return the formula of dy/dx for each operand."""
        raise NotImplementedError

    def value(self, *x: Expression) -> Expression:
        """Return the formula with the numbers put in."""
        return self.combine(*map(lift, self.operands(x)))

    def derivatives(self, y: Expression, *x: Expression) -> tuple[Expression, ...]:
        """Return the slopes by those operands that are values."""
        operands = self.operands(x)
        slopes = self.slopes(y, *map(lift, operands))
        return tuple(s for s, o in zip(slopes, operands, strict=True) if isinstance(o, Expression))

    def operands(self, values: Sequence[T]) -> list[T | float]:
        """Return all operands in order: the values, and the numbers at their places among them."""
        mixed: list[T | float] = list(values)
        places = {name: place for place, name in enumerate(self.number_places) if name}
        for name, place in places.items():
            number = getattr(self, name)
            if number is not None:
                mixed.insert(place, number)
        return mixed

    def shape(self, *inputs: Shape) -> Shape:
        """Return the larger size on each axis.

        Raises:
            ShapeError: with the code `unequal`, if a size differs and is not 1.
        """
        first = inputs[0]
        if 1 not in first and all(shape == first for shape in inputs):
            return first
        if all(len(shape) == len(first) for shape in inputs):
            sizes = [_common(sizes) for sizes in zip(*inputs, strict=True)]
            known = tuple(size for size in sizes if size is not None)
            if len(known) == len(first):
                return known
        shown = " and ".join(show_shape(shape) for shape in inputs)
        message = f"`{self.name}` needs equal shapes, not {shown}"
        raise ShapeError(self.unequal, message, help=_advice(inputs))

    # -- reference

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Apply the chain rule, and sum over the repetitions of broadcast inputs."""
        wide = [np.broadcast_to(each, dy.shape) for each in x]
        products = super().backward(run, dy, *wide)
        return tuple(summed(d * np.ones_like(dy), a) for d, a in zip(products, x, strict=True))

    # -- lowering

    def lower(self, to: Lowering) -> None:
        """Append one elementwise step. Inputs that are broadcast are repeated in memory before."""
        wide = [self._wide(to, i, "wide") for i in range(len(to.x))]
        operands = dict(zip(operand_names(len(wide)), wide, strict=True))
        to.elementwise(to.out, self.value(*map(Var, operands)), **operands)

    def lower_backward(self, to: Lowering) -> None:
        """Append an elementwise step for each input, and a sum for each that was broadcast."""
        if all(x.shape == to.out.shape for x in to.x):
            super().lower_backward(to)
            return
        names = operand_names(len(to.x))
        formulas = self.checked_derivatives(Var("y"), *map(Var, names))
        wide: dict[str, Buffer] = {"y": to.out, "dy": to.dy}
        for i, formula in enumerate(formulas):
            if not to.wanted[i]:
                continue
            product = Var("dy") if formula == Const(1.0) else chain_rule(formula)
            for name in variables(product):
                if name not in wide:
                    wide[name] = self._wide(to, names.index(name), "again")
            full = to.dy
            if product != Var("dy"):
                full = to.buffer(f"dx{i}.wide", to.out.shape)
                to.elementwise(full, product, **{name: wide[name] for name in variables(product)})
            if to.x[i].shape != to.out.shape:
                dx = to.gradient_buffer(i)
                to.call("reductions.sum_repeated", full, dx, writes=[dx])
                full = dx
            to.gradient(i, full)

    @staticmethod
    def _wide(to: Lowering, index: int, suffix: str) -> Buffer:
        """Return an input in the shape of the value, repeated in memory if its shape differs."""
        x = to.x[index]
        if x.shape == to.out.shape:
            return x
        wide = to.buffer(f"x{index}.{suffix}", to.out.shape)
        to.call("copies.repeat", x, wide, writes=[wide])
        return wide

    def joined(self, function: str, count: int) -> Torch:
        """Return a function of two operands in PyTorch, nested from the left."""
        operands = [
            whole(each) if isinstance(each, float) else each
            for each in self.operands([X(i) for i in range(count)])
        ]
        return functools.reduce(lambda a, b: Torch(function, (a, b)), operands)  # type: ignore


def _common(sizes: Sequence[int]) -> int | None:
    """Return the common size of those that are not 1; None if they differ."""
    wide = [size for size in sizes if size != 1]
    if not wide:
        return 1
    return None if any(size - wide[0] for size in wide[1:]) else wide[0]


def _advice(inputs: Sequence[Shape]) -> str | None:
    """Return advice on how to broadcast a value with fewer axes, or None."""
    if len({len(shape) for shape in inputs}) == 1:
        return None
    longest = max(inputs, key=len)
    for shape in inputs:
        if len(shape) == 1 and len(longest) > 1 and not shape[0] - longest[0]:
            return _for_each(shape, longest)
    for shape in inputs:
        lacking = len(longest) - len(shape)
        wide = (*(1 for _ in range(lacking)), *shape)
        if lacking and None not in map(_common, zip(wide, longest, strict=True)):
            steps = " -> ".join(["unsqueeze(1)"] * lacking)
            return f"`{steps}` turns {show_shape(shape)} into {show_shape(wide)}, which fits"
    return "sizes of 1 are repeated: `reshape` gives a value the axes that it lacks"


def _for_each(shape: Shape, longest: Shape) -> str:
    """Return advice on a list of numbers as long as axis 1 of another value.

    Where the last axis is as long too, both readings are said: that of a sequence is first a number for
    each feature, as other tools broadcast it, and that of a picture one for each channel.
    """
    is_sequence = len(longest) == 2
    ones = [shape[0], *(1 for _ in longest[1:])]
    first = "place on axis 1" if is_sequence else "channel"
    readings = [(f"`reshape({ones})`", f"a number for each {first}")]
    if not shape[0] - longest[-1]:
        steps = " -> ".join(["unsqueeze(1)"] * (len(longest) - 1))
        readings.insert(
            0 if is_sequence else 1, (f"`{steps}`", "a number for each place on the last axis")
        )
    (way, what), *others = readings
    rest = "".join(f"; {other} {meaning}" for other, meaning in others)
    return f"{way} makes of {show_shape(shape)} {what}{rest}"


def summed(gradient: Array, x: Array) -> Array:
    """Return the gradient of a value that was broadcast, summed over its repetitions."""
    repeated = tuple(a for a, size in enumerate(x.shape) if size != gradient.shape[a])
    total: Array = gradient.sum(axis=repeated, keepdims=True)
    return total
