"""Warnings: what is legal but suspicious. Each can be silenced by `# allow: code` where it stands."""

from __future__ import annotations

import re

from netspec.compiler.assembly import Assembly
from netspec.compiler.graph import Graph, Node
from netspec.compiler.op import Finding
from netspec.compiler.passes.eliminate_dead import live_values
from netspec.compiler.suggestions import fix_edits
from netspec.diagnostics import Diagnostic, Hint, Span

_ALLOW = re.compile(r"#\s*allow:\s*([\w/-]+(?:\s*,\s*[\w/-]+)*)")


def lint(graph: Graph, assembly: Assembly) -> None:
    """Add the warnings of a well-formed net to its sink."""
    for node in graph.nodes:
        for finding in node.op.lint(node, graph):
            assembly.sink.add(_warning(finding, node))
    unread = assembly.reads.unread()
    for span, name in unread.items():
        message = f"`{name}` is never used"
        assembly.sink.add(Diagnostic("warning", "graph/unused", message, span))
    live = live_values(graph)
    alive = {node.origin.span for node in graph.nodes if node.name in live}
    lines = {(span.source, span.line) for span in unread}
    for node in graph.nodes:
        span = node.origin.span
        if node.name in live or span in alive or graph.consumers.get(node.name):
            continue
        if any(source is span.source and line == span.line for source, line in lines):
            continue
        message = f"nothing reads what this `{node.op.name}` computes"
        assembly.sink.add(
            Diagnostic("warning", "graph/unread", message, span, trace=node.origin.trace)
        )


def _warning(finding: Finding, node: Node) -> Diagnostic:
    about = finding.node or node
    origin = about.origin
    span = origin.attributes.get(finding.blame or "", origin.span)
    hints = tuple(
        Hint(fix.why, fix_edits(fix, origin.attributes, origin.call, origin.span))
        for fix in finding.fixes
    )
    return Diagnostic(
        "warning", finding.code, finding.message, span,
        notes=finding.notes, hints=hints, trace=origin.trace,
    )  # fmt: skip


def is_allowed(warning: Diagnostic) -> bool:
    """Whether a comment on the warning's line, or alone on the line above, silences it."""
    span = warning.span
    return span is not None and warning.code in _allowed_at(span)


def _allowed_at(span: Span) -> set[str]:
    number = span.line
    lines = [span.source.line(number)]
    if number > 1 and span.source.line(number - 1).lstrip().startswith("#"):
        lines.append(span.source.line(number - 1))
    codes: set[str] = set()
    for line in lines:
        for match in _ALLOW.finditer(line):
            codes.update(code.strip() for code in match.group(1).split(","))
    return codes
