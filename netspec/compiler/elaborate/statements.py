"""The statements of a body, one method each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from netspec import codes
from netspec.compiler.elaborate.arguments import Arguments
from netspec.compiler.elaborate.asserts import Asserts
from netspec.compiler.elaborate.constant_loops import ConstantLoops
from netspec.compiler.elaborate.declarations import Declarations
from netspec.compiler.elaborate.evaluator import Evaluator
from netspec.compiler.elaborate.follower import Follower
from netspec.compiler.elaborate.inputs import Inputs
from netspec.compiler.elaborate.layer_names import LayerNames
from netspec.compiler.elaborate.names import Names, assigned
from netspec.compiler.elaborate.net_builder import Assembly
from netspec.compiler.elaborate.reporter import Reporter
from netspec.compiler.elaborate.states import States
from netspec.compiler.elaborate.values import (
    NUMBER_TYPES,
    UNKNOWN,
    Result,
    SharedLayer,
    Tensor,
    TensorList,
    Tensors,
    Unknown,
    Value,
)
from netspec.compiler.ir import constants
from netspec.compiler.ir.attributes import show
from netspec.compiler.ir.constants import Constant
from netspec.compiler.ir.initializers import Initializer
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Edit, Hint, Span, suggest

if TYPE_CHECKING:
    from netspec.compiler.elaborate.not_built import CheckNotBuilt

ROLES = ("weight", "bias", "scale", "shift")


class ReturnedError(Exception):
    """Raised at a block's `return`, which ends its body."""

    def __init__(self, value: Result) -> None:
        super().__init__()
        self.value = value


