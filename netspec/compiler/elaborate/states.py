"""`state`: what a scan block hands from each step to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netspec import codes
from netspec.compiler.elaborate.arguments import Arguments
from netspec.compiler.elaborate.evaluator import Evaluator
from netspec.compiler.elaborate.names import Names
from netspec.compiler.elaborate.net_builder import Assembly
from netspec.compiler.elaborate.reporter import Reporter
from netspec.compiler.elaborate.shape_lists import shape_of
from netspec.compiler.elaborate.values import (
    NUMBER_TYPES,
    UNKNOWN,
    Input,
    Tensor,
    Unknown,
    Value,
)
from netspec.compiler.ir.graph import Shape, show_shape
from netspec.compiler.ir.initializers import Constant, Initializer, Ones, Zeros
from netspec.compiler.ir.scan_body import State
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Hint, Label, Span
from netspec.records import record

if TYPE_CHECKING:
    from netspec.compiler.elaborate.expressions import CheckComment

_RULES = "a state begins with `zeros`, `ones` or `constant(number)`, or with an input of the block"


@record(slots=True)
class Declared:
    """A state with its shape and the span of its declaration; no `state` after a reported error."""

    name: str
    shape: Shape
    span: Span
    state: State | None


class States:
    """The states that a body declares, and their next values.

    Args:
        is_scan: whether the body is that of a scan block, which alone has states.
    """

    def __init__(
        self,
        assembly: Assembly,
        names: Names,
        reporter: Reporter,
        evaluator: Evaluator,
        arguments: Arguments,
        check_comment: CheckComment,
        *,
        is_scan: bool,
    ) -> None:
        self.assembly = assembly
        self.names = names
        self.reporter = reporter
        self.evaluator = evaluator
        self.arguments = arguments
        self.check_comment = check_comment
        self.is_scan = is_scan
        self.declared: list[Declared] = []

    def add(self, s: syntax.Declared) -> Input:
        """Add a state, and return its value at the beginning of a step.

        Return UNKNOWN after a reported error.
        """
        if not self.is_scan:
            message = "a `state` belongs to a `scan block`, whose steps hand it on"
            self.reporter.report(codes.STATEMENT_PLACE, message, s.span)
            return UNKNOWN
        value = self.evaluator.constant(s.shape, "the shape of a state")
        hints = (Hint("the shape for one image: [16]"),)
        shape = None
        if not isinstance(value, Unknown):
            shape = shape_of(value, s.shape, self.reporter, what="a state", longest=4, hints=hints)
        start = self._start(s, self.evaluator.evaluate(s.initial), shape)
        name = s.name.id
        if self.names.scope.get(name) is not None:
            message = f"`{name}` is already the name of something else in this block"
            self.reporter.report(codes.NAME_TWICE, message, s.name.span)
            return UNKNOWN
        if shape is None:
            return UNKNOWN
        state = None if start is None else State(name, start)
        self.declared.append(Declared(name, shape, s.span, state))
        self.assembly.add_input(name, shape)
        found = Tensor(name, shape, s.span)
        self.check_comment(s, found)
        return found

    def _start(self, s: syntax.Declared, value: Value, shape: Shape | None) -> float | str | None:
        """Return a number, or the input of the block that a state begins with."""
        span = s.initial.span
        if isinstance(value, Tensor):
            return self._given(s, value, shape)
        if isinstance(value, Unknown):
            return None
        rule = self.arguments.init_rule(value, span)
        if rule is None:
            return None
        number = _number(rule)
        if number is None:
            message = f"a state cannot begin with `{rule}`"
            self.reporter.report(codes.SCAN_STATE, message, span, hints=(Hint(_RULES),))
        return number

    def _given(self, s: syntax.Declared, value: Tensor, shape: Shape | None) -> str | None:
        span = s.initial.span
        inputs = list(self.assembly.inputs)
        others = {d.name for d in self.declared}
        if value.name not in inputs or value.name == inputs[0] or value.name in others:
            what = (
                "another state" if value.name in others
                else "the item of a step" if value.name in inputs else "what is computed in a step"
            )  # fmt: skip
            message = f"a state is there before the first step, and cannot begin with {what}"
            self.reporter.report(codes.SCAN_STATE, message, span, hints=(Hint(_RULES),))
            return None
        if shape is not None and value.shape != shape:
            message = (
                f"the state `{s.name.id}` is {show_shape(shape)}, and would begin with"
                f" {show_shape(value.shape)}"
            )
            self.reporter.report(codes.SCAN_STATE, message, span)
            return None
        if value.holds != "real":
            message = f"a state holds real numbers, and `{value.name}` {NUMBER_TYPES[value.holds]}"
            self.reporter.report(codes.VALUE_TYPE, message, span)
            return None
        return value.name

    def following(self, block: syntax.Block) -> dict[str, Tensor] | None:
        """Return the value of each state at the end of a step; None after a reported error."""
        if not self.declared:
            message = f"scan block {block.name.id} has no state that its steps hand on"
            hints = (Hint("declare one: `state h: [16] = zeros`"),)
            self.reporter.report(codes.SCAN_STATE, message, block.name.span, hints=hints)
            return None
        found: dict[str, Tensor] = {}
        for each in self.declared:
            value = self._next(each)
            if value is not None and each.state is not None:
                found[each.name] = value
        return found if len(found) == len(self.declared) else None

    def _next(self, each: Declared) -> Tensor | None:
        binding = self.names.scope.get(each.name)
        value = UNKNOWN if binding is None else binding.value
        if isinstance(value, Unknown):
            return None
        assert binding is not None
        label = (Label(each.span, f"{show_shape(each.shape)} here"),)
        if not isinstance(value, Tensor):
            message = f"the next value of the state `{each.name}` must be a value of the net"
            self.reporter.report(codes.SCAN_STATE, message, binding.span, secondary=label)
        elif value.name == each.name:
            message = f"no step gives the state `{each.name}` a new value"
            hints = (Hint(f"give it one before the `return`: `{each.name} = ...`"),)
            self.reporter.report(codes.SCAN_STATE, message, each.span, hints=hints)
        elif value.shape != each.shape:
            message = (
                f"the state `{each.name}` is {show_shape(each.shape)}, and its next value"
                f" {show_shape(value.shape)}"
            )
            self.reporter.report(codes.SCAN_STATE, message, value.span, secondary=label)
        elif value.holds != "real":
            message = f"a state holds real numbers, and this value {NUMBER_TYPES[value.holds]}"
            self.reporter.report(codes.VALUE_TYPE, message, value.span)
        else:
            return value
        return None


def _number(rule: Initializer) -> float | None:
    if isinstance(rule, Zeros):
        return 0.0
    if isinstance(rule, Ones):
        return 1.0
    return float(rule.value) if isinstance(rule, Constant) else None
