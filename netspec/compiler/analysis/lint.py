"""Warnings: what is legal but suspicious. A comment `# allow: CODE` silences one."""

from __future__ import annotations

from netspec import codes
from netspec.compiler.analysis.label_spelling import misspelt_labels
from netspec.compiler.elaborate.fix_its import fix_edits
from netspec.compiler.elaborate.net_builder import Assembly
from netspec.compiler.elaborate.scope import Turns
from netspec.compiler.ir.graph import Graph, Node
from netspec.compiler.ir.op import Finding
from netspec.compiler.passes.eliminate_dead import live_values
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Diagnostic, Hint, Span


def lint(graph: Graph, assembly: Assembly) -> None:
    """Report the warnings of a well-formed net to the sink of its assembly."""
    for node in graph.nodes:
        for finding in node.op.lint(node, graph):
            assembly.sink.add(_warning(finding, node))
    for warning in misspelt_labels(assembly.labels, {node.op.name for node in graph.nodes}):
        assembly.sink.add(warning)
    unread = assembly.reads.unread()
    for span, name in unread.items():
        message = f"`{name}` is never used"
        assembly.sink.add(Diagnostic(codes.GRAPH_UNUSED, message, span))
    for span, turns in assembly.reads.replaced().items():
        assembly.sink.add(_replaced(span, turns))
    live = live_values(graph)
    alive = {node.origin.span for node in graph.nodes if node.name in live}
    lines = {(id(span.source), span.line) for span in unread}
    for node in graph.nodes:
        span = node.origin.span
        if node.name in live or span in alive or graph.consumers.get(node.name):
            continue
        if (id(span.source), span.line) in lines:
            continue
        message = f"nothing reads what this `{node.op.name}` computes"
        assembly.sink.add(Diagnostic(codes.GRAPH_UNREAD, message, span, trace=node.origin.trace))


def _replaced(span: Span, turns: Turns) -> Diagnostic:
    """Return the warning of values that the next turn of a loop replaces, with their layers."""
    name, value = span.text, turns.assignment.value
    verb = "is" if turns.lost == 1 else "are"
    message = f"{turns.lost} of the {turns.values} values of `{name}` {verb} never read"
    hints: tuple[Hint, ...] = ()
    if turns.start is not None and isinstance(value, syntax.Pipeline):
        start = value.head.span.text
        text = (
            f"each turn starts from `{start}` again; to go on from turn to turn, write"
            f" `{name} = {start}` in front of the loop, and `{name} = {name} -> ...` in it"
        )
        hints = (Hint(text),)
    label = "the next turn replaces it"
    return Diagnostic(codes.GRAPH_REPLACED, message, span, label=label, hints=hints)


def _warning(finding: Finding, node: Node) -> Diagnostic:
    about = finding.node or node
    origin = about.origin
    span = origin.attributes.get(finding.blame or "", origin.span)
    hints = tuple(
        Hint(fix.why, fix_edits(fix, origin.attributes, origin.call, origin.span))
        for fix in finding.fixes
    )
    if finding.help is not None:
        hints = (*hints, Hint(finding.help))
    return Diagnostic(
        finding.code, finding.message, span,
        notes=finding.notes, hints=hints, trace=origin.trace,
    )  # fmt: skip
