"""Calls of blocks: binds their arguments, and builds the body for each call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from netspec import codes
from netspec.compiler.elaborate.arguments import Arguments
from netspec.compiler.elaborate.evaluator import Evaluator
from netspec.compiler.elaborate.follower import NOBODY, Follower
from netspec.compiler.elaborate.layer_names import LayerNames
from netspec.compiler.elaborate.names import Names
from netspec.compiler.elaborate.net_builder import MAX_CALLS_DEEP, Assembly, StopBuildingError
from netspec.compiler.elaborate.reporter import Reporter
from netspec.compiler.elaborate.scans import Scans
from netspec.compiler.elaborate.values import (
    UNKNOWN,
    Input,
    Result,
    SharedLayer,
    Tensor,
    Tensors,
    Unknown,
    Value,
)
from netspec.compiler.ir.attributes import show
from netspec.compiler.ir.constants import Constant
from netspec.compiler.ir.graph import Shape
from netspec.compiler.syntax import other_frameworks
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Edit, Frame, Hint, Span, plural, suggest
from netspec.text.snake_case import snake_case

if TYPE_CHECKING:
    from netspec.compiler.elaborate.body import Body
    from netspec.compiler.ir.initializers import Initializer
    from netspec.compiler.parse.loader import Module


class Blocks:
    """Calls blocks from one body. `rules` are the initial values that the body sets with `init`."""

    def __init__(
        self,
        assembly: Assembly,
        names: Names,
        reporter: Reporter,
        evaluator: Evaluator,
        layer_names: LayerNames,
        arguments: Arguments,
        rules: Mapping[str, Initializer],
        follower: Follower,
        scans: Scans,
        make_body: type[Body],
    ) -> None:
        self.assembly = assembly
        self.names = names
        self.reporter = reporter
        self.evaluator = evaluator
        self.layer_names = layer_names
        self.arguments = arguments
        self.rules = rules
        self.follower = follower
        self.scans = scans
        self.make_body = make_body

    def apply(
        self,
        call: syntax.Call,
        inputs: Sequence[Input],
        label: syntax.Label | None,
        span: Span,
        suffix: str = "",
        path: str | None = None,
    ) -> Result:
        """Call a block by its name. `path` is given for a block that was declared as a layer."""
        block, module = self.names.module.blocks[call.callee.id]
        given, more = self._arguments(block, call, len(inputs))
        values = [*inputs, *more]
        if not self.arguments.check_arity(block.name.id, len(block.inputs), values, span):
            return UNKNOWN
        if self.assembly.calls_deep >= MAX_CALLS_DEEP:
            message = f"blocks call each other more than {MAX_CALLS_DEEP} deep"
            self.reporter.report(codes.LIMIT_NESTING, message, call.span)
            raise StopBuildingError
        if block.inline and label is None and path is None:
            return self.call(block, module, given, values, (call.span, span), None, suffix)
        # Calls without a label are numbered under the block's name.
        path = path or self.layer_names.name(snake_case(block.name.id), label, span)
        if path is None:
            return UNKNOWN
        if block.scan:
            return self._scan(block, module, given, values, call, span, path, suffix)
        return self.call(block, module, given, values, (call.span, span), path, suffix)

    def _scan(
        self,
        block: syntax.Block,
        module: Module,
        given: Mapping[str, Constant | Unknown],
        inputs: Sequence[Input],
        call: syntax.Call,
        span: Span,
        path: str,
        suffix: str,
    ) -> Result:
        """Add the layer of a scan block."""
        steps = self.scans.steps(block, inputs, span)
        if steps is None:
            return UNKNOWN
        # The class of the steps has numbers alone.
        given = dict(zip(given, self.follower.fixing(tuple(given.values())), strict=True))
        steps = [replace(s, shape=cast(Shape, tuple(self.follower.fixing(s.shape)))) for s in steps]
        inside = self.assembly.inside()
        inside.calls_deep += 1
        inner, arguments = self._begin(
            block, module, given, call.span, path, suffix, NOBODY, inside
        )
        values = [value for value in inputs if isinstance(value, Tensor)]
        suffix += self.layer_names.suffix
        found = self.scans.add(block, inner, steps, values, call, span, path, suffix, arguments)
        return self._no_return(block) if found is None else found

    def call(
        self,
        block: syntax.Block,
        module: Module,
        given: Mapping[str, Constant | Unknown],
        inputs: Sequence[Input],
        spans: tuple[Span, Span],
        path: str | None,
        suffix: str,
    ) -> Result:
        """Build the body of a block, and return what it returns, or UNKNOWN.

        `spans` are those of the call and of the whole stage. Without a `path` the layers get the
        names that they would have in this body.
        """
        call, whole = spans
        if path is None:
            follower = self.follower.inlining(block, module, call)
        else:
            follower = self.follower.calling(block, module, path)
        inner, _ = self._begin(block, module, given, call, path, suffix, follower, self.assembly)
        self.assembly.calls_deep += 1
        try:
            returned = inner.run_block(block, inputs)
        finally:
            self.assembly.calls_deep -= 1
        if returned is None:
            return self._no_return(block)
        if isinstance(returned, Tensor):
            returned = returned.at(whole)
        if path is None:
            self.follower.inlined()
            return returned
        return self.follower.called(follower, inputs, returned, whole)

    def _no_return(self, block: syntax.Block) -> Unknown:
        report_no_return(block, self.reporter)
        return UNKNOWN

    def _begin(
        self,
        block: syntax.Block,
        module: Module,
        given: Mapping[str, Constant | Unknown],
        call: Span,
        path: str | None,
        suffix: str,
        follower: Follower,
        assembly: Assembly,
    ) -> tuple[Body, str]:
        """Return the body of a block with its arguments bound, and these as text."""
        reporter = self.reporter
        reporter.count_work(call, 3)  # the parts of a body take as long to make as a layer
        self.assembly.called.add(block.name.span)
        suffix += self.layer_names.suffix
        inner = self.make_body(
            assembly,
            module,
            prefix=self.layer_names.prefix if path is None else path,
            suffix=suffix,
            counters=self.layer_names.counters if path is None else None,
            frames=reporter.trace(),
            rules=self.rules,
            is_block=True,
            is_scan=block.scan,
            follower=follower,
        )
        values = inner.bind_parameters(block.parameters, given, block.name, "block", call)
        for name, value in follower.arguments(values).items():
            inner.scope.replace(name, value)
        shown = ", ".join(
            f"{name} = {'?' if value is UNKNOWN else show(value)}" for name, value in values.items()
        )
        text = f"block {block.name.id}({shown})"
        home = ("", "") if path is None else (block.name.id, path + suffix)
        frame = Frame(text, call, tuple(reporter.turns), *home)
        inner.reporter.frames = (*reporter.frames, frame)
        return inner, shown

    def _arguments(
        self, block: syntax.Block, call: syntax.Call, before: int
    ) -> tuple[dict[str, Constant | Unknown], list[Input]]:
        """Return the constants, by name, and the values, in order, that a call passes to a block.

        `before` is the number of values that come from the pipeline.
        """
        order = [parameter.name.id for parameter in block.parameters]
        evaluated = [self.evaluator.evaluate(argument.value) for argument in call.arguments]
        # What was reported elsewhere is a value where the block has too few without it.
        brought = [_values_in(*each) for each in zip(call.arguments, evaluated, strict=True)]
        missing = len(block.inputs) - before - sum(map(len, brought))
        given: dict[str, Constant | Unknown] = {}
        inputs: list[Input] = []
        positional = 0
        for argument, value, own in zip(call.arguments, evaluated, brought, strict=True):
            if argument.name is None and isinstance(value, (Tensor, Tensors)):
                inputs += own
                continue
            if argument.name is None and isinstance(value, Unknown) and missing > 0:
                missing -= 1
                inputs.append(value)
                continue
            if argument.name is not None:
                name = argument.name.id
            elif positional < len(order):
                name = order[positional]
                positional += 1
            elif isinstance(value, Unknown):
                inputs.append(value)
                continue
            else:
                message = f"block {block.name.id} takes {plural(len(order), 'argument')}"
                self.reporter.report(codes.CALL_TOO_MANY, message, argument.span)
                continue
            constant = self._constant(name, value, argument.value.span)
            if name not in order:
                name = (
                    self.unknown_argument(block, argument, [o for o in order if o not in given])
                    or name
                )
            elif name in given:
                self.reporter.report(codes.CALL_TWICE, f"`{name}` is given twice", argument.span)
            given[name] = constant
            if name in order:
                # An error inside the block about this argument points to where its value was
                # written.
                parameter = block.parameters[order.index(name)]
                self.assembly.written[parameter.name.span] = self.names.place(argument.value)
        return given, inputs

    def _constant(self, name: str, value: Value, span: Span) -> Constant | Unknown:
        """Return the value of an argument, which a value of the net cannot be."""
        if isinstance(value, (Tensor, Tensors, SharedLayer)):
            message = f"`{name}` must be a constant, not a value of the net"
            self.reporter.report(codes.VALUE_NOT_A_CONSTANT, message, span)
            return UNKNOWN
        return value

    def unknown_argument(
        self, block: syntax.Block, argument: syntax.Argument, free: Sequence[str]
    ) -> str | None:
        """Report an argument that a block does not have. Return the one that was probably meant."""
        assert argument.name is not None
        name = argument.name.id
        meant = suggest(name, free) or other_frameworks.attribute_meant(name, free)
        hints = (
            (Hint(f"did you mean `{meant}`?", (Edit(argument.name.span, meant),)),) if meant else ()
        )
        if meant is None and (new := _new_argument(block, argument)) is not None:
            hints = (new,)
        order = [parameter.name.id for parameter in block.parameters]
        self.reporter.report(
            codes.CALL_UNKNOWN_ATTRIBUTE,
            f"block {block.name.id} has no argument `{name}`",
            argument.name.span,
            hints=hints,
            notes=(f"it takes {', '.join(order)}",) if order else ("it takes none",),
        )
        return meant


def _values_in(argument: syntax.Argument, value: Value) -> tuple[Tensor | Unknown, ...]:
    """Return the values of the net that an argument brings."""
    if argument.name is not None or not isinstance(value, (Tensor, Tensors)):
        return ()
    return value.items if isinstance(value, Tensors) else (value,)


def report_no_return(block: syntax.Block, reporter: Reporter) -> None:
    """Report a block that gives no value back."""
    message = f"block {block.name.id} does not return a value"
    hints = (_return_hint(block),)
    reporter.report(codes.BLOCK_NO_RETURN, message, block.name.span, hints=hints)


def _new_argument(block: syntax.Block, argument: syntax.Argument) -> Hint | None:
    """Return the hint to give a block of this file another argument, with the usual value or the one
    of the call as its default, so that other calls stay what they are.
    """
    assert argument.name is not None
    name, value = argument.name, argument.value
    usual = other_frameworks.USUAL_ARGUMENTS.get(name.id)
    if usual is None and isinstance(value, syntax.Literal):
        usual = value.span.text
    source = block.name.span.source
    if usual is None or source is not name.span.source:
        return None
    at = (block.parameters[-1] if block.parameters else block.name).span.end
    written = f"{name.id} = {usual}"
    text = f", {written}" if block.parameters else f"({written})"
    if not block.parameters and source.text[at:].lstrip().startswith("("):
        return None
    said = f"give {block.name.id} the argument `{written}`, and use it in the block"
    return Hint(said, (Edit(Span(source, at, at), text),), unsure=True)


def _return_hint(block: syntax.Block) -> Hint:
    """Return a hint to end a block with a `return` of what it computed last."""
    last = block.body[-1] if block.body else None
    if not isinstance(last, syntax.Assign):
        return Hint("end it with `return x`")
    names = ", ".join(target.id for target in last.targets)
    source, (_, column) = last.span.source, last.span.source.position(last.span.start)
    margin = source.line(last.span.line)[: column - 1]
    line_break = f"\n{margin}" if not margin.strip() else "\n"
    end = Span(source, last.span.end, last.span.end)
    return Hint(f"end it with `return {names}`", (Edit(end, f"{line_break}return {names}"),))
