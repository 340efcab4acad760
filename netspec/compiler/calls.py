"""Calls of layers: arguments to attributes, shapes to shapes, a node in the graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from netspec.compiler import initializers, syntax
from netspec.compiler.assembly import MAX_ELEMENTS, StopBuildingError
from netspec.compiler.attributes import WrongValueError, show
from netspec.compiler.evaluate import Evaluator
from netspec.compiler.graph import Node, Origin, Parameter, Shape, show_shape
from netspec.compiler.initializers import Initializer
from netspec.compiler.op import Op, ParameterSpec, ShapeError
from netspec.compiler.scope import UNKNOWN, Tensor, Tensors
from netspec.compiler.suggestions import branch_hints, fix_edits, removal
from netspec.compiler.symbolic import is_known, names_in
from netspec.diagnostics import Edit, Frame, Hint, Label, Span, plural, quoted, suggest


@dataclass
class Bound:
    """The arguments of a layer's call: attributes, initial values, inputs, and their spans."""

    values: dict[str, Any] = field(default_factory=dict)
    initial: dict[str, Initializer] = field(default_factory=dict)
    inputs: list[Any] = field(default_factory=list)
    spans: dict[str, Span] = field(default_factory=dict)
    ok: bool = True


class LayerCaller(Evaluator):
    """Binds the arguments of a layer and adds its node."""

    init_rules: dict[str, Any]

    def trace(self) -> tuple[Frame, ...]:
        """The chain of blocks and loop turns here."""
        raise NotImplementedError

    # -- arguments

    def bind_arguments(self, op: type[Op], call: syntax.Call, given: int = 0) -> Bound:
        """Convert the arguments of a call, reporting each that is wrong.

        `given` values come from the pipeline; only what the op takes beyond them can be an argument.
        """
        bound = Bound()
        attributes = op.attributes()
        order = list(attributes)
        positional = 0
        for argument in call.arguments:
            if argument.name is not None:
                self._bind_named(op, call, argument, bound)
                continue
            target = order[positional] if positional < len(order) else None
            value = self._argument(op, target, argument.value)
            full = op.arity is not None and given + len(bound.inputs) >= op.arity
            if isinstance(value, (Tensor, Tensors)) and not (full and target):
                bound.inputs += value.items if isinstance(value, Tensors) else [value]
            elif value is UNKNOWN and target is None:
                bound.inputs.append(UNKNOWN)
            elif target is None:
                takes = plural(len(order), "argument") if order else "no arguments"
                message = f"`{op.name}` takes {takes}"
                notes = (signature(op),)
                self.error("call/too-many", message, argument.span, notes=notes)
                bound.ok = False
            else:
                positional += 1
                self._bind_value(op, target, value, argument, bound)
        for name, f in attributes.items():
            if f.default is dataclasses.MISSING and name not in bound.spans:
                message = f"`{op.name}` needs `{name}`, {f.metadata['doc']}"
                self.error("call/missing", message, call.span, notes=(signature(op),))
                bound.ok = False
        return bound

    def _argument(self, op: type[Op], target: str | None, expr: syntax.Expr) -> Any:
        """The value of an argument; a bare word that its attribute knows stands for itself."""
        if target is not None and isinstance(expr, syntax.Name):
            words = op.kind(target).words
            if expr.id in words and expr.id not in self.scope.names():
                return expr.id
            if words and expr.id not in self.scope.names():
                meant = suggest(expr.id, [*words, *self.scope.names()])
                if meant in words:
                    hint = Hint(f"did you mean `{meant}`?", (Edit(expr.span, meant),))
                    message = f"nothing is called `{expr.id}` here"
                    self.error("name/undefined", message, expr.span, hints=(hint,))
                    return UNKNOWN
        return self.evaluate(expr)

    def _bind_named(
        self, op: type[Op], call: syntax.Call, argument: syntax.Argument, bound: Bound
    ) -> None:
        assert argument.name is not None
        name = argument.name.id
        if name in op.attributes():
            value = self._argument(op, name, argument.value)
            self._bind_value(op, name, value, argument, bound)
        elif name in op.parameter_names():
            bound.spans[name] = argument.value.span
            self._bind_initial(name, self.constant(argument.value, f"`{name}`"), argument, bound)
        else:
            self._unknown_attribute(op, call, argument, bound)

    def _unknown_attribute(
        self, op: type[Op], call: syntax.Call, argument: syntax.Argument, bound: Bound
    ) -> None:
        assert argument.name is not None
        name = argument.name.id
        free = [a for a in (*op.attributes(), *op.parameter_names()) if a not in bound.spans]
        meant = suggest(name, free)
        # Words of other frameworks for the same thing.
        meant = meant or next((a for a in (_SYNONYMS.get(name),) if a in free), None)
        hint = Hint("leave it out", (removal(call, argument),))
        if meant is not None:
            hint = Hint(f"did you mean `{meant}`?", (Edit(argument.name.span, meant),))
        self.error(
            "call/unknown-attribute", f"`{op.name}` has no attribute `{name}`",
            argument.name.span, notes=(signature(op),), hints=(hint,),
        )  # fmt: skip
        if meant in op.attributes():
            assert meant is not None
            value = self._argument(op, meant, argument.value)
            self._bind_value(op, meant, value, argument, bound)
        else:
            self.evaluate(argument.value)

    def _bind_value(
        self, op: type[Op], name: str, value: Any, argument: syntax.Argument, bound: Bound
    ) -> None:
        if name in bound.spans:
            earlier = Label(bound.spans[name], "first given here")
            message = f"`{name}` is given twice"
            self.error("call/twice", message, argument.span, secondary=(earlier,))
            bound.ok = False
            return
        bound.spans[name] = argument.value.span
        if value is UNKNOWN:
            bound.ok = False
            return
        if isinstance(value, (Tensor, Tensors)):
            message = f"`{name}` of `{op.name}` must be a constant, not a value of the net"
            label = show_shape(value.shape) if isinstance(value, Tensor) else ""
            self.error("value/not-a-constant", message, argument.value.span, label=label)
            bound.ok = False
            return
        if name in op.parameter_names() and isinstance(value, (Initializer, tuple)):
            # `bias = zeros` asks for a bias and says how it starts.
            self._bind_initial(name, value, argument, bound)
            value = True
        if value is None and op.attributes()[name].default is None:
            bound.values[name] = None
            return
        try:
            bound.values[name] = op.kind(name).convert(value)
        except WrongValueError as error:
            divides = isinstance(value, float) and "/" in argument.value.span.text
            self.error(
                "call/value", f"`{name}` must be {error}", argument.value.span,
                notes=(f"{name}: {op.attributes()[name].metadata['doc']}",),
                hints=(Hint("`//` divides and rounds down to a whole number"),) if divides else (),
            )  # fmt: skip
            bound.ok = False

    def _bind_initial(self, name: str, value: Any, argument: syntax.Argument, bound: Bound) -> None:
        rule = self.init_rule(value, argument.value.span)
        if rule is not None:
            bound.initial[name] = rule

    def init_rule(self, value: Any, span: Span) -> Initializer | None:
        """An init rule or a literal list as an initializer, or None after a reported error."""
        if isinstance(value, Initializer):
            return value
        if value is UNKNOWN:
            return None
        if isinstance(value, tuple):
            try:
                return initializers.literal(value)
            except WrongValueError as error:
                self.error("init/arguments", str(error), span)
                return None
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            self.error(
                "init/rule", "initial values must be an init rule or a list of numbers", span,
                hints=(Hint(f"`constant({value})` fills with one number",
                            (Edit(span, f"constant({value})"),)),),
            )  # fmt: skip
            return None
        message = f"initial values must be an init rule, not {show(value)}"
        notes = ("the rules are " + ", ".join(initializers.RULES),)
        self.error("init/rule", message, span, notes=notes)
        return None

    def check_arity(self, name: str, arity: int | None, inputs: list[Any], span: Span) -> bool:
        """Whether a layer or block got as many values as it takes; reports if not."""
        count = len(inputs)
        if count == arity or (arity is None and count >= 2):
            return True
        wanted = "at least 2 values" if arity is None else plural(arity, "value")
        got = f"{count}" if count else "none"
        hints: tuple[Hint, ...] = ()
        if count == 0 and arity == 1:
            hints = (Hint(f"`x -> {span.text}`"),) if len(span.text) < 60 else ()
        elif count < 2 and arity != 1:
            hints = (Hint(f"`(a, b) -> {name}`"),)
        message = f"`{name}` works on {wanted}, and got {got}"
        self.error("call/inputs", message, span, hints=hints)
        return False

    # -- nodes

    def add_layer(
        self,
        op: Op,
        bound: Bound,
        inputs: Sequence[Tensor],
        call: syntax.Call,
        span: Span,
        path: str,
        suffix: str,
    ) -> Any:
        """Infer the shape, add the node and its parameters; UNKNOWN after a reported error."""
        shapes = tuple(tensor.shape for tensor in inputs)
        try:
            shape = op.shape(*shapes)
            specs = op.parameters(*shapes)
        except ShapeError as error:
            self._shape_error(error, op, bound, inputs, call, span)
            return UNKNOWN
        self._check_size(op, shape, specs, span)
        if not self._parameters_have_sizes(op, specs, span):
            return UNKNOWN
        names = {}
        for spec in specs:
            full = f"{path}.{spec.name}"
            names[spec.name] = full
            self._add_parameter(op, full, spec, bound, span, shared=bool(suffix))
        origin = Origin(span, call, bound.spans, self.trace())
        node = Node(
            path + suffix, op, tuple(tensor.name for tensor in inputs), shape, names, origin
        )
        self.assembly.add_node(node)
        return Tensor(node.name, shape, span)

    def _parameters_have_sizes(self, op: Op, specs: Sequence[ParameterSpec], span: Span) -> bool:
        """Parameters are the same for every picture: a size left open cannot decide theirs."""
        for spec in specs:
            if is_known(spec.shape):
                continue
            names = sorted(names_in(spec.shape))
            one = names[0]
            self.error(
                "shape/open-parameter",
                f"the `{spec.name}` of this `{op.name}` would depend on {' and '.join(names)}",
                span,
                label=f"[{', '.join(map(str, spec.shape))}]",
                hints=(
                    Hint(
                        f"make the size fixed first, by `global_avg_pool` say, or give {one} a number"
                    ),
                ),
            )
            return False
        return True

    def _check_size(self, op: Op, shape: Shape, specs: Sequence[ParameterSpec], span: Span) -> None:
        largest = max([shape, *(spec.shape for spec in specs)], key=_elements)
        if _elements(largest) > MAX_ELEMENTS:
            message = f"`{op.name}` makes an array of {_elements(largest):,} numbers"
            notes = (f"the limit is {MAX_ELEMENTS:,}, or 256 GiB in float32",)
            self.error("limit/size", message, span, notes=notes)
            raise StopBuildingError

    def _add_parameter(
        self, op: Op, full: str, spec: ParameterSpec, bound: Bound, span: Span, *, shared: bool
    ) -> None:
        if shared and full in self.assembly.parameters:
            return
        rule = bound.initial.get(spec.name)
        where = bound.spans.get(spec.name, span)
        if rule is None and spec.role in self.init_rules:
            rule = self.init_rules[spec.role]
        rule = rule or spec.initializer
        if isinstance(rule, initializers.Values) and rule.shape != spec.shape:
            self.error(
                "init/shape",
                f"`{spec.name}` of {op.name} has the shape {list(spec.shape)},"
                f" and this list {list(rule.shape)}",
                where,
            )
            rule = spec.initializer
        parameter = Parameter(full, spec.shape, rule, spec.role, span)
        self.assembly.parameters[full] = parameter

    # -- shape errors

    def _shape_error(
        self,
        error: ShapeError,
        op: Op,
        bound: Bound,
        inputs: Sequence[Tensor],
        call: syntax.Call,
        span: Span,
    ) -> None:
        primary = bound.spans.get(error.blame or "", span)
        if self.assembly.sink.knows(error.code, primary):
            self.error(error.code, error.message, primary)  # counts the repetition
            return
        callee = call.callee
        infix = call.span == callee.span and callee.span.text != callee.id and len(inputs) > 1
        message = error.message
        if infix:
            message = f"{quoted(call.span.text)} needs equal shapes"
        if len(inputs) == 1:
            label = f"gets {show_shape(inputs[0].shape)}"
            secondary: tuple[Label, ...] = ()
            before = inputs[0].span
            if before.line != primary.line and before.source is primary.source:
                secondary = (Label(before, show_shape(inputs[0].shape)),)
        else:
            label = f"{'left' if infix else 'the first'} is {show_shape(inputs[0].shape)}"
            secondary = tuple(
                Label(tensor.span, show_shape(tensor.shape))
                for tensor in inputs[1:]
                if tensor.span != primary
            )
        hints = tuple(Hint(fix.why, fix_edits(fix, bound.spans, call, span)) for fix in error.fixes)
        if error.help:
            hints += (Hint(error.help),)
        if len(inputs) > 1:
            hints += tuple(branch_hints(self.assembly, [tensor.name for tensor in inputs]))
        self.error(
            error.code, message, primary,
            label=label, secondary=secondary, notes=error.notes, hints=hints,
        )  # fmt: skip


# Words of PyTorch, Keras and papers for an attribute of ours.
_SYNONYMS = {
    "padding": "pad", "kernel_size": "kernel", "filters": "channels", "out_channels": "channels",
    "units": "features", "out_features": "features", "strides": "stride", "pool_size": "kernel",
    "use_bias": "bias", "dilation_rate": "dilation", "rate": "p", "epsilon": "eps", "size": "kernel",
    "num_groups": "groups", "kernel_initializer": "weight", "gamma": "weight", "beta": "bias",
}  # fmt: skip


def signature(op: type[Op]) -> str:
    """How a layer is called: `conv(channels, kernel, stride = 1, ...)`."""
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


def _elements(shape: Shape) -> int:
    count = 1
    for extent in shape:
        count *= extent
    return count
