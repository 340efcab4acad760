"""Binds the arguments of a layer's call: attributes, initial values, and input values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from string import ascii_lowercase
from typing import TypeVar

from netspec import codes
from netspec.compiler.elaborate.evaluator import Evaluator
from netspec.compiler.elaborate.fix_its import apply_edits, removal
from netspec.compiler.elaborate.input_sizes import (
    attribute_order,
    torch_input_size,
    without_input_size,
)
from netspec.compiler.elaborate.names import Names
from netspec.compiler.elaborate.reporter import Reporter
from netspec.compiler.elaborate.values import UNKNOWN, Input, SharedLayer, Tensor, Tensors, Value
from netspec.compiler.ir import initializers
from netspec.compiler.ir.attributes import Bool, IntList, WrongValueError, show
from netspec.compiler.ir.constants import open_help
from netspec.compiler.ir.graph import show_shape
from netspec.compiler.ir.initializers import Initializer
from netspec.compiler.ir.op import Op
from netspec.compiler.ir.sizes import Size
from netspec.compiler.syntax import other_frameworks
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Edit, Hint, Label, Span, plural, quoted, suggest

OpT = TypeVar("OpT", bound=Op)


@dataclass(eq=False, repr=False)
class Bound:
    """The arguments of a layer's call: attributes, initial values, inputs, and their spans."""

    values: dict[str, object] = field(default_factory=dict)
    initial: dict[str, Initializer] = field(default_factory=dict)
    tied: dict[str, str] = field(
        default_factory=dict
    )  # parameters of other layers, by their labels
    inputs: list[Input] = field(default_factory=list)
    spans: dict[str, Span] = field(default_factory=dict)
    positional: dict[syntax.Argument, Value] = field(
        default_factory=dict
    )  # the constants among them
    # The index of each of these among all positional arguments and the values of the pipeline.
    places: dict[syntax.Argument, int] = field(default_factory=dict)
    ok: bool = True

    def make(self, op: type[OpT]) -> OpT:
        """Return the layer with these attributes."""
        build: Callable[..., OpT] = op
        return build(**self.values)


