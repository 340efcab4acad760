"""The statements of a body, one method each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn, cast

from netspec import codes
from netspec.compiler.elaborate.calls import Caller
from netspec.compiler.elaborate.fix_its import apply_edits
from netspec.compiler.elaborate.net_builder import NET_FACTS
from netspec.compiler.elaborate.scope import UNKNOWN, SharedLayer, Tensor, Tensors
from netspec.compiler.ir import constants
from netspec.compiler.ir.attributes import Int, WrongValueError, show
from netspec.compiler.ir.graph import Shape, show_shape
from netspec.compiler.ir.sizes import Size
from netspec.compiler.syntax import other_frameworks
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Edit, Hint, Label, Span, quoted, suggest

_ROLES = ("weight", "bias", "scale", "shift")


class ReturnedError(Exception):
    """Ends a block's body at its `return`."""


class StatementRunner(Caller):
    """Runs the statements of a net's or a block's body."""

    is_block: bool
    returned: Any

    def run(self, statements: Sequence[syntax.Statement]) -> None:
        """Run the statements of a body in order."""
        for statement in statements:
            self.count_work(statement.span)
            _STATEMENTS[type(statement)](self, statement)

    def _input(self, s: syntax.Input) -> None:
        if self.is_block:
            message = "a block declares its inputs in its first line, `block Name(...) x { ... }`"
            self.report(codes.STATEMENT_PLACE, message, s.span)
            return
        self._bind_open_sizes(s)
        value = self.constant(s.shape, "the shape of an input")
        if value is UNKNOWN:
            self.scope.bind(s.name.id, UNKNOWN, s.name.span)
            return
        shape = self._input_shape(value, s.shape)
        if shape is None:
            self.scope.bind(s.name.id, UNKNOWN, s.name.span)
            return
        taken = self.assembly.take(s.name.id, "", s.name.span)
        if taken is not None:
            earlier = (Label(taken[1], "already here"),)
            message = f"`{s.name.id}` is taken"
            self.report(codes.NAME_TWICE, message, s.name.span, secondary=earlier)
        self.assembly.add_input(s.name.id, shape)
        if isinstance(s.shape, syntax.ListExpr):
            self.assembly.input_shapes[s.name.id] = (s.shape, shape)
        tensor = Tensor(s.name.id, shape, s.span)
        self.scope.bind(s.name.id, tensor, s.name.span, must_read=True)
        self.check_comment(s, tensor)

    def _bind_open_sizes(self, s: syntax.Input) -> None:
        """`input image: [3, H, W]`: capitals that stand for nothing yet are sizes left open."""
        for name in open_sizes(s):
            if name.id not in self.scope.names():
                given = self.assembly.sizes.get(name.id)
                value = Size.named(name.id) if given is None else given
                self.scope.bind(name.id, value, name.span)
        self._bind_small_sizes(s)

    def _bind_small_sizes(self, s: syntax.Input) -> None:
        """`[3, h, w]`: what was most likely meant to be left open is reported, and is."""
        items = s.shape.items if isinstance(s.shape, syntax.ListExpr) else ()
        names = [item for item in items if isinstance(item, syntax.Name)]
        known = self.scope.names()
        small = [
            name
            for name in names
            if name.id not in (*known, *other_frameworks.PYTHON_WORDS)
            and name.id.upper() not in known
            and name.id.upper().isupper()
            and suggest(name.id, known) is None
        ]
        edits = tuple(Edit(name.span, name.id.upper()) for name in small)
        shown = quoted(apply_edits(s.shape.span, edits))
        for name in small:
            if name.id not in self.scope.names():
                message = (
                    f"nothing is called `{name.id}` here; a size left open has a name of capitals"
                )
                hint = Hint(f"write {shown}", edits)
                self.report(codes.NAME_UNDEFINED, message, name.span, hints=(hint,))
                self.scope.bind(name.id, Size.named(name.id.upper()), name.span)

    def _input_shape(self, value: Any, expr: syntax.Expr) -> Shape | None:
        """The shape that an input was given, or None after a reported error."""
        hints = (Hint("the shape of one image, without the batch: [3, 32, 32]"),)
        if not isinstance(value, tuple) or not 1 <= len(value) <= 4:
            message = f"the shape of an input must be a list of 1 to 4 sizes, not {show(value)}"
            self.report(codes.INPUT_SHAPE, message, expr.span, hints=hints)
            return None
        shape = []
        for i, size in enumerate(value):
            if isinstance(size, Size):
                shape.append(cast(int, size))  # it has the arithmetic that shapes need
                continue
            try:
                shape.append(Int(1, 1 << 24).convert(size))
            except WrongValueError as error:
                span = expr.items[i].span if isinstance(expr, syntax.ListExpr) else expr.span
                self.report(codes.INPUT_SHAPE, f"a size must be {error}", span, hints=hints)
        return tuple(shape) if len(shape) == len(value) else None

    def _output(self, s: syntax.Output) -> None:
        if self.is_block:
            message = "a block returns its value with `return`; `output` belongs in a net"
            edit = Edit(Span(s.span.source, s.span.start, s.span.start + len("output")), "return")
            hints = (Hint("write `return`", (edit,)),)
            self.report(codes.STATEMENT_PLACE, message, s.span, hints=hints)
            self._give_back((s.value,))
        value = self.tensor(s.value, "an output")
        name = s.name.id if s.name is not None else "output"
        if name in self.assembly.outputs:
            hint = Hint("name each output: `output logits = ...`")
            message = f"there already is an output `{name}`"
            self.report(codes.NAME_TWICE, message, s.span, hints=(hint,))
        if s.name is not None:
            self.scope.bind(name, value, s.name.span)
        if value is not UNKNOWN:
            self.assembly.outputs[name] = value.name
        else:
            self.assembly.outputs.setdefault(name, "")

    def _return(self, s: syntax.Return) -> None:
        if not self.is_block:
            message = "a net gives its value with `output`; `return` belongs in a block"
            edit = Edit(Span(s.span.source, s.span.start, s.span.start + len("return")), "output")
            hints = (Hint("write `output`", (edit,)),)
            self.report(codes.STATEMENT_PLACE, message, s.span, hints=hints)
            for value in s.values:
                self.tensor(value, "an output")
            return
        self._give_back(s.values)

    def _give_back(self, exprs: Sequence[syntax.Expr]) -> NoReturn:
        values = [self.tensor(expr, "what a block returns") for expr in exprs]
        self.returned = values[0] if len(values) == 1 else Tensors(tuple(values))
        raise ReturnedError

    def _init(self, s: syntax.Init) -> None:
        for name, expr in s.rules:
            if name.id not in _ROLES:
                meant = suggest(name.id, _ROLES)
                hints = (
                    (Hint(f"did you mean `{meant}`?", (Edit(name.span, meant),)),) if meant else ()
                )
                self.report(
                    codes.INIT_ROLE, f"`{name.id}` is not a kind of parameter", name.span, hints=hints,
                    notes=("weight and bias belong to layers, scale and shift to norms",),
                )  # fmt: skip
            rule = self.init_rule(self.constant(expr, "an init rule"), expr.span)
            if rule is not None:
                self.init_rules[name.id] = rule

    def _assert(self, s: syntax.Assert) -> None:
        used = {name.id for name in _names(s.condition)}
        asked = used.intersection(NET_FACTS).difference(self.scope.names())
        if not asked:
            self._check_assert(s)
            return
        scope, turns = self.scope.part(used), list(self.turns)

        def check(facts: Mapping[str, Any]) -> None:
            # The names stand for what they stood for in that turn of the loop.
            self.scope, self.turns = scope, turns
            for fact in asked.intersection(facts):
                scope.bind(fact, facts[fact], s.span)
            self._check_assert(s)

        self.assembly.deferred.append(check)

    def run_deferred(self) -> None:
        """Check the asserts about the whole net."""
        if self.assembly.deferred and not self.assembly.failed:
            facts = self.assembly.totals()
            for check in self.assembly.deferred:
                check(facts)

    def _check_assert(self, s: syntax.Assert) -> None:
        if self.condition(s.condition) is not False:
            return
        part = s.condition
        if isinstance(part, syntax.Logic) and part.operator == "and":
            part = next(item for item in part.items if self.condition(item) is False)
        terms: list[syntax.Expr] = list(_names(part))
        if isinstance(part, syntax.Compare):
            terms += [part.first, *(operand for _, operand in part.rest)]
        facts = {}
        for term in terms:
            # What calls layers cannot be asked again: it would add them again.
            is_plain = not any(
                isinstance(e, (syntax.Call, syntax.Pipeline))
                for e in syntax.parts(term, syntax.NAMING)
            )
            if is_plain and not isinstance(term, (syntax.Literal, syntax.ListExpr)):
                value = self.evaluate(term)
                shown = show_shape(value.shape) if isinstance(value, Tensor) else show(value)
                facts[quoted(term.span.text)[1:-1]] = shown
        message = s.message or f"{quoted(s.condition.span.text)} does not hold"
        notes = tuple(f"{term} = {value}" for term, value in facts.items())
        self.report(codes.ASSERT_FAILED, message, part.span, label="is false", notes=notes)

    def _for(self, s: syntax.For) -> None:
        values = self.constant(s.iterable, "what a loop runs over")
        if values is not UNKNOWN and not isinstance(values, (tuple, range)):
            kind = constants.type_name(values)
            message = f"a loop runs over a list or a range, not {kind}"
            edits = (Edit(s.iterable.span, f"range({s.iterable.span.text})"),)
            hint = Hint(f"`range({s.iterable.span.text})` counts up to it", edits)
            hints = (hint,) if isinstance(values, int) else ()
            self.report(codes.LOOP_ITERABLE, message, s.iterable.span, hints=hints)
            values = UNKNOWN
        if values is UNKNOWN:
            self._run_blind(s)
            return
        if isinstance(values, range) and (values.stop - values.start) * values.step < 0:
            message = f"this loop never runs: {show(values)} is empty"
            self.report(codes.LOOP_NO_TURN, message, s.iterable.span)
        if not values:
            self.skip(s)
        at = len(self.turns)
        for value in values:
            self.count_work(s.iterable.span)  # a turn costs something even if its body is empty
            items = [value]
            if len(s.targets) > 1:
                if not isinstance(value, tuple) or len(value) != len(s.targets):
                    message = f"{show(value)} cannot be unpacked into {len(s.targets)} names"
                    self.report(codes.LOOP_ITERABLE, message, s.iterable.span)
                    self._run_blind(s)
                    return
                items = list(value)
            turn = []
            for target, item in zip(s.targets, items, strict=True):
                self.scope.bind(target.id, item, target.span)
                turn.append((target.id, show(item)))
            self.turns[at:] = turn
            self.run(s.body)
        del self.turns[at:]

    def _run_blind(self, s: syntax.For) -> None:
        """Check a body once although the loop's values are unknown."""
        for target in s.targets:
            self.scope.bind(target.id, UNKNOWN, target.span)
        self.run(s.body)

    def _if(self, s: syntax.If) -> None:
        for condition, body in s.branches:
            holds = self.condition(condition)
            if holds is None:
                for name in assigned(s):
                    self.scope.bind(name.id, UNKNOWN, name.span)
                return
            if holds:
                self.skip(s)
                self.run(body)
                return
        self.skip(s)
        self.run(s.otherwise)

    def _layer(self, s: syntax.Layer) -> None:
        written = [
            p.span
            for p in syntax.parts(self.statements)
            if isinstance(p, syntax.Name) and p.id == s.name.id
        ]
        self._are_usable([s.name.id], s.name.span, "the name of a layer", written)
        path = self._path(s.name.id)
        self._take(path, s.name.span, s.name.id)
        shared = SharedLayer(path, s.call, self)
        self.scope.bind(s.name.id, shared, s.name.span, must_read=True)

    def _assign(self, s: syntax.Assign) -> None:
        self.assigned_call = (s, s.value) if isinstance(s.value, syntax.Call) else None
        value = self.evaluate(s.value)
        if len(s.targets) == 1:
            target = s.targets[0]
            if not isinstance(value, (Tensor, Tensors)):
                self.assembly.written[target.span] = self.place(s.value)
            self._bind_target(target, value, s.value.span)
            return
        items = value.items if isinstance(value, Tensors) else value
        if not isinstance(items, tuple) or len(items) != len(s.targets):
            if value is not UNKNOWN:
                count = f"{len(items)} values" if isinstance(items, tuple) else "one value"
                message = f"{count} cannot be given to {len(s.targets)} names"
                self.report(codes.VALUE_SEVERAL, message, s.span)
            items = (UNKNOWN,) * len(s.targets)
        for target, item in zip(s.targets, items, strict=True):
            self._bind_target(target, item, s.value.span)

    def _bind_target(self, target: syntax.Name, value: Any, span: Span) -> None:
        if isinstance(value, Tensor):
            value = Tensor(value.name, value.shape, span)
        self.scope.bind(target.id, value, target.span, must_read=True)


