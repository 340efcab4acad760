"""A body while it is being built, with its collaborators. Each of them is passed what it uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from netspec import codes
from netspec.compiler.elaborate.arguments import Arguments
from netspec.compiler.elaborate.asserts import Asserts
from netspec.compiler.elaborate.blocks import Blocks
from netspec.compiler.elaborate.calls import Calls
from netspec.compiler.elaborate.constant_loops import ConstantLoops
from netspec.compiler.elaborate.declarations import Declarations
from netspec.compiler.elaborate.evaluator import Evaluator
from netspec.compiler.elaborate.expressions import Expressions
from netspec.compiler.elaborate.fix_its import apply_edits
from netspec.compiler.elaborate.follower import NOBODY, Follower
from netspec.compiler.elaborate.inputs import Inputs
from netspec.compiler.elaborate.layer_names import LayerNames
from netspec.compiler.elaborate.layers import Layers
from netspec.compiler.elaborate.names import Names
from netspec.compiler.elaborate.net_builder import Assembly
from netspec.compiler.elaborate.not_built import NotBuilt
from netspec.compiler.elaborate.repeated_blocks import RepeatedBlocks
from netspec.compiler.elaborate.reporter import Reporter
from netspec.compiler.elaborate.scans import Scans
from netspec.compiler.elaborate.scope import Scope
from netspec.compiler.elaborate.shape_comment_checks import ShapeComments
from netspec.compiler.elaborate.split import Splits
from netspec.compiler.elaborate.statements import ReturnedError, Statements
from netspec.compiler.elaborate.states import States
from netspec.compiler.elaborate.values import UNKNOWN, Input, Result, Unknown, Value
from netspec.compiler.ir.constants import Constant
from netspec.compiler.syntax import other_frameworks
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Edit, Frame, Hint, Label, Span, quoted

if TYPE_CHECKING:
    from netspec.compiler.ir.initializers import Initializer
    from netspec.compiler.parse.loader import Module


class Body:
    """The body of a net, or of one call of a block.

    Args:
        assembly: what all bodies of the net share.
        module: the file that contains it.
        prefix: the path of the block whose body this is; empty for a net.
        suffix: the ending of node names in a further call of a shared block.
        counters: how many layers of each kind have a number so far, for the body of an inline
            block, which goes on counting in its caller.
        frames: the enclosing calls.
        rules: the initial values that the enclosing body sets.
        is_block: whether this is the body of a block.
        is_scan: whether it is that of a scan block.
        follower: is notified of what the body does.
        scope: the names that it knows; none if they are not given.
    """

    def __init__(
        self,
        assembly: Assembly,
        module: Module,
        *,
        prefix: str = "",
        suffix: str = "",
        counters: dict[str, int] | None = None,
        frames: tuple[Frame, ...] = (),
        rules: Mapping[str, Initializer] | None = None,
        is_block: bool = False,
        is_scan: bool = False,
        follower: Follower = NOBODY,
        scope: Scope | None = None,
    ) -> None:
        self.assembly = assembly
        self.follower = follower
        self.prefix, self.suffix = prefix, suffix
        self.rules = rules = dict(rules or {})
        self.scope = scope = Scope(assembly.reads) if scope is None else scope
        self.reporter = reporter = Reporter(assembly, frames)
        self.names = names = Names(scope, module, assembly, reporter)
        self.evaluator = evaluator = Evaluator(reporter)
        self.comments = comments = ShapeComments(assembly, names, reporter)
        # A net that is followed was checked before: its comments are right, and its values known.
        is_checked = follower is NOBODY
        check = comments.check if is_checked else _pass_by
        layer_names = LayerNames(assembly, reporter, evaluator, prefix, suffix, counters)
        arguments = Arguments(names, reporter, evaluator)
        layers = Layers(assembly, reporter, names, rules, follower)
        splits = Splits(reporter, layer_names, arguments, layers)
        scans = Scans(assembly, reporter, layer_names, layers)
        self.blocks = blocks = Blocks(
            assembly,
            names,
            reporter,
            evaluator,
            layer_names,
            arguments,
            rules,
            follower,
            scans,
            Body,
        )
        calls = Calls(
            assembly, names, reporter, evaluator, layer_names, arguments, layers, splits, blocks
        )
        not_built = NotBuilt(assembly, names, calls, arguments, blocks)
        expressions = Expressions(
            names, reporter, evaluator, assembly, calls.apply, check if is_checked else None,
            follower, not_built.check,
        )  # fmt: skip
        evaluator.evaluate = follower.follow(names, expressions.evaluate)
        inputs = Inputs(assembly, names, reporter, evaluator, check)
        asserts = Asserts(assembly, names, reporter, evaluator)
        self.declarations = declarations = Declarations(
            assembly, names, reporter, evaluator, layer_names, arguments, layers, check,
            is_block=is_block,
        )  # fmt: skip
        self.states = states = States(
            assembly, names, reporter, evaluator, arguments, check, is_scan=is_scan
        )
        self.statements = Statements(
            assembly, names, reporter, evaluator, layer_names, arguments, inputs, asserts,
            declarations, states, rules, follower, not_built.check,
            ConstantLoops(assembly, names, reporter, follower, self._apart), is_block=is_block,
        )  # fmt: skip

    def bind_parameters(
        self,
        parameters: Sequence[syntax.Parameter],
        given: Mapping[str, Constant | Unknown],
        name: syntax.Name,
        kind: str,
        call: Span | None = None,
    ) -> dict[str, Constant | Unknown]:
        """Bind the arguments of a net or a block in order.

        A default can use the arguments before it.
        """
        report = self.reporter.report
        values: dict[str, Constant | Unknown] = {}
        for parameter in parameters:
            id_ = parameter.name.id
            if id_ in values:
                message = f"`{id_}` is already an argument of {kind} {name.id}"
                report(codes.NAME_TWICE, message, parameter.name.span)
            if id_ in given:
                value = given[id_]
            elif parameter.default is not None:
                value = self.evaluator.constant(parameter.default, f"the default of `{id_}`")
                self.assembly.written[parameter.name.span] = parameter.default.span
            else:
                hints: tuple[Hint, ...] = (Hint(f"give it on the command line: --set {id_}=..."),)
                if kind != "net":
                    hints = () if call is None else tuple(_usual(call, id_))
                report(
                    codes.CALL_MISSING,
                    f"{kind} {name.id} needs `{id_}`",
                    call or parameter.span,
                    secondary=(Label(parameter.span, "has no default"),) if call else (),
                    hints=hints,
                )
                value = UNKNOWN
            values[id_] = value
            self.scope.bind(id_, value, parameter.name.span, must_read=True)
        return values

    def run(self, statements: tuple[syntax.Statement, ...]) -> None:
        """Run the body from its first statement."""
        self.names.statements = statements
        self.statements.run(statements)

    def run_block(self, block: syntax.Block, inputs: Sequence[Input]) -> Result | None:
        """Run the body of a block on its inputs.

        Return what it returns, or None if it does not return.
        """
        for name, value in zip(block.inputs, inputs, strict=True):
            value = self.follower.input(name.id, value)
            self.scope.bind(name.id, value, name.span, must_read=True)
            if name is block.inputs[0]:
                self.declarations.batch_of = value
        outcomes = None if self.suffix else self.follower.block_outcomes()
        try:
            if outcomes is None:
                return self._returned(block)
            repeated = RepeatedBlocks(
                self.assembly, self.scope, self.reporter, self.follower, self.prefix, self.rules
            )
            return repeated.run(block, outcomes, lambda: self._returned(block))
        finally:
            # This reference would close a cycle of objects, of which a file can create thousands.
            del self.evaluator.evaluate

    def _apart(
        self, loop: syntax.For, values: Sequence[Constant], scope: Scope, follower: Follower
    ) -> bool:
        """Take turns of a loop over constants with other names and another follower."""
        reporter, module = self.reporter, self.names.module
        body = Body(
            self.assembly, module, frames=reporter.frames, follower=follower, scope=scope,
            is_block=self.statements.is_block,
        )  # fmt: skip
        return body.statements.turns(loop, values)

    def _returned(self, block: syntax.Block) -> Result | None:
        """Run the statements of a block. Return what it returns, or None."""
        try:
            self.run(block.body)
        except ReturnedError as end:
            return end.value
        return None


def _pass_by(node: object, value: Value) -> None:
    """Do not compare a value with a comment."""


def _usual(call: Span, name: str) -> Iterator[Hint]:
    """Yield the hint to give a block an argument that mostly has the same value."""
    value = other_frameworks.USUAL_ARGUMENTS.get(name)
    if value is None:
        return
    given = f"{name} = {value}"
    end = Span(call.source, call.end, call.end)
    edit = Edit(end, f"({given})")
    if call.text.endswith(")"):
        comma = "" if call.text[:-1].rstrip().endswith(("(", ",")) else ", "
        edit = Edit(Span(call.source, call.end - 1, call.end - 1), f"{comma}{given}")
    yield Hint(f"such as {quoted(apply_edits(call, [edit]))}", (edit,), unsure=True)