class Arguments:
    """Converts the arguments of calls, and reports each that is wrong."""

    def __init__(self, names: Names, reporter: Reporter, evaluator: Evaluator) -> None:
        self.names = names
        self.reporter = reporter
        self.evaluator = evaluator

    def bind(self, op: type[Op], call: syntax.Call, given: int = 0) -> Bound:
        """Convert the arguments of a call, and report each that is wrong.

        `given` is the number of input values that come from the pipeline. Only inputs beyond these
        can be arguments.
        """
        bound = Bound()
        unclear = self._sort_positional(op, call, given, bound)
        named = {argument.name.id for argument in call.arguments if argument.name is not None}
        if op.number_places and len(bound.positional) > 1 and not (given or bound.inputs):
            self._numbers_alone(op, call, bound)
            return bound
        order = iter(_order(op, bound, named))
        for argument in call.arguments:
            if argument.name is not None:
                self._bind_named(op, call, argument, bound)
            elif argument in bound.positional:
                self._bind_positional(op, call, argument, next(order, None), bound)
        several = given + len(bound.inputs) > 1 and op.name in other_frameworks.OF_SEVERAL_VALUES
        self._require_attributes(op, call, bound, unclear or several)
        return bound

    def _sort_positional(self, op: type[Op], call: syntax.Call, given: int, bound: Bound) -> bool:
        """Separate the input values from the constants among the positional arguments.

        Return whether the result is uncertain: an argument that was reported may have been a value
        or an attribute.
        """
        unclear = False
        own = list(op.attributes())
        constants = bound.positional
        for argument in call.arguments:
            if argument.name is not None:
                continue
            target = own[len(constants)] if len(constants) < len(own) else None
            value = self._argument(op, target, argument.value)
            most = op.arity and op.arity + op.optional
            full = most is not None and given + len(bound.inputs) >= most
            if isinstance(value, (Tensor, Tensors)) and not (full and target):
                bound.inputs += value.items if isinstance(value, Tensors) else [value]
            elif value is UNKNOWN and (not full or target is None):
                bound.inputs.append(UNKNOWN)
                unclear = target is not None and op.arity is not None
            else:
                bound.places[argument] = given + len(bound.inputs) + len(constants)
                constants[argument] = value
        return unclear

    def _numbers_alone(self, op: type[Op], call: syntax.Call, bound: Bound) -> None:
        """Report arithmetic on values that got numbers alone, such as `maximum(1, 2)`."""
        message = f"`{op.name}` works on values of the net, and got numbers alone"
        function = other_frameworks.OF_NUMBERS.get(op.name)
        hints: tuple[Hint, ...] = ()
        if function is not None:
            text = call.span.text.replace(call.callee.span.text, function, 1)
            hints = (Hint(f"of numbers it is {quoted(text)}", (Edit(call.callee.span, function),)),)
        self.reporter.report(codes.CALL_INPUTS, message, call.span, hints=hints)
        bound.inputs.append(UNKNOWN)
        bound.ok = False

    def _bind_positional(
        self,
        op: type[Op],
        call: syntax.Call,
        argument: syntax.Argument,
        target: str | None,
        bound: Bound,
    ) -> None:
        """Bind a positional constant to an attribute.

        `target` is the attribute: empty for the size of the input, None beyond the last attribute.
        """
        if target is None:
            own = op.attributes()
            takes = plural(len(own), "argument") if own else "no arguments"
            message = f"`{op.name}` takes {takes}"
            self.reporter.report(
                codes.CALL_TOO_MANY, message, argument.span, notes=(signature(op),)
            )
            bound.ok = False
        elif target == "":
            self._input_size(op, call, argument)
        else:
            self._bind_value(op, target, bound.positional[argument], call, argument, bound)

    def _require_attributes(
        self, op: type[Op], call: syntax.Call, bound: Bound, unclear: bool
    ) -> None:
        for name, f in op.attributes().items():
            if f.default is dataclasses.MISSING and name not in bound.spans:
                message = f"`{op.name}` needs `{name}`, {f.metadata['doc']}"
                if not unclear:
                    usual = (
                        other_frameworks.USUAL_CALLS.get(op.name) if not call.arguments else None
                    )
                    edits = _rewritten(call, usual) if usual else ()
                    hints: tuple[Hint, ...] = ()
                    if usual:
                        hints = (Hint(f"such as `{usual}`", edits, stands=True),)
                    if name == "kernel" and call.arguments:
                        hints = tuple(_kernels(call))
                    self.reporter.report(
                        codes.CALL_MISSING, message, call.span, notes=(signature(op),), hints=hints
                    )
                bound.ok = False

    def _input_size(self, op: type[Op], call: syntax.Call, argument: syntax.Argument) -> None:
        """Report an argument that states the size of the layer's input."""
        message = f"`{op.name}` infers the size of its input, and takes no argument for it"
        hint = Hint("leave it out", (removal(call, argument),))
        place = argument.name or argument
        self.reporter.report(
            codes.CALL_INFERRED_SIZE, message, place.span, notes=(signature(op),), hints=(hint,)
        )

    def _argument(self, op: type[Op], target: str | None, expr: syntax.Expr) -> Value:
        """Return the value of an argument.

        A bare word that its attribute accepts stands for itself.
        """
        if target is not None and isinstance(expr, syntax.Name):
            words = op.kind(target).words
            if expr.id in words and expr.id not in self.names.scope:
                return expr.id
            if words and expr.id not in self.names.scope:
                meant = suggest(expr.id, [*words, *self.names.scope.names()])
                hints: tuple[Hint, ...] = ()
                foreign = meant is None and expr.id not in other_frameworks.PYTHON_WORDS
                message = f"nothing is called `{expr.id}` here"
                if meant in words:
                    hints = (Hint(f"did you mean `{meant}`?", (Edit(expr.span, meant),)),)
                elif foreign:
                    message = f"`{target}` must be {op.kind(target).describe()}; {message}"
                    if target == "pad" and expr.id.lower() == "valid":
                        hints = (Hint("no padding is written `0`", (Edit(expr.span, "0"),)),)
                if meant in words or foreign:
                    self.reporter.report(codes.NAME_UNDEFINED, message, expr.span, hints=hints)
                    return UNKNOWN
            if expr.id == "None" and isinstance(op.kind(target), Bool):
                hint = Hint("write `false`", (Edit(expr.span, "false"),))
                message = f"`{target}` must be true or false, not `None`"
                self.reporter.report(codes.NAME_UNDEFINED, message, expr.span, hints=(hint,))
                return UNKNOWN
        return self.evaluator.evaluate(expr)

    def _bind_named(
        self, op: type[Op], call: syntax.Call, argument: syntax.Argument, bound: Bound
    ) -> None:
        assert argument.name is not None
        name = argument.name.id
        if name in op.attributes():
            value = self._argument(op, name, argument.value)
            self._bind_value(op, name, value, call, argument, bound)
        elif name in op.parameter_names:
            bound.spans[name] = argument.value.span
            if (other := self._parameter(argument.value)) is not None:
                bound.tied[name] = other
                return
            self._bind_initial(
                name, self.evaluator.constant(argument.value, f"`{name}`"), argument, bound
            )
        else:
            self._unknown_attribute(op, call, argument, bound)

    def _unknown_attribute(
        self, op: type[Op], call: syntax.Call, argument: syntax.Argument, bound: Bound
    ) -> None:
        meant = self.unknown_attribute(op, call, argument, bound.spans)
        if meant in op.attributes():
            assert meant is not None
            value = self._argument(op, meant, argument.value)
            self._bind_value(op, meant, value, call, argument, bound)
        elif self._activation(argument) is None:
            self.evaluator.evaluate(argument.value)

    def unknown_attribute(
        self, op: type[Op], call: syntax.Call, argument: syntax.Argument, taken: Mapping[str, Span]
    ) -> str | None:
        """Report an argument that a layer does not have. Return the one that was probably meant, which
        is none of those that are `taken`, where they are given.
        """
        assert argument.name is not None
        name = argument.name.id
        if "" in op.torch_order and name in other_frameworks.INPUT_SIZES:
            self._input_size(op, call, argument)
            return None
        if (activation := self._activation(argument)) is not None:
            self._report_activation(op, call, argument, activation)
            return None
        free = [a for a in (*op.attributes(), *op.parameter_names) if a not in taken]
        meant = other_frameworks.attribute_meant(name, free)
        filled = other_frameworks.attribute_meant(name, taken) if meant is None else None
        if meant is None and filled is None:
            meant = suggest(name, free)
            filled = suggest(name, taken) if meant is None else None
        if filled is not None:
            self._report_filled(op, call, argument, filled, taken[filled])
            return None
        hints: tuple[Hint, ...] = (Hint("leave it out", (removal(call, argument),), unsure=True),)
        if meant is not None:
            hints = (Hint(f"did you mean `{meant}`?", (Edit(argument.name.span, meant),)),)
        elif name == "padding_mode":
            hints = (_padding_mode(call, argument),)
        self.reporter.report(
            codes.CALL_UNKNOWN_ATTRIBUTE, f"`{op.name}` has no attribute `{name}`",
            argument.name.span, notes=(signature(op),), hints=hints,
        )  # fmt: skip
        return meant

    def _report_filled(
        self, op: type[Op], call: syntax.Call, argument: syntax.Argument, filled: str, given: Span
    ) -> None:
        """Report another name of an attribute that is given already, as in
        `conv(3, 16, kernel_size = 3)`.
        """
        assert argument.name is not None
        message = f"`{op.name}` has no attribute `{argument.name.id}`, and {quoted(given.text)}"
        self.reporter.report(
            codes.CALL_UNKNOWN_ATTRIBUTE, f"{message} already fills `{filled}`",
            argument.name.span, secondary=(Label(given, f"fills `{filled}`"),),
            notes=(signature(op),), hints=tuple(_one_of_two(op, call, argument, given)),
        )  # fmt: skip

    def _activation(self, argument: syntax.Argument) -> str | None:
        """Return the layer that `activation = relu` names; None if the argument is another one."""
        if argument.name is None or argument.name.id not in other_frameworks.ACTIVATIONS:
            return None
        return other_frameworks.activation_meant(argument.value, self.names.callables())

    def _report_activation(
        self, op: type[Op], call: syntax.Call, argument: syntax.Argument, meant: str
    ) -> None:
        """Report `activation = relu`, which names a layer."""
        assert argument.name is not None
        end = Span(call.span.source, call.span.end, call.span.end)
        edits = (removal(call, argument), Edit(end, f" -> {meant}"))
        message = f"`{op.name}` has no attribute `{argument.name.id}`: an activation is a layer"
        hint = Hint(f"write it behind this one: `-> {meant}`", edits)
        if meant in other_frameworks.IN_THE_LOSS and self._is_last(call):
            text = f"leave it out: an output gives scores, and the loss of `train` has the {meant}"
            hint = Hint(text, edits[:1])
        self.reporter.report(
            codes.CALL_UNKNOWN_ATTRIBUTE,
            message,
            argument.span,
            notes=(signature(op),),
            hints=(hint,),
        )

    def _is_last(self, call: syntax.Call) -> bool:
        """Whether a call is the last stage of an output, or of the name that an output gives."""
        outputs = [s.value for s in self.names.statements if isinstance(s, syntax.Output)]
        assigned = {
            s.targets[0].id: s.value
            for s in self.names.statements
            if isinstance(s, syntax.Assign) and len(s.targets) == 1
        }
        named = [assigned.get(each.id) for each in outputs if isinstance(each, syntax.Name)]
        return any(
            each.span.end == call.span.end and each.span.source is call.span.source
            for each in (*outputs, *named)
            if each is not None
        )

    def _bind_value(
        self,
        op: type[Op],
        name: str,
        value: Value,
        call: syntax.Call,
        argument: syntax.Argument,
        bound: Bound,
    ) -> None:
        if name in bound.spans:
            self.reporter.report(
                codes.CALL_TWICE,
                f"`{name}` is given twice",
                argument.span,
                secondary=(Label(bound.spans[name], "first given here"),),
                hints=tuple(_one_of_two(op, call, argument, bound.spans[name])),
            )
            bound.ok = False
            return
        bound.spans[name] = argument.value.span
        if value is UNKNOWN:
            bound.ok = False
            return
        if isinstance(value, (Tensor, Tensors)):
            message = f"`{name}` of `{op.name}` must be a constant, not a value of the net"
            label = show_shape(value.shape) if isinstance(value, Tensor) else ""
            self.reporter.report(
                codes.VALUE_NOT_A_CONSTANT, message, argument.value.span, label=label
            )
            bound.ok = False
            return
        if name in op.parameter_names and isinstance(value, (Initializer, tuple)):
            # `bias = zeros` asks for a bias, and also sets its initial values.
            self._bind_initial(name, value, argument, bound)
            value = True
        if value is None and op.attributes()[name].default is None:
            bound.values[name] = None
            return
        try:
            bound.values[name] = op.kind(name).convert(value)
        except WrongValueError as error:
            hints = _meant(op, name, value, argument.value)
            place = self.names.place(argument.value)
            used = (Label(argument.value.span, f"`{name}` of this `{op.name}`"),)
            self.reporter.report(
                codes.CALL_VALUE, f"`{name}` must be {error}", place,
                secondary=used if place != argument.value.span else (),
                notes=(f"{name}: {op.attributes()[name].metadata['doc']}",),
                hints=hints,
            )  # fmt: skip
            bound.ok = False

    def _parameter(self, expr: syntax.Expr) -> str | None:
        """Return the parameter that `wte.weight` means, by its label; None for another expression.

        A shared layer and a label are such names, and what has a value is none.
        """
        match expr:
            case syntax.Access(syntax.Name() as base, trailers):
                parts = [each.name for each in trailers if isinstance(each, syntax.Attribute)]
                if len(parts) < len(trailers):
                    return None
                binding = self.names.scope.get(base.id)
                if binding is not None and not isinstance(binding.value, SharedLayer):
                    return None
                return ".".join((base.id, *parts))
        return None

    def _bind_initial(
        self, name: str, value: Value, argument: syntax.Argument, bound: Bound
    ) -> None:
        rule = self.init_rule(value, argument.value.span)
        if rule is not None:
            bound.initial[name] = rule

    def init_rule(self, value: Value, span: Span) -> Initializer | None:
        """Convert a value to an initializer, if it is an init rule or a literal list.

        Return None after reporting an error.
        """
        if isinstance(value, Initializer):
            return value
        if value is UNKNOWN:
            return None
        if isinstance(value, (tuple, range)):
            try:
                return initializers.literal(tuple(value))
            except WrongValueError as error:
                self.reporter.report(codes.INIT_ARGUMENTS, str(error), span)
                return None
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            self.reporter.report(
                codes.INIT_RULE, "initial values must be an init rule or a list of numbers", span,
                hints=(Hint(f"`constant({value})` fills with one number",
                            (Edit(span, f"constant({value})"),)),),
            )  # fmt: skip
            return None
        message = f"initial values must be an init rule, not {show(value)}"
        notes = ("the rules are " + ", ".join(initializers.RULES),)
        self.reporter.report(codes.INIT_RULE, message, span, notes=notes)
        return None

    def check_inputs(
        self,
        op: type[Op],
        bound: Bound,
        inputs: Sequence[Input],
        span: Span,
        callee: Span | None = None,
    ) -> bool:
        """Whether a layer got as many values as it takes, apart from those that numbers replace.

        If not, report it.
        """
        places = op.number_places
        numbers = sum(name in bound.values for name in dict.fromkeys(places)) if places else 0
        if numbers and op.arity is None and inputs:
            return True
        arity = op.arity - numbers if op.arity is not None and numbers < op.arity else op.arity
        return self.check_arity(op.name, arity, inputs, span, callee, optional=op.optional)

    def check_arity(
        self,
        name: str,
        arity: int | None,
        inputs: Sequence[Input],
        span: Span,
        callee: Span | None = None,
        *,
        optional: int = 0,
    ) -> bool:
        """Whether a layer or block got as many values as it takes. If not, report it.

        `callee` is where the call writes its name, and `optional` how many values more it can take.
        """
        count = len(inputs)
        if count >= 2 if arity is None else arity <= count <= arity + optional:
            return True
        wanted = "at least 2 values" if arity is None else plural(arity, "value")
        if arity is not None and optional:
            wanted = f"{arity} {'or' if optional == 1 else 'to'} {arity + optional} values"
        got = f"{count}" if count else "none"
        hints: tuple[Hint, ...] = ()
        if count == 0 and arity == 1:
            hints = tuple(_declared(self.names.statements, span))
            hints += (Hint(f"`x -> {span.text}`"),) if len(span.text) < 60 else ()
        elif count > 1 and name in other_frameworks.OF_SEVERAL_VALUES:
            several = other_frameworks.OF_SEVERAL_VALUES[name]
            edits = (Edit(callee, several.partition("(")[0]),) if callee is not None else ()
            hints = (Hint(f"of several values it is `{several}`", edits),)
        elif count < 2 and arity != 1 and (arity or 2) <= len(ascii_lowercase):
            values = ", ".join(ascii_lowercase[: arity or 2])
            hints = (Hint(f"`({values}) -> {name}`"),)
        message = f"`{name}` works on {wanted}, and got {got}"
        self.reporter.report(codes.CALL_INPUTS, message, span, hints=hints)
        return False


