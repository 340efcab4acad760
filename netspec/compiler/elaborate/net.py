"""Syntax to graph: names resolved, blocks called, loops unrolled, conditions decided.

Shapes are inferred as nodes are added, for a file may ask for them (`x.channels`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from netspec import codes
from netspec.compiler.elaborate.fix_its import is_inside
from netspec.compiler.elaborate.input_shapes import (
    channels_first,
    looks_channels_last,
    taken_as_picture,
)
from netspec.compiler.elaborate.net_builder import (
    MAX_ERRORS,
    MAX_REPEATS,
    MAX_WORK,
    Assembly,
    StopBuildingError,
)
from netspec.compiler.elaborate.scope import UNKNOWN, Scope, Tensor
from netspec.compiler.elaborate.shape_comment_checks import CommentChecker
from netspec.compiler.elaborate.statements import ReturnedError, assigned
from netspec.compiler.ir.attributes import show
from netspec.compiler.ir.graph import Graph
from netspec.compiler.parse.loader import Module
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import (
    Code,
    Diagnostic,
    DiagnosticSink,
    Edit,
    Frame,
    Hint,
    Label,
    Span,
    quoted,
)


class Body(CommentChecker):
    """The body of a net, or of one call of a block."""

    def __init__(
        self,
        assembly: Assembly,
        module: Module,
        *,
        prefix: str = "",
        suffix: str = "",
        frames: tuple[Frame, ...] = (),
        init_rules: Mapping[str, Any] | None = None,
        is_block: bool = False,
    ) -> None:
        self.assembly = assembly
        self.module = module
        self.prefix = prefix
        self.suffix = suffix
        self.frames = frames
        self.init_rules = dict(init_rules or {})
        self.is_block = is_block
        self.scope = Scope(assembly.reads)
        self.counters: dict[str, int] = {}
        self.turns: list[tuple[str, object]] = []
        self.returned: Any = None
        self.statements: tuple[syntax.Statement, ...] = ()

    def run_whole(self, statements: tuple[syntax.Statement, ...]) -> None:
        """Run the body from its first statement."""
        self.statements = statements
        self.run(statements)

    # -- reporting

    def trace(self) -> tuple[Frame, ...]:
        """The blocks around, and the loop turns of this body."""
        if not self.turns:
            return self.frames
        return (*self.frames, Frame("", None, tuple(self.turns)))

    def report(self, code: Code, message: str, span: Span, **more: Any) -> None:
        """Report an error or a warning with the chain that led here."""
        assembly = self.assembly
        is_error = code.severity == "error"
        assembly.failed |= is_error
        diagnostic = Diagnostic(code, message, span, trace=self.trace(), **more)
        # Only names are certain there; the rest follows from a guess.
        if not code.startswith("name/") and any(is_inside(span, g) for g in assembly.guessed):
            assembly.sink.leave_unsaid(diagnostic)
            return
        if not assembly.sink.add(diagnostic):
            assembly.repeats += is_error
            if assembly.repeats > MAX_REPEATS:
                raise StopBuildingError
            return
        assembly.errors += is_error
        if assembly.errors == MAX_ERRORS:
            message = f"{MAX_ERRORS} errors: fix these to see any others"
            assembly.sink.add(Diagnostic(codes.LIMIT_ERRORS, message))
            raise StopBuildingError

    def count_work(self, span: Span, units: int = 1) -> None:
        """Bound the whole work of a file, however its loops and blocks multiply."""
        self.assembly.work += units
        if self.assembly.work > MAX_WORK:
            message = f"the loops and blocks of this file expand to over {MAX_WORK:,} steps"
            self.report(codes.LIMIT_WORK, message, span)
            raise StopBuildingError

    # -- arguments of nets and blocks

    def bind_parameters(
        self,
        parameters: Sequence[syntax.Parameter],
        given: Mapping[str, Any],
        name: syntax.Name,
        kind: str,
        call: Span | None = None,
    ) -> dict[str, Any]:
        """Bind the arguments of a net or a block, defaults in order, each seeing those before."""
        values: dict[str, Any] = {}
        for parameter in parameters:
            id_ = parameter.name.id
            if id_ in values:
                message = f"`{id_}` is already an argument of {kind} {name.id}"
                self.report(codes.NAME_TWICE, message, parameter.name.span)
            if id_ in given:
                value = given[id_]
            elif parameter.default is not None:
                value = self.constant(parameter.default, f"the default of `{id_}`")
                self.assembly.written[parameter.name.span] = parameter.default.span
            else:
                more: dict[str, Any] = {
                    "secondary": (Label(parameter.span, "has no default"),) if call else ()
                }
                if kind == "net":
                    more["hints"] = (Hint(f"give it on the command line: --set {id_}=..."),)
                message = f"{kind} {name.id} needs `{id_}`"
                self.report(codes.CALL_MISSING, message, call or parameter.span, **more)
                value = UNKNOWN
            values[id_] = value
            self.scope.bind(id_, value, parameter.name.span, must_read=True)
        return values

    def doubt_inputs(self) -> None:
        """Warn of inputs that look like height, width, channels, and are used as pictures."""
        for name, (expr, shape) in self.assembly.input_shapes.items():
            if looks_channels_last(shape) and taken_as_picture(self.assembly, name):
                message = f"{quoted(expr.span.text)} looks like height, width, channels"
                hints = (channels_first(expr),)
                self.report(codes.INPUT_CHANNELS_LAST, message, expr.span, hints=hints)

    def defined_later(self, name: str) -> Iterator[Span]:
        """Where the body gives a name that it does not know yet."""
        return (target.span for target in assigned(self.statements) if target.id == name)

    # -- blocks

    def make_body(self, *args: Any, **options: Any) -> Body:
        """The body of a block that this one calls."""
        return Body(*args, **options)

    def bind_input(self, name: syntax.Name, value: Any) -> None:
        """Bind an input of a block."""
        self.scope.bind(name.id, value, name.span, must_read=True)

    def call_block(
        self,
        block: syntax.Block,
        module: Module,
        given: dict[str, Any],
        inputs: list[Any],
        spans: tuple[Span, Span],
        path: str,
        suffix: str,
    ) -> Any:
        """Build the body of a block; what it returns, or UNKNOWN."""
        call, whole = spans
        self.assembly.called.add(block.name.span)
        inner = self.make_body(
            self.assembly,
            module,
            prefix=path,
            suffix=suffix + self.suffix,
            frames=self.trace(),
            init_rules=self.init_rules,
            is_block=True,
        )
        values = inner.bind_parameters(block.parameters, given, block.name, "block", call)
        shown = ", ".join(
            f"{name} = {'?' if value is UNKNOWN else show(value)}" for name, value in values.items()
        )
        text = f"block {block.name.id}({shown})"
        inner.frames = (*self.frames, Frame(text, call, tuple(self.turns)))
        for name, value in zip(block.inputs, inputs, strict=True):
            inner.bind_input(name, value)
        self.assembly.calls_deep += 1
        try:
            inner.run_whole(block.body)
        except ReturnedError:
            pass
        finally:
            self.assembly.calls_deep -= 1
        if inner.returned is None:
            hint = _return_hint(block)
            message = f"block {block.name.id} does not return a value"
            self.report(codes.BLOCK_NO_RETURN, message, block.name.span, hints=(hint,))
            return UNKNOWN
        if isinstance(inner.returned, Tensor):
            return Tensor(inner.returned.name, inner.returned.shape, whole)
        return inner.returned


def _return_hint(block: syntax.Block) -> Hint:
    """End a block with a `return` of what it computed last."""
    last = block.body[-1] if block.body else None
    if not isinstance(last, syntax.Assign):
        return Hint("end it with `return x`")
    names = ", ".join(target.id for target in last.targets)
    source, (_, column) = last.span.source, last.span.source.position(last.span.start)
    margin = source.line(last.span.line)[: column - 1]
    line_break = f"\n{margin}" if not margin.strip() else "\n"
    end = Span(source, last.span.end, last.span.end)
    return Hint(f"end it with `return {names}`", (Edit(end, f"{line_break}return {names}"),))


def build(
    net: syntax.Net,
    module: Module,
    arguments: Mapping[str, Any],
    sink: DiagnosticSink,
    work: int = 0,
    body: Callable[[Assembly, Module], Body] = Body,
) -> tuple[Graph | None, Assembly]:
    """Build a net with the given arguments; the graph is None if there was an error.

    `work` is what the nets before it have used of the file's bound; `body` makes the net's body.
    """
    assembly = Assembly(sink, work=work, sizes=arguments)
    errors_before = len(sink.errors)
    whole = body(assembly, module)
    with contextlib.suppress(StopBuildingError):
        try:
            whole.bind_parameters(net.parameters, arguments, net.name, "net")
            # A net that is built again, in another way, was checked the first time.
            defaults = whole.has_defaults(net.parameters, arguments)
            assembly.as_written = defaults and body is Body
            whole.run_whole(net.body)
            if not assembly.inputs and len(sink.errors) == errors_before:
                whole.report(
                    codes.NET_NO_INPUT, f"net {net.name.id} has no input", net.name.span,
                    hints=(Hint("give it one: `input image: [3, 32, 32]`"),),
                )  # fmt: skip
            if not assembly.outputs and len(sink.errors) == errors_before:
                whole.report(
                    codes.NET_NO_OUTPUT, f"net {net.name.id} has no output", net.name.span,
                    hints=(Hint("say what it computes: `output x`"),),
                )  # fmt: skip
            whole.run_deferred()
            whole.doubt_inputs()
        except RecursionError:
            whole.report(
                codes.LIMIT_NESTING, "expressions and blocks are nested too deeply", net.name.span
            )
    if len(sink.errors) > errors_before or assembly.failed:
        return None, assembly
    graph = Graph(
        net.name.id,
        dict(assembly.inputs),
        tuple(assembly.nodes),
        dict(assembly.outputs),
        dict(assembly.parameters),
        net.span,
        net.doc,
    )
    return graph, assembly


def check_block(block: syntax.Block, module: Module, assembly: Assembly) -> None:
    """Check a block that no net calls, with arguments and inputs of which nothing is known."""
    body = Body(assembly, module, is_block=True)
    for name in (*(parameter.name for parameter in block.parameters), *block.inputs):
        body.scope.bind(name.id, UNKNOWN, name.span)
    with contextlib.suppress(StopBuildingError, ReturnedError):
        body.run_whole(block.body)
