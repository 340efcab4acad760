"""Builds a graph from a net's syntax: resolves names, calls blocks, unrolls loops, decides
conditions.

Shapes are inferred as nodes are added, because a file can use them (`x.channels`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from netspec import codes
from netspec.compiler.elaborate.asserts import check_deferred
from netspec.compiler.elaborate.blocks import report_no_return
from netspec.compiler.elaborate.body import Body
from netspec.compiler.elaborate.follower import NOBODY, Follower
from netspec.compiler.elaborate.input_shapes import doubt_inputs
from netspec.compiler.elaborate.net_builder import Assembly, StopBuildingError
from netspec.compiler.elaborate.sketch import Sketch
from netspec.compiler.elaborate.statements import ReturnedError
from netspec.compiler.elaborate.values import UNKNOWN
from netspec.compiler.ir.constants import Constant
from netspec.compiler.ir.graph import Graph
from netspec.compiler.parse.loader import Module
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import DiagnosticSink, Hint


def build(
    net: syntax.Net,
    module: Module,
    arguments: Mapping[str, Constant],
    sink: DiagnosticSink,
    work: int = 0,
    follower: Follower = NOBODY,
) -> tuple[Graph | None, Assembly]:
    """Build a net with the given arguments. The graph is None if there was an error.

    `work` is how much of the file's limit the nets before it have used. `follower` is notified of
    each step.
    """
    assembly = Assembly(sink, work=work, sizes=arguments)
    errors_before = len(sink.errors)
    whole = Body(assembly, module, follower=follower)
    report = whole.reporter.report
    with contextlib.suppress(StopBuildingError):
        try:
            whole.bind_parameters(net.parameters, arguments, net.name, "net")
            # A net that is built with a follower was checked before, so its comments are not
            # checked again.
            assembly.as_written = follower is NOBODY and whole.comments.has_defaults(
                net.parameters, arguments
            )
            whole.run(net.body)
            if not assembly.inputs and len(sink.errors) == errors_before:
                report(
                    codes.NET_NO_INPUT, f"net {net.name.id} has no input", net.name.span,
                    hints=(Hint("give it one: `input image: [3, 32, 32]`"),),
                )  # fmt: skip
            if not assembly.outputs and len(sink.errors) == errors_before:
                report(
                    codes.NET_NO_OUTPUT, f"net {net.name.id} has no output", net.name.span,
                    hints=(Hint("say what it computes: `output x`"),),
                )  # fmt: skip
            check_deferred(assembly)
            doubt_inputs(assembly, whole.reporter)
        except RecursionError:
            report(
                codes.LIMIT_NESTING, "expressions and blocks are nested too deeply", net.name.span
            )
    if len(sink.errors) > errors_before or assembly.failed:
        return None, assembly
    return _graph(net, assembly), assembly


def sketch(net: syntax.Net, assembly: Assembly, *, is_whole: bool) -> Sketch:
    """Return what is known of a net that was built; `is_whole` says whether it has no error."""
    given = {node: tuple(types) for node, types in assembly.given.items()}
    constants = {
        span: tuple(value for _, value in known) for span, known in assembly.reads.constants.items()
    }
    return Sketch(_graph(net, assembly), tuple(assembly.misfits), is_whole, given, constants)


def _graph(net: syntax.Net, assembly: Assembly) -> Graph:
    return Graph(
        net.name.id,
        dict(assembly.inputs),
        tuple(assembly.nodes),
        dict(assembly.outputs),
        dict(assembly.parameters),
        net.span,
        net.doc,
        dict(assembly.input_types),
    )


def check_block(block: syntax.Block, module: Module, assembly: Assembly) -> None:
    """Check a block that no net calls, with arguments and inputs about which nothing is known."""
    body = Body(assembly, module, is_block=True, is_scan=block.scan)
    for name in (*(parameter.name for parameter in block.parameters), *block.inputs):
        body.scope.bind(name.id, UNKNOWN, name.span)
    with contextlib.suppress(StopBuildingError, ReturnedError):
        body.run(block.body)
        if not any(isinstance(part, syntax.Return) for part in syntax.nested(block.body)):
            report_no_return(block, body.reporter)