def _one_of_two(
    op: type[Op], call: syntax.Call, argument: syntax.Argument, given: Span
) -> Iterator[Hint]:
    """Yield hints for an attribute that two arguments give, the first at `given`.

    Leaving out the second is offered only if it says the same: else it changes the net unseen.
    """
    if argument.value.span.text == given.text:
        yield Hint("leave it out", (removal(call, argument),))
        return
    yield Hint("leave out one of the two")
    if (size := torch_input_size(call, op)) is not None:
        edits = without_input_size(call, op)
        better, said = quoted(apply_edits(call.span, edits)), quoted(size.span.text)[1:-1]
        text = f"if {said} is the size of the input, leave it out: {better}"
        yield Hint(text, edits, unsure=True)


def _order(op: type[Op], bound: Bound, named: Set[str]) -> Sequence[str | None]:
    """Return the attributes to which positional constants belong, in order.

    A number in place of a value belongs to the attribute for its index among the values.
    """
    places = op.number_places
    if not places:
        return attribute_order(op, tuple(bound.positional.values()), named)
    taken = [places[min(place, len(places) - 1)] or None for place in bound.places.values()]
    return [*taken, *(name for name in op.attributes() if name not in places)]


def _declared(statements: Sequence[syntax.Statement], span: Span) -> Iterator[Hint]:
    """Yield a hint for `conv1 = conv(6, 5)`: a layer that gets its values later must be declared."""
    for part in syntax.nested(statements):
        if not isinstance(part, syntax.Assign) or not isinstance(part.value, syntax.Call):
            continue
        if part.value.span == span:
            start = Span(span.source, part.span.start, part.span.start)
            better = quoted(f"layer {part.span.text}")
            words = f"a layer that is called by a name later is declared: {better}"
            yield Hint(words, (Edit(start, "layer "),))


