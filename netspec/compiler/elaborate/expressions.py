"""Expressions of a body: constants are computed, values become nodes through `apply`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from netspec import codes
from netspec.compiler.elaborate.fix_its import square_brackets
from netspec.compiler.elaborate.net_builder import StopBuildingError
from netspec.compiler.elaborate.scope import (
    UNKNOWN,
    SharedLayer,
    Tensor,
    Tensors,
    tensor_attributes,
)
from netspec.compiler.elaborate.undefined_names import Reporter
from netspec.compiler.ir import constants, initializers
from netspec.compiler.ir.attributes import WrongValueError
from netspec.compiler.ir.constants import ConstantError
from netspec.compiler.ir.graph import show_shape
from netspec.compiler.ir.initializers import Initializer
from netspec.compiler.ops import registry
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Edit, Hint, Label, Span, quoted, suggest

MAX_DEPTH = 150


class Evaluator(Reporter):
    """Evaluates the expressions of one body. `Body` adds calls of layers and statements."""

    def apply(
        self, call: syntax.Call, inputs: list[Any], label: syntax.Label | None, span: Span
    ) -> Any:
        """Call a layer or a block on values."""
        raise NotImplementedError

    def check_comment(self, node: object, value: Any) -> None:
        """Called with everything that a shape comment can be about, when it is computed."""
        raise NotImplementedError

    def count_work(self, span: Span, units: int = 1) -> None:
        """Called for every expression, statement and layer, so that the whole work is bounded."""
        raise NotImplementedError

    # -- entry points

    def evaluate(self, expr: syntax.Expr) -> Any:
        """A constant, a `Tensor`, `Tensors`, a shared layer, or UNKNOWN after a reported error."""
        self.count_work(expr.span)
        self.assembly.depth += 1
        try:
            if self.assembly.depth > MAX_DEPTH:
                self.report(
                    codes.LIMIT_NESTING, "expressions and blocks are nested too deeply", expr.span
                )
                raise StopBuildingError
            value = _EVALUATORS[type(expr)](self, expr)
            if size := constants.size(value):
                self.count_work(expr.span, size // 32)
            self.check_comment(expr, value)
            return value
        except ConstantError as error:
            hints = (Hint(error.help),) if error.help else ()
            self.report(error.code, error.message, expr.span, hints=hints)
            return UNKNOWN
        finally:
            self.assembly.depth -= 1

    def constant(self, expr: syntax.Expr, what: str) -> Any:
        """A compile-time constant, or UNKNOWN."""
        value = self.evaluate(expr)
        if isinstance(value, (Tensor, Tensors, SharedLayer)):
            self.report(
                codes.VALUE_NOT_A_CONSTANT,
                f"{what} must be a constant, not a value of the net",
                expr.span,
                label=show_shape(value.shape) if isinstance(value, Tensor) else "",
            )
            return UNKNOWN
        return value

    def tensor(self, expr: syntax.Expr, what: str) -> Any:
        """A value of the net, or UNKNOWN."""
        return self.as_tensor(self.evaluate(expr), expr, what)

    def as_tensor(self, value: Any, expr: syntax.Expr, what: str) -> Any:
        """Check that what an expression gave is one value of the net."""
        if isinstance(value, Tensor) or value is UNKNOWN:
            return value
        if isinstance(value, Tensors):
            return self.one_value(value, expr.span, what)
        if isinstance(value, SharedLayer):
            self.report(
                codes.VALUE_NOT_A_TENSOR, f"{what} must be a value of the net, not a layer", expr.span,
                hints=(Hint(f"call it: `x -> {expr.span.text}`"),),
            )  # fmt: skip
        else:
            kind = constants.type_name(value)
            self.report(
                codes.VALUE_NOT_A_TENSOR,
                f"{what} must be a value of the net, not {kind}",
                expr.span,
            )
        return UNKNOWN

    def one_value(self, values: Tensors, span: Span, what: str) -> Any:
        """Report several values where one belongs."""
        self.report(
            codes.VALUE_SEVERAL, f"{what} must be one value, and this gives {len(values.items)}", span,
            hints=(Hint("unpack them first: `a, b = ...`"),),
        )  # fmt: skip
        return UNKNOWN

    def condition(self, expr: syntax.Expr) -> bool | None:
        """A condition, or None after a reported error."""
        value = self.constant(expr, "a condition")
        if value is UNKNOWN:
            return None
        try:
            return constants.truth(value)
        except ConstantError as error:
            self.report(error.code, error.message, expr.span)
            return None

    # -- names and simple forms

    def _name(self, expr: syntax.Name) -> Any:
        binding = self.scope.get(expr.id)
        if binding is not None:
            return binding.value
        if expr.id in initializers.RULES:
            return self._init_rule(expr.id, [], {}, expr.span)
        return self.undefined(expr)

    def _literal(self, expr: syntax.Literal) -> Any:
        return expr.value

    def _parens(self, expr: syntax.Parens) -> Any:
        return self.evaluate(expr.inner)

    def _list(self, expr: syntax.ListExpr) -> Any:
        items = [self.constant(item, "an item of a list") for item in expr.items]
        return UNKNOWN if UNKNOWN in items else constants.bounded(tuple(items))

    def _group(self, expr: syntax.Group) -> Any:
        values = [self.evaluate(item) for item in expr.items]
        if any(
            value is UNKNOWN or isinstance(value, (Tensor, Tensors, SharedLayer))
            for value in values
        ):
            pairs = zip(values, expr.items, strict=True)
            return Tensors(tuple(self.as_tensor(*pair, "a part of a group") for pair in pairs))
        message = "round brackets group values of the net; a list of constants has square ones"
        self.report(
            codes.VALUE_NOT_A_TENSOR, message, expr.span, hints=(square_brackets(expr.span),)
        )
        return constants.bounded(tuple(values))

    # -- operators

    def _chain(self, expr: syntax.Chain) -> Any:
        left, span = self.evaluate(expr.first), expr.first.span
        for op, operand in expr.rest:
            right = self.evaluate(operand)
            whole = span.to(operand.span)
            left = self._binary(op, left, right, whole, (span, operand.span))
            span = whole
        return left

    def _binary(self, op: str, left: Any, right: Any, span: Span, sides: tuple[Span, Span]) -> Any:
        left, right = (
            self.one_value(side, where, f"a side of `{op}`") if isinstance(side, Tensors) else side
            for side, where in zip((left, right), sides, strict=True)
        )
        if UNKNOWN in (left, right):
            return UNKNOWN
        tensors = [isinstance(side, (Tensor, Tensors)) for side in (left, right)]
        layer = {"+": "add", "*": "mul"}.get(op)
        if all(tensors) and layer in registry():
            assert layer is not None
            call = syntax.Call(syntax.Name(layer, span), (), span)
            return self.apply(call, [left, right], None, span)
        if any(tensors):
            message = f"{quoted(span.text)} mixes a value of the net with a constant"
            if all(tensors):
                message = f"`{op}` is not defined for values of the net"
            kinds = [
                show_shape(side.shape) if isinstance(side, Tensor) else "a constant"
                for side in (left, right)
            ]
            secondary = tuple(Label(*side) for side in zip(sides, kinds, strict=True))
            hints = tuple(self._without_operator(op, (left, right), sides, span))
            self.report(codes.VALUE_OPERATOR, message, span, secondary=secondary, hints=hints)
            return UNKNOWN
        return constants.arithmetic(op, left, right)

    def _without_operator(
        self, op: str, values: tuple[Any, Any], sides: tuple[Span, Span], span: Span
    ) -> Iterator[Hint]:
        """What there is instead of arithmetic of values with constants, and of differences."""
        left, right = values
        texts = [side.text for side in sides]
        if all(isinstance(value, Tensor) for value in values):
            if op == "-":
                better = f"{texts[0]} + ({texts[1]} -> scale(-1))"
                words = f"{quoted(better)} starts as the difference, and learns its factor"
                yield Hint(words, (Edit(span, better),))
            return
        at = 0 if isinstance(left, Tensor) else 1
        value, number = (left, right) if at == 0 else (right, left)
        if not isinstance(value, Tensor) or (at == 1 and op not in "+*"):
            return
        if value.name in self.assembly.inputs:
            words = f"training normalises pictures: write {quoted(texts[at])} alone"
            yield Hint(words, (Edit(span, texts[at]),), stands=True)
        elif op in ("*", "/") and isinstance(number, (int, float)):
            factor = texts[1 - at] if op == "*" else f"1 / {texts[1]}"
            better = f"({texts[at]} -> scale({factor}))"
            words = f"{quoted(better)} starts with this factor, and learns it"
            yield Hint(words, (Edit(span, better),))

    def _constants(self, exprs: tuple[syntax.Expr, ...], what: str) -> list[Any] | None:
        values = [self.constant(e, what) for e in exprs]
        return None if UNKNOWN in values else values

    def _power(self, expr: syntax.Power) -> Any:
        values = self._constants(expr.items, "an operand of `**`")
        if values is None:
            return UNKNOWN
        result = values.pop()
        while values:
            result = constants.power(values.pop(), result)
        return result

    def _unary(self, expr: syntax.Unary) -> Any:
        value = self.constant(expr.operand, f"the operand of `{expr.operators[-1]}`")
        for op in reversed(expr.operators) if value is not UNKNOWN else ():
            value = constants.negate(op, value)
        return value

    def _compare(self, expr: syntax.Compare) -> Any:
        operands = (expr.first, *(operand for _, operand in expr.rest))
        values = self._constants(operands, "an operand of a comparison")
        if values is None:
            return UNKNOWN
        ops = [op for op, _ in expr.rest]
        return all(
            constants.compare(op, a, b)
            for op, a, b in zip(ops, values[:-1], values[1:], strict=True)
        )

    def _logic(self, expr: syntax.Logic) -> Any:
        for item in expr.items:
            value = self.condition(item)
            if value is None:
                return UNKNOWN
            if value == (expr.operator == "or"):
                self.skip(expr.items)
                return value
        return expr.operator == "and"

    def _conditional(self, expr: syntax.Conditional) -> Any:
        for value, condition in expr.cases:
            chosen = self.condition(condition)
            if chosen is None:
                return UNKNOWN
            if chosen:
                self.skip(expr)
                return self.evaluate(value)
        self.skip(expr)
        return self.evaluate(expr.otherwise)

    # -- attributes and items

    def _access(self, expr: syntax.Access) -> Any:
        value = self.evaluate(expr.base)
        for trailer in expr.trailers:
            if value is UNKNOWN:
                return UNKNOWN
            if isinstance(trailer, syntax.Attribute):
                value = self._attribute(value, trailer)
            elif isinstance(trailer, syntax.Index):
                at = self.constant(trailer.at, "an index")
                if isinstance(value, Tensor):
                    help = "`x -> slice(axis = 1, start = 0, stop = 1)` takes a part of an axis"
                    raise ConstantError(codes.CONSTANT_TYPE, "a value has no items", help)
                if isinstance(value, Tensors) and isinstance(at, int):
                    value = constants.index(value.items, at)
                else:
                    value = UNKNOWN if at is UNKNOWN else constants.index(value, at)
            else:
                ends = [
                    None if end is None else self.constant(end, "an index")
                    for end in (trailer.start, trailer.stop)
                ]
                value = UNKNOWN if UNKNOWN in ends else constants.cut(value, *ends)
        return value

    def _attribute(self, value: Any, trailer: syntax.Attribute) -> Any:
        if not isinstance(value, Tensor):
            kind = "several values" if isinstance(value, Tensors) else constants.type_name(value)
            self.report(codes.VALUE_ATTRIBUTE, f"{kind} has no `.{trailer.name}`", trailer.span)
            return UNKNOWN
        known = tensor_attributes(value)
        if trailer.name in known:
            return known[trailer.name]
        if trailer.name == "receptive_field":
            return self.assembly.field(value.name).constant
        names = [*known, "receptive_field"]
        meant = suggest(trailer.name, names)
        edits = (Edit(trailer.span, f".{meant}"),)
        hints = (Hint(f"did you mean `.{meant}`?", edits),) if meant else ()
        self.report(
            codes.VALUE_ATTRIBUTE,
            f"a value of shape {show_shape(value.shape)} has no `.{trailer.name}`",
            trailer.span,
            notes=(f"it has {', '.join(names)}",),
            hints=hints,
        )
        return UNKNOWN

    # -- calls and pipelines

    def _call(self, expr: syntax.Call) -> Any:
        name = expr.callee.id
        if self.scope.get(name) is None:
            if name in constants.FUNCTIONS and name not in self.callables():
                return self._constant_call(expr)
            if name in initializers.RULES:
                positional = [a for a in expr.arguments if a.name is None]
                values = [self.constant(a.value, "an argument") for a in positional]
                named = {
                    a.name.id: self.constant(a.value, "an argument")
                    for a in expr.arguments
                    if a.name is not None
                }
                return self._init_rule(name, values, named, expr.span)
        return self.apply(expr, [], None, expr.span)

    def _constant_call(self, expr: syntax.Call) -> Any:
        values = []
        for argument in expr.arguments:
            if argument.name is not None:
                message = f"`{expr.callee.id}` takes no named arguments"
                self.report(codes.CONSTANT_TYPE, message, argument.span)
                return UNKNOWN
            values.append(self.constant(argument.value, f"an argument of `{expr.callee.id}`"))
        if UNKNOWN in values:
            return UNKNOWN
        return constants.call(expr.callee.id, values)

    def _init_rule(
        self, name: str, positional: list[Any], named: dict[str, Any], span: Span
    ) -> Initializer | Any:
        if UNKNOWN in positional or UNKNOWN in named.values():
            return UNKNOWN
        try:
            return initializers.make(name, positional, named)
        except WrongValueError as error:
            self.report(codes.INIT_ARGUMENTS, f"`{name}` {error}", span)
            return UNKNOWN

    def _pipeline(self, expr: syntax.Pipeline) -> Any:
        value = self.evaluate(expr.head)
        if not isinstance(value, Tensors):
            value = self.as_tensor(value, expr.head, "the start of a pipeline")
        for stage in expr.stages:
            inputs = list(value.items) if isinstance(value, Tensors) else [value]
            value = self.apply(stage.call, inputs, stage.label, stage.span)
            self.check_comment(stage, value)
        return value


_EVALUATORS: dict[type, Callable[[Any, Any], Any]] = {
    syntax.Name: Evaluator._name,
    syntax.Literal: Evaluator._literal,
    syntax.ListExpr: Evaluator._list,
    syntax.Parens: Evaluator._parens,
    syntax.Group: Evaluator._group,
    syntax.Chain: Evaluator._chain,
    syntax.Power: Evaluator._power,
    syntax.Unary: Evaluator._unary,
    syntax.Compare: Evaluator._compare,
    syntax.Logic: Evaluator._logic,
    syntax.Conditional: Evaluator._conditional,
    syntax.Access: Evaluator._access,
    syntax.Call: Evaluator._call,
    syntax.Pipeline: Evaluator._pipeline,
}