class Statements:
    """Runs the statements of a net's or a block's body.

    `rules` are the initial values that its `init` sets.
    """

    def __init__(
        self,
        assembly: Assembly,
        names: Names,
        reporter: Reporter,
        evaluator: Evaluator,
        layer_names: LayerNames,
        arguments: Arguments,
        inputs: Inputs,
        asserts: Asserts,
        declarations: Declarations,
        states: States,
        rules: dict[str, Initializer],
        follower: Follower,
        check_not_built: CheckNotBuilt,
        loops: ConstantLoops,
        *,
        is_block: bool,
    ) -> None:
        self.assembly = assembly
        self.names = names
        self.reporter = reporter
        self.evaluator = evaluator
        self.layer_names = layer_names
        self.arguments = arguments
        self.inputs = inputs
        self.asserts = asserts
        self.declarations = declarations
        self.states = states
        self.rules = rules
        self.follower = follower
        self.check_not_built = check_not_built
        self.is_block = is_block
        self.loops = loops

    def run(self, statements: Sequence[syntax.Statement]) -> None:
        """Run the statements of a body in order.

        Raises:
            ReturnedError: at the `return` of a block.
        """
        for statement in statements:
            self.reporter.count_work(statement.span)
            _STATEMENTS[type(statement)](self, statement)

    def _input(self, s: syntax.Input) -> None:
        if self.is_block:
            message = "a block declares its inputs in its first line, `block Name(...) x { ... }`"
            self.reporter.report(codes.STATEMENT_PLACE, message, s.span)
            return
        self.inputs.add(s)

    def _output(self, s: syntax.Output) -> None:
        if self.is_block:
            message = "a block returns its value with `return`; `output` belongs in a net"
            edit = Edit(Span(s.span.source, s.span.start, s.span.start + len("output")), "return")
            hints = (Hint("write `return`", (edit,)),)
            self.reporter.report(codes.STATEMENT_PLACE, message, s.span, hints=hints)
            self._give_back((s.value,))
        value = self.evaluator.tensor(s.value, "an output")
        name = s.name.id if s.name is not None else "output"
        if name in self.assembly.outputs:
            hint = Hint("name each output: `output logits = ...`")
            message = f"there already is an output `{name}`"
            self.reporter.report(codes.NAME_TWICE, message, s.span, hints=(hint,))
        if isinstance(value, Tensor) and value.holds != "real":
            message = f"an output holds real numbers, and this value {NUMBER_TYPES[value.holds]}"
            self.reporter.report(codes.VALUE_TYPE, message, s.value.span)
        if s.name is not None:
            if isinstance(value, Tensor):
                self.follower.named(name, value)
            self.names.scope.bind(name, value, s.name.span)
        if isinstance(value, Unknown):
            self.assembly.outputs.setdefault(name, "")
        else:
            self.assembly.outputs[name] = value.name

    def _return(self, s: syntax.Return) -> None:
        if not self.is_block:
            message = "a net gives its value with `output`; `return` belongs in a block"
            edit = Edit(Span(s.span.source, s.span.start, s.span.start + len("return")), "output")
            hints = (Hint("write `output`", (edit,)),)
            self.reporter.report(codes.STATEMENT_PLACE, message, s.span, hints=hints)
            for value in s.values:
                self.evaluator.tensor(value, "an output")
            return
        self._give_back(s.values)

    def _give_back(self, exprs: Sequence[syntax.Expr]) -> NoReturn:
        values = [self.evaluator.tensor(expr, "what a block returns") for expr in exprs]
        raise ReturnedError(values[0] if len(values) == 1 else Tensors(tuple(values)))

    def _init(self, s: syntax.Init) -> None:
        for name, expr in s.rules:
            if name.id not in ROLES:
                meant = suggest(name.id, ROLES)
                hints = (
                    (Hint(f"did you mean `{meant}`?", (Edit(name.span, meant),)),) if meant else ()
                )
                self.reporter.report(
                    codes.INIT_ROLE, f"`{name.id}` is not a kind of parameter", name.span, hints=hints,
                    notes=("weight and bias belong to layers, scale and shift to norms",),
                )  # fmt: skip
            value = self.evaluator.constant(expr, "an init rule")
            rule = self.arguments.init_rule(value, expr.span)
            if rule is not None:
                self.rules[name.id] = rule

    def _assert(self, s: syntax.Assert) -> None:
        self.follower.asserting(s)
        self.asserts.check(s)

    def _for(self, s: syntax.For) -> None:
        values = self._loop_values(s)
        if values is None:
            self._run_blind(s)
            return
        if isinstance(values, range) and (values.stop - values.start) * values.step < 0:
            message = f"this loop never runs: {show(values)} is empty"
            self.reporter.report(codes.LOOP_NO_TURN, message, s.iterable.span)
        if not values:
            self.names.skip(s)
        self.follower.looping(s)
        self.loops.run(s, values, lambda some: self.turns(s, some))
        self.follower.looped(s)

    def turns(self, s: syntax.For, values: Iterable[Constant]) -> bool:
        """Take the turns of a loop with these values. Return whether each could be unpacked."""
        turns, at = self.reporter.turns, len(self.reporter.turns)
        for value in values:
            # An iteration counts as work even if its body is empty.
            self.reporter.count_work(s.iterable.span)
            items: tuple[Constant, ...] = (value,)
            if len(s.targets) > 1:
                if not isinstance(value, tuple) or len(value) != len(s.targets):
                    message = f"{show(value)} cannot be unpacked into {len(s.targets)} names"
                    self.reporter.report(
                        codes.LOOP_ITERABLE, message, s.iterable.span, hints=_numbered(s, value)
                    )
                    self._run_blind(s)
                    return False
                items = value
            turn = []
            for target, item in zip(s.targets, self.follower.turn(s, items), strict=True):
                self.names.scope.bind(target.id, item, target.span)
                turn.append((target.id, show(item)))
            turns[at:] = turn
            self.run(s.body)
            self.follower.turned(s)
        del turns[at:]
        return True

    def _loop_values(self, s: syntax.For) -> tuple[Constant, ...] | range | None:
        """Return the values that a loop iterates over, or None after reporting an error."""
        values = self.evaluator.constant(s.iterable, "what a loop runs over")
        if isinstance(values, (tuple, range)):
            return values
        if not isinstance(values, Unknown):
            kind = constants.type_name(values)
            message = f"a loop runs over a list or a range, not {kind}"
            edits = (Edit(s.iterable.span, f"range({s.iterable.span.text})"),)
            hint = Hint(f"`range({s.iterable.span.text})` counts up to it", edits)
            hints = (hint,) if isinstance(values, int) else ()
            self.reporter.report(codes.LOOP_ITERABLE, message, s.iterable.span, hints=hints)
        return None

    def _run_blind(self, s: syntax.For) -> None:
        """Check the body of a loop once if the loop's values are unknown."""
        for target in s.targets:
            self.names.scope.bind(target.id, UNKNOWN, target.span)
        self.run(s.body)

    def _if(self, s: syntax.If) -> None:
        conditions = [condition for condition, _ in s.branches]
        self.follower.deciding()
        case = self.evaluator.choose(conditions)
        self.follower.decided(conditions, case, s.span)
        if case is None:
            for name in assigned((s,)):
                self.names.scope.bind(name.id, UNKNOWN, name.span)
            return
        self.names.skip(s)
        bodies = [*(body for _, body in s.branches), s.otherwise]
        chosen = bodies.pop(case)
        self.check_not_built([statement for body in bodies for statement in body])
        self.run(chosen)
        self.follower.done()

    def _layer(self, s: syntax.Layer) -> None:
        written = self.names.places(s.name.id)
        self.layer_names.are_usable([s.name.id], s.name.span, "the name of a layer", written)
        path = self.layer_names.path(s.name.id)
        self.layer_names.take(path, s.name.span, s.name.id)
        self.names.scope.bind(s.name.id, SharedLayer(path, s.call), s.name.span, must_read=True)

    def _declared(self, s: syntax.Declared) -> None:
        value = self.states.add(s) if s.kind == "state" else self.declarations.add(s)
        if isinstance(value, Tensor):
            self.follower.named(s.name.id, value)
        self.names.scope.bind(s.name.id, value, s.name.span, must_read=True)

    def _assign(self, s: syntax.Assign) -> None:
        value = self.evaluator.evaluate(s.value)
        names = [target.id for target in s.targets]
        if len(s.targets) == 1:
            target = s.targets[0]
            if isinstance(value, TensorList):
                value = self.follower.listed(target.id, s.value, value)
            if not isinstance(value, (Tensor, Tensors)):
                self.assembly.written[target.span] = self.names.place(s.value)
                (value,) = self.follower.assigning(names, s.value, (value,))
            if isinstance(value, Tensor) and self.reporter.turns:
                self.names.scope.count_turn(s)
            self._bind_target(target, value, s.value.span)
            return
        items: Sequence[Value] = (UNKNOWN,) * len(s.targets)
        if isinstance(value, Tensors) and len(value.items) == len(s.targets):
            items = value.items
        elif isinstance(value, tuple) and len(value) == len(s.targets):
            items = self.follower.assigning(names, s.value, value)
        elif not isinstance(value, Unknown):
            several = value.items if isinstance(value, Tensors) else value
            count = f"{len(several)} values" if isinstance(several, tuple) else "one value"
            message = f"{count} cannot be given to {len(s.targets)} names"
            self.reporter.report(codes.VALUE_SEVERAL, message, s.span)
        for target, item in zip(s.targets, items, strict=True):
            self._bind_target(target, item, s.value.span)

    def _bind_target(self, target: syntax.Name, value: Value, span: Span) -> None:
        if isinstance(value, Tensor):
            value = value.at(span)
            self.follower.named(target.id, value)
        self.names.scope.bind(target.id, value, target.span, must_read=True)


_STATEMENTS: dict[type, Callable[[Statements, Any], None]] = {
    syntax.Input: Statements._input,
    syntax.Output: Statements._output,
    syntax.Return: Statements._return,
    syntax.Init: Statements._init,
    syntax.Assert: Statements._assert,
    syntax.For: Statements._for,
    syntax.If: Statements._if,
    syntax.Layer: Statements._layer,
    syntax.Declared: Statements._declared,
    syntax.Assign: Statements._assign,
}


def _numbered(s: syntax.For, value: Constant) -> tuple[Hint, ...]:
    """Return the hint that numbers the items of a list, for `for i, width in widths`."""
    if len(s.targets) != 2 or isinstance(value, tuple):
        return ()
    text = f"enumerate({s.iterable.span.text})"
    return (Hint(f"`{text}` numbers them", (Edit(s.iterable.span, text),)),)