def _wildcard(op: type[Op], name: str, expr: syntax.Expr, value: Value) -> Iterator[Hint]:
    """Yield a hint to write -1 for the one open size in a list, if the attribute accepts -1."""
    kind = op.kind(name)
    if not isinstance(kind, IntList) or not kind.wildcard:
        return
    if isinstance(expr, syntax.ListExpr) and isinstance(value, tuple):
        pairs = zip(expr.items, value, strict=True)
        edits = tuple(Edit(e.span, "-1") for e, size in pairs if isinstance(size, Size))
        yield Hint("-1 stands for what is left", edits)


def signature(op: type[Op]) -> str:
    """Return the signature of a layer, such as `conv(channels, kernel, stride = 1, ...)`."""
    parts = []
    for name, f in op.attributes().items():
        if f.default is dataclasses.MISSING:
            parts.append(name)
        else:
            default = f.default
            if isinstance(default, tuple) and len(set(default)) == 1:
                default = default[0]
            parts.append(f"{name} = {show(default)}")
    return f"{op.name}({', '.join(parts)})"


def _padding_mode(call: syntax.Call, argument: syntax.Argument) -> Hint:
    """Return the hint for `padding_mode`: zeros are left out, all else is a layer in front."""
    mode = argument.value.span.text.strip("'\"")
    if mode in ("zeros", "zero"):
        return Hint("zeros are what `pad` fills in: leave it out", (removal(call, argument),))
    if mode in ("reflect", "replicate", "circular"):
        return Hint(f'a layer in front does it: `pad(1, mode = "{mode}") -> {call.callee.id}(...)`')
    return Hint('a layer in front does it: `pad(1, mode = "reflect")`')


