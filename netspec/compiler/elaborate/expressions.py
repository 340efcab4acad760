"""Expressions of a body: constants are computed, values become nodes through `apply`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from netspec import codes
from netspec.compiler.elaborate.attributes import RECEPTIVE_FIELD, check_name
from netspec.compiler.elaborate.evaluator import Evaluator
from netspec.compiler.elaborate.fix_its import square_brackets
from netspec.compiler.elaborate.follower import NOBODY, Follower
from netspec.compiler.elaborate.names import Names
from netspec.compiler.elaborate.net_builder import Assembly, StopBuildingError
from netspec.compiler.elaborate.values import (
    UNKNOWN,
    Input,
    Result,
    SharedLayer,
    Tensor,
    TensorList,
    Tensors,
    Unknown,
    Value,
    no_length,
    tensor_attributes,
)
from netspec.compiler.ir import constants, initializers
from netspec.compiler.ir.attributes import WrongValueError
from netspec.compiler.ir.constants import Constant, ConstantError
from netspec.compiler.ir.graph import show_shape
from netspec.compiler.ir.initializers import Initializer
from netspec.compiler.ir.sizes import Size
from netspec.compiler.ops import registry
from netspec.compiler.syntax import other_frameworks
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Edit, Hint, Label, Span, quoted, suggest

if TYPE_CHECKING:
    from netspec.compiler.elaborate.not_built import CheckNotBuilt
    from netspec.compiler.elaborate.reporter import Reports

    Apply = Callable[[syntax.Call, Sequence[Input], syntax.Label | None, Span], Result]
    CheckComment = Callable[[object, Value], None]

MAX_DEPTH = 150

_NO_CONSTANTS = (Tensor, Tensors, SharedLayer, Unknown)
_VALUES = (Tensor, Tensors)
_LISTS = (tuple, TensorList)
# What takes no time beyond that of its expression; most values are one of these.
_SMALL = frozenset({Tensor, int, float, bool, type(None)})


class Expressions:
    """Evaluates the expressions of one body.

    Args:
        names: the names that the body knows.
        reporter: receives the errors.
        evaluator: evaluates inner expressions.
        assembly: the state that all bodies of the net share.
        apply: calls a layer or a block on values.
        check_comment: is called with each node that a shape comment can be about, and its value; None
            if none is checked.
        follower: is notified of decisions.
        check_not_built: is called with the cases that were not chosen.
    """

    def __init__(
        self,
        names: Names,
        reporter: Reports,
        evaluator: Evaluator,
        assembly: Assembly,
        apply: Apply,
        check_comment: CheckComment | None,
        follower: Follower = NOBODY,
        check_not_built: CheckNotBuilt | None = None,
    ) -> None:
        self.names = names
        self.reporter = reporter
        self.evaluator = evaluator
        self.assembly = assembly
        self.apply = apply
        self.check_comment = check_comment
        self.follower = follower
        self.check_not_built = check_not_built
        self._joined_name: syntax.Name | None = None

    def evaluate(self, expr: syntax.Expr) -> Value:
        """Return the value of an expression; UNKNOWN after a reported error.

        Raises:
            StopBuildingError: if a limit was reached, which was then reported.
        """
        count_work = self.reporter.count_work
        assembly = self.assembly
        count_work(expr.span)
        assembly.depth += 1
        try:
            if assembly.depth > MAX_DEPTH:
                message = "expressions and blocks are nested too deeply"
                self.reporter.report(codes.LIMIT_NESTING, message, expr.span)
                raise StopBuildingError
            value = _EVALUATORS[type(expr)](self, expr)
            if type(value) not in _SMALL:
                joins = type(expr) is syntax.Chain or expr is self._joined_name
                count_work(expr.span, constants.work_of(value, joins=joins))
            if self.check_comment is not None:
                self.check_comment(expr, value)
            return value
        except ConstantError as error:
            hints = (Hint(error.help),) if error.help else ()
            self.reporter.report(error.code, error.message, expr.span, hints=hints)
            return UNKNOWN
        finally:
            assembly.depth -= 1

    # -- names and simple forms

    def _name(self, expr: syntax.Name) -> Value:
        binding = self.names.scope.get(expr.id)
        if binding is not None:
            return binding.value
        if expr.id in initializers.RULES:
            return self._init_rule(expr.id, [], {}, expr.span)
        return self.names.undefined(expr)

    def _literal(self, expr: syntax.Literal) -> Value:
        return expr.value

    def _parens(self, expr: syntax.Parens) -> Value:
        return self.evaluator.evaluate(expr.inner)

    def _list(self, expr: syntax.ListExpr) -> Value:
        values = [self.evaluator.evaluate(item) for item in expr.items]
        what, pairs = "an item of a list", list(zip(values, expr.items, strict=True))
        if any(isinstance(value, _VALUES) for value in values):
            return TensorList(tuple(self.evaluator.as_tensor(*pair, what) for pair in pairs))
        items = [self.evaluator.as_constant(*pair, what) for pair in pairs]
        known = [item for item in items if not isinstance(item, Unknown)]
        return constants.bounded(tuple(known)) if len(known) == len(items) else UNKNOWN

    def _group(self, expr: syntax.Group) -> Value:
        values = [self.evaluator.evaluate(item) for item in expr.items]
        known = [value for value in values if not isinstance(value, _NO_CONSTANTS)]
        if len(known) < len(values):
            as_tensor = self.evaluator.as_tensor
            pairs = zip(values, expr.items, strict=True)
            return Tensors(tuple(as_tensor(*pair, "a part of a group") for pair in pairs))
        message = "round brackets group values of the net; a list of constants has square ones"
        self.reporter.report(
            codes.VALUE_NOT_A_TENSOR, message, expr.span, hints=(square_brackets(expr.span),)
        )
        return constants.bounded(tuple(known))

    # -- operators

    def _chain(self, expr: syntax.Chain) -> Value:
        left, span = self._operand(expr.first), expr.first.span
        for op, operand in expr.rest:
            right = self._operand(operand)
            whole = span.to(operand.span)
            left = self._binary(op, left, right, whole, (span, operand.span))
            span = whole
        return left

    def _operand(self, expr: syntax.Expr) -> Value:
        """Return the value of an operand; a list that has a name is soon copied from there."""
        if type(expr) is syntax.Name:
            self._joined_name = expr
        return self.evaluator.evaluate(expr)

    def _binary(
        self, op: str, left: Value, right: Value, span: Span, sides: tuple[Span, Span]
    ) -> Value:
        if op == "+" and (isinstance(left, _LISTS) or isinstance(right, _LISTS)):
            joined = self._joined(left, right, span, sides)
            if joined is not None:
                return joined
        left, right = self._side(op, left, sides[0]), self._side(op, right, sides[1])
        if isinstance(left, Unknown) or isinstance(right, Unknown):
            return UNKNOWN
        if isinstance(left, Tensor) or isinstance(right, Tensor):
            return self._arithmetic(op, left, right, span, sides)
        return constants.arithmetic(op, left, right)

    def _joined(
        self, left: Value, right: Value, span: Span, places: tuple[Span, Span]
    ) -> TensorList | None:
        """Return two lists as one, if one of them holds values, and the other does or is empty."""
        sides = (left, right)
        if any(side == () or isinstance(side, TensorList) for side in sides):
            for side, place in zip(sides, places, strict=True):
                if isinstance(side, Tensor):
                    texts = [f"[{p.text}]" if p is place else p.text for p in places]
                    edit = Edit(place, f"[{place.text}]")
                    hint = Hint(f"a list of it is joined: {quoted(' + '.join(texts))}", (edit,))
                    message = f"{quoted(place.text)} is one value, and the other side a list"
                    self.reporter.report(codes.VALUE_OPERATOR, message, span, hints=(hint,))
                    return TensorList((*_items(left), *_items(right)))
        if not any(isinstance(side, TensorList) for side in sides):
            return None
        if any(isinstance(side, tuple) and side for side in sides):
            message = "a list of values and a list of constants do not make one list"
            raise ConstantError(codes.VALUE_OPERATOR, message)
        lists = [TensorList(()) if side == () else side for side in sides]
        known = [side.items for side in lists if isinstance(side, TensorList)]
        if len(known) < 2:
            return None
        count = sum(map(len, known))
        if count > constants.MAX_ITEMS:
            message = f"a list of {count:,} values; the limit is {constants.MAX_ITEMS:,}"
            raise ConstantError(codes.LIMIT_LIST, message)
        self.reporter.count_work(span, count // 32)
        return TensorList((*known[0], *known[1]))

    def _side(self, op: str, value: Value, span: Span) -> Value:
        """Return an operand, which must be one value."""
        if isinstance(value, Tensors):
            return self.evaluator.one_value(value, span, f"a side of `{op}`")
        return value

    def _arithmetic(
        self, op: str, left: Value, right: Value, span: Span, sides: tuple[Span, Span]
    ) -> Value:
        """Apply an operator to values of the net, or to a value and a number, by calling its layer."""
        layer = OPERATORS.get(op)
        pair = (left, right)
        if layer is not None and all(_is_operand(side) for side in pair):
            places = registry()[layer].number_places
            numbers = [
                _computed(places[at], side, sides[at])
                for at, side in enumerate(pair)
                if not isinstance(side, Tensor)
            ]
            return self._layer(layer, [s for s in pair if isinstance(s, Tensor)], numbers, span)
        message = f"`{op}` is not defined for values of the net"
        if layer is not None:
            message = f"{quoted(span.text)} mixes a value of the net with what is no number"
        kinds = [
            show_shape(side.shape) if isinstance(side, Tensor) else _kind(side) for side in pair
        ]
        secondary = tuple(Label(*side) for side in zip(sides, kinds, strict=True))
        *others, last = (f"`{each}`" for each in OPERATORS)
        notes = (f"values have {', '.join(others)} and {last}",)
        self.reporter.report(codes.VALUE_OPERATOR, message, span, secondary=secondary, notes=notes)
        return UNKNOWN

    def _layer(
        self, name: str, inputs: Sequence[Input], arguments: Sequence[syntax.Argument], span: Span
    ) -> Value:
        """Call the layer of an operator."""
        call = syntax.Call(syntax.Name(name, span), tuple(arguments), span)
        return self.apply(call, inputs, None, span)

    def _power(self, expr: syntax.Power) -> Value:
        values = [self.evaluator.evaluate(item) for item in expr.items]
        right, span = values[-1], expr.items[-1].span
        for left, item in zip(values[-2::-1], expr.items[-2::-1], strict=True):
            right = self._raised(left, right, (item.span, span))
            span = item.span.to(span)
        return right

    def _raised(self, left: Value, right: Value, sides: tuple[Span, Span]) -> Value:
        """Return left to the power of right."""
        left, right = self._side("**", left, sides[0]), self._side("**", right, sides[1])
        if isinstance(left, Unknown) or isinstance(right, Unknown):
            return UNKNOWN
        if isinstance(left, _NO_CONSTANTS) or isinstance(right, _NO_CONSTANTS):
            return self._arithmetic("**", left, right, sides[0].to(sides[1]), sides)
        return constants.power(left, right)

    def _unary(self, expr: syntax.Unary) -> Value:
        operand = self.evaluator.evaluate(expr.operand)
        if isinstance(operand, Tensor) and "not" not in expr.operators:
            is_negative = expr.operators.count("-") % 2
            return self._layer("neg", [operand], [], expr.span) if is_negative else operand
        what = f"the operand of `{expr.operators[-1]}`"
        value = self.evaluator.as_constant(operand, expr.operand, what)
        if isinstance(value, Unknown):
            return UNKNOWN
        for op in reversed(expr.operators):
            value = constants.negate(op, value)
        return value

    def _compare(self, expr: syntax.Compare) -> Value:
        operands = (expr.first, *(operand for _, operand in expr.rest))
        help = other_frameworks.COMPARISONS
        values = self.evaluator.constants(operands, "an operand of a comparison", help)
        if values is None:
            return UNKNOWN
        ops = [op for op, _ in expr.rest]
        return all(
            constants.compare(op, a, b)
            for op, a, b in zip(ops, values[:-1], values[1:], strict=True)
        )

    def _logic(self, expr: syntax.Logic) -> Value:
        for item in expr.items:
            value = self.evaluator.condition(item)
            if value is None:
                return UNKNOWN
            if value == (expr.operator == "or"):
                self.names.skip(expr.items)
                return value
        return expr.operator == "and"

    def _conditional(self, expr: syntax.Conditional) -> Value:
        conditions = [condition for _, condition in expr.cases]
        self.follower.deciding()
        case = self.evaluator.choose(conditions)
        self.follower.decided(conditions, case, expr.span)
        if case is None:
            return UNKNOWN
        self.names.skip(expr)
        values = [*(value for value, _ in expr.cases), expr.otherwise]
        chosen = values.pop(case)
        if self.check_not_built is not None:
            self.check_not_built(values)
        value = self.evaluator.evaluate(chosen)
        self.follower.done()
        return value

    # -- attributes and items

    def _access(self, expr: syntax.Access) -> Value:
        value = self.evaluator.evaluate(expr.base)
        for at, trailer in enumerate(expr.trailers):
            if isinstance(value, Unknown):
                self._check_names(expr.base, expr.trailers[at:])
                return UNKNOWN
            if isinstance(trailer, syntax.Attribute):
                value = self._attribute(value, trailer)
            elif isinstance(trailer, syntax.Index):
                value = self._item(value, self.evaluator.constant(trailer.at, "an index"))
            else:
                start, stop = (
                    None if end is None else self.evaluator.constant(end, "an index")
                    for end in (trailer.start, trailer.stop)
                )
                if isinstance(start, Unknown) or isinstance(stop, Unknown):
                    return UNKNOWN
                if isinstance(value, TensorList):
                    kept = constants.cut(range(len(value.items)), start, stop)
                    assert isinstance(kept, (tuple, range))
                    value = TensorList(tuple(value.items[at] for at in kept))  # type: ignore[index]
                    continue
                if isinstance(value, Tensor):
                    raise _no_items(start or 0, stop)
                value = constants.cut(value, start, stop)
        return value

    def _check_names(self, base: syntax.Expr, trailers: Sequence[object]) -> None:
        """Check the attributes of a value of which nothing is known, unless its name is an error."""
        if not isinstance(base, syntax.Name) or base.id in self.names.scope:
            for trailer in trailers:
                if isinstance(trailer, syntax.Attribute):
                    check_name(trailer, self.reporter)

    def _item(self, value: Value, at: Constant | Unknown) -> Value:
        if isinstance(value, Tensor):
            raise _no_items(0, 1)
        if isinstance(at, Unknown):
            return UNKNOWN
        if isinstance(value, Tensors) and isinstance(at, int):
            return value.items[constants.position(at, len(value.items))]
        return constants.index(value, at)

    def _attribute(self, value: Value, trailer: syntax.Attribute) -> Value:
        if not isinstance(value, Tensor):
            kind = "several values" if isinstance(value, Tensors) else constants.type_name(value)
            message = f"{kind} has no `.{trailer.name}`"
            self.reporter.report(codes.VALUE_ATTRIBUTE, message, trailer.span)
            return UNKNOWN
        known = tensor_attributes(value)
        if trailer.name in known:
            return known[trailer.name]
        if trailer.name == RECEPTIVE_FIELD:
            return self.assembly.field(value.name).constant
        names = [*known, RECEPTIVE_FIELD]
        ambiguous = no_length(value) if trailer.name == "length" else None
        meant = suggest(trailer.name, names)
        edits = (Edit(trailer.span, f".{meant}"),)
        hints = (Hint(f"did you mean `.{meant}`?", edits),) if meant else ()
        if ambiguous is not None:
            hints = (Hint(ambiguous),)
        self.reporter.report(
            codes.VALUE_ATTRIBUTE,
            f"a value of shape {show_shape(value.shape)} has no `.{trailer.name}`",
            trailer.span,
            notes=(f"it has {', '.join(names)}",),
            hints=hints,
        )
        return UNKNOWN

    # -- calls and pipelines

    def _call(self, expr: syntax.Call) -> Value:
        name = expr.callee.id
        if self.names.is_function(name):
            return self._function_call(expr)
        if name in initializers.RULES and self.names.scope.get(name) is None:
            return self._called_rule(expr)
        return self.apply(expr, [], None, expr.span)

    def _function_call(self, expr: syntax.Call) -> Value:
        """Call a function of constants, or the layer with its name if an argument is a value of the
        net.
        """
        name = expr.callee.id
        unnamed = [argument for argument in expr.arguments if argument.name is None]
        named = [argument for argument in expr.arguments if argument.name is not None]
        given = [(argument, self.evaluator.evaluate(argument.value)) for argument in unnamed]
        as_constant, what = self.evaluator.as_constant, f"an argument of `{name}`"
        if name == "len" and not named and len(given) == 1 and isinstance(given[0][1], TensorList):
            return len(given[0][1].items)
        if name in registry() and any(isinstance(value, _VALUES) for _, value in given):
            inputs: list[Input] = []
            numbers: list[syntax.Argument] = []
            for argument, value in given:
                if isinstance(value, Tensors):
                    inputs += value.items
                elif isinstance(value, Tensor):
                    inputs.append(value)
                else:
                    number = as_constant(value, argument.value, what)
                    numbers.append(_computed(None, number, argument.value.span))
            call = syntax.Call(expr.callee, (*numbers, *named), expr.span)
            return self.apply(call, inputs, None, expr.span)
        if named:
            message = f"`{name}` takes no named arguments"
            self.reporter.report(codes.CONSTANT_TYPE, message, named[0].span)
            return UNKNOWN
        values = [as_constant(value, argument.value, what) for argument, value in given]
        known = [value for value in values if not isinstance(value, Unknown)]
        return constants.call(name, known) if len(known) == len(values) else UNKNOWN

    def _called_rule(self, expr: syntax.Call) -> Value:
        constant = self.evaluator.constant
        unnamed = [a.value for a in expr.arguments if a.name is None]
        positional = self.evaluator.constants(unnamed, "an argument")
        named: dict[str, Constant] = {}
        is_known = positional is not None
        for argument in expr.arguments:
            if argument.name is None:
                continue
            value = constant(argument.value, "an argument")
            if isinstance(value, Unknown):
                is_known = False
            else:
                named[argument.name.id] = value
        if positional is None or not is_known:
            return UNKNOWN
        return self._init_rule(expr.callee.id, positional, named, expr.span)

    def _init_rule(
        self,
        name: str,
        positional: Sequence[Constant],
        named: Mapping[str, Constant],
        span: Span,
    ) -> Initializer | Unknown:
        try:
            return initializers.make(name, positional, named)
        except WrongValueError as error:
            self.reporter.report(codes.INIT_ARGUMENTS, f"`{name}` {error}", span)
            return UNKNOWN

    def _pipeline(self, expr: syntax.Pipeline) -> Value:
        head = self.evaluator.evaluate(expr.head)
        value: Result = (
            head
            if isinstance(head, Tensors)
            else self.evaluator.as_tensor(head, expr.head, "the start of a pipeline")
        )
        for stage in expr.stages:
            inputs = list(value.items) if isinstance(value, Tensors) else [value]
            value = self.apply(stage.call, inputs, stage.label, stage.span)
            if self.check_comment is not None:
                self.check_comment(stage, value)
        return value


OPERATORS = {"+": "add", "-": "sub", "*": "mul", "/": "div", "**": "pow"}
"""The layers that operators on values of the net call."""


def _is_operand(value: Value) -> bool:
    """Whether an operand is a value of the net, or a number that can be combined with one."""
    is_number = isinstance(value, (int, float, Size)) and not isinstance(value, bool)
    return is_number or isinstance(value, Tensor)


def _kind(value: Value) -> str:
    """Describe an operand that cannot be combined with a value of the net."""
    if isinstance(value, (SharedLayer, Tensors)):
        return "a layer" if isinstance(value, SharedLayer) else "several values"
    return "a constant" if isinstance(value, Unknown) else constants.type_name(value)


def _computed(name: str | None, value: Value, span: Span) -> syntax.Argument:
    """Return an argument whose value is known."""
    named = None if name is None else syntax.Name(name, span)
    return syntax.Argument(named, syntax.Computed(value, span), span)


_EVALUATORS: dict[type, Callable[[Expressions, Any], Value]] = {
    syntax.Name: Expressions._name,
    syntax.Literal: Expressions._literal,
    syntax.Computed: Expressions._literal,
    syntax.ListExpr: Expressions._list,
    syntax.Parens: Expressions._parens,
    syntax.Group: Expressions._group,
    syntax.Chain: Expressions._chain,
    syntax.Power: Expressions._power,
    syntax.Unary: Expressions._unary,
    syntax.Compare: Expressions._compare,
    syntax.Logic: Expressions._logic,
    syntax.Conditional: Expressions._conditional,
    syntax.Access: Expressions._access,
    syntax.Call: Expressions._call,
    syntax.Pipeline: Expressions._pipeline,
}


def _no_items(start: Constant, stop: Constant) -> ConstantError:
    """Return the error for an item or a part of a value."""
    end = "" if stop is None else f", stop = {stop}"
    help = f"`x -> slice(axis = 1, start = {start}{end})` takes a part of an axis"
    return ConstantError(codes.CONSTANT_TYPE, "a value has no items", help)


def _items(value: Value) -> tuple[Tensor | Unknown, ...]:
    """Return the values of a list, or a value as the only one."""
    if isinstance(value, TensorList):
        return value.items
    return (value,) if isinstance(value, Tensor) else ()