_STATEMENTS: dict[type, Any] = {
    syntax.Input: StatementRunner._input,
    syntax.Output: StatementRunner._output,
    syntax.Return: StatementRunner._return,
    syntax.Init: StatementRunner._init,
    syntax.Assert: StatementRunner._assert,
    syntax.For: StatementRunner._for,
    syntax.If: StatementRunner._if,
    syntax.Layer: StatementRunner._layer,
    syntax.Assign: StatementRunner._assign,
}


def open_sizes(s: syntax.Input) -> Iterator[syntax.Name]:
    """The names in an input's shape that may be sizes left open: short, and all capitals."""
    for item in s.shape.items if isinstance(s.shape, syntax.ListExpr) else ():
        if isinstance(item, syntax.Name) and item.id.isupper() and len(item.id) <= 12:
            yield item


def _names(expr: syntax.Expr) -> Iterator[syntax.Name]:
    """The names in an expression that stand for values and constants."""
    return (part for part in syntax.parts(expr, syntax.NAMING) if isinstance(part, syntax.Name))


def assigned(statements: Any) -> Iterator[syntax.Name]:
    """The names that statements give, those in branches and loops among them."""
    stack: list[Any] = [statements]
    while stack:
        item = stack.pop()
        if isinstance(item, syntax.Assign):
            yield from item.targets
        elif isinstance(item, syntax.If):
            stack.extend(body for _, body in item.branches)
            stack.append(item.otherwise)
        elif isinstance(item, syntax.For):
            stack.append(item.body)
        elif isinstance(item, tuple):
            stack.extend(reversed(item))