def _rewritten(call: syntax.Call, usual: str) -> tuple[Edit, ...]:
    """Return the edit that writes a pool's usual call; how wide a layer is nobody can guess."""
    return (Edit(call.span, usual),) if call.callee.id.endswith("_pool") else ()


def _kernels(call: syntax.Call) -> Iterator[Hint]:
    """Yield hints for the two kernels that are met most, one of which who writes has to choose."""
    last = call.arguments[-1].span
    end = Span(last.source, last.end, last.end)
    for kernel in (3, 1):
        word = "kernel = " if any(each.name is not None for each in call.arguments) else ""
        edits = (Edit(end, f", {word}{kernel}"),)
        yield Hint(f"such as {quoted(apply_edits(call.span, edits))}", edits)


def _meant(op: type[Op], name: str, value: Value, expr: syntax.Expr) -> tuple[Hint, ...]:
    """Return the hint on what is probably meant by a value that an attribute cannot have."""
    if isinstance(value, float) and "/" in expr.span.text:
        return (Hint("`//` divides and rounds down to a whole number"),)
    if name == "pad" and isinstance(value, str) and value.lower() == "valid":
        return (Hint("no padding is written `0`", (Edit(expr.span, "0"),)),)
    if value == 0 and name == "axes" and op.name in other_frameworks.OF_NUMBERS.values():
        several = other_frameworks.OF_SEVERAL_VALUES[op.name]
        return (Hint(f"of a value and a number it is `{several}`"),)
    if (help := open_help(value)) is not None:
        return (*_wildcard(op, name, expr, value), Hint(help))
    return ()
