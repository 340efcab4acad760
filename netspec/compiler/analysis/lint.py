"""Warnings: what is legal but suspicious. A comment `# allow: CODE` silences one."""

from __future__ import annotations

from netspec import codes
from netspec.compiler.analysis.label_spelling import misspelt_labels
from netspec.compiler.elaborate.fix_its import fix_edits
from netspec.compiler.elaborate.net_builder import Assembly
from netspec.compiler.ir.graph import Graph, Node
from netspec.compiler.ir.op import Finding
from netspec.compiler.passes.eliminate_dead import live_values
from netspec.diagnostics import Diagnostic, Hint


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


def _warning(finding: Finding, node: Node) -> Diagnostic:
    about = finding.node or node
    origin = about.origin
    span = origin.attributes.get(finding.blame or "", origin.span)
    hints = tuple(
        Hint(fix.why, fix_edits(fix, origin.attributes, origin.call, origin.span))
        for fix in finding.fixes
    )
    return Diagnostic(
        finding.code, finding.message, span,
        notes=finding.notes, hints=hints, trace=origin.trace,
    )  # fmt: skip
