"""Quick fixes that the compiler does not offer: what nobody needs is left out, a warning is allowed, a
block is imported. Only who wrote the text knows whether one of them is meant.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from netspec import codes
from netspec.compiler.driver import TrialBudget, compile_untried
from netspec.compiler.elaborate.fix_its import apply_edits
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Diagnostic, Edit, Source, Span
from netspec.language_server.analysis import Analysis
from netspec.language_server.neighbours import offers
from netspec.language_server.tree_places import path_to


@dataclass(frozen=True, slots=True)
class Remedy:
    """A change that ends a warning or an error."""

    title: str
    edit: Edit


def remedies(analysis: Analysis, diagnostic: Diagnostic, budget: TrialBudget) -> Iterator[Remedy]:
    """Yield the changes that end a diagnostic in the text itself, each tried while the budget lasts."""
    span = diagnostic.span
    if span is None or span.source is not analysis.source:
        return
    found: list[Remedy] = []
    if diagnostic.code == codes.GRAPH_UNUSED:
        found += _leaving_out(analysis, span)
    if diagnostic.code == codes.NAME_UNKNOWN_LAYER:
        found += _importing(analysis, span.text)
    if diagnostic.severity == "warning":
        found.append(_allowing(span, diagnostic.code))
    yield from (each for each in found if _helps(analysis, diagnostic, each, budget))


def _importing(analysis: Analysis, name: str) -> Iterator[Remedy]:
    for offer in offers(analysis):
        if offer.name == name:
            yield Remedy(f"Import `{name}` from {offer.file}", offer.edit)


def _allowing(span: Span, code: str) -> Remedy:
    """Return the comment that allows a warning, on a line of its own above."""
    text = span.source.text
    start = text.rfind("\n", 0, span.start) + 1
    line = text[start : span.start]
    indent = line[: len(line) - len(line.lstrip())]
    comment = f"# allow: {code}"
    return Remedy(
        f"Allow it: `{comment}`", Edit(Span(span.source, start, start), f"{indent}{comment}\n")
    )


def _leaving_out(analysis: Analysis, span: Span) -> Iterator[Remedy]:
    """Yield the change that leaves out an assignment, an argument or an import that nothing reads."""
    module = analysis.module
    path = path_to(module.tree if module is not None else None, span.start)
    around: list[Any] = [p for p in path if not isinstance(p, syntax.Name)]
    title = f"Leave out `{span.text}`"
    match around[-1] if around else None:
        case syntax.Assign() | syntax.Layer() | syntax.Declared() as statement:
            if not isinstance(statement, syntax.Assign) or len(statement.targets) == 1:
                yield Remedy(title, Edit(_lines(statement.span), ""))
        case syntax.Import() as statement if len(statement.names) == 1:
            yield Remedy(title, Edit(_lines(statement.span), ""))
        case syntax.Import() as statement:
            yield Remedy(title, Edit(_listed([name.span for name in statement.names], span), ""))
        case syntax.Parameter() as parameter if len(around) > 1:
            spans = [each.span for each in around[-2].parameters]
            yield Remedy(title, Edit(_listed(spans, parameter.span), ""))


def _lines(span: Span) -> Span:
    """Return a statement with the rest of its lines, if nothing else is on them."""
    text = span.source.text
    start, end = text.rfind("\n", 0, span.start) + 1, text.find("\n", span.end)
    end = len(text) if end < 0 else end + 1
    if text[start : span.start].strip() or text[span.end : end].strip():
        return span
    return Span(span.source, start, end)


def _listed(spans: list[Span], one: Span) -> Span:
    """Return an item of a list with one of the commas beside it."""
    at = next(i for i, each in enumerate(spans) if each.start == one.start)
    if at + 1 < len(spans):
        return Span(one.source, one.start, spans[at + 1].start)
    return Span(one.source, spans[at - 1].end if at else one.start, one.end)


def _helps(analysis: Analysis, diagnostic: Diagnostic, remedy: Remedy, budget: TrialBudget) -> bool:
    source, before = analysis.source, analysis.result
    if not budget.allows(before):
        return False
    text = apply_edits(Span(source, 0, len(source.text)), [remedy.edit])
    request = replace(analysis.request, source=Source(source.name, text))
    after = compile_untried(request)
    budget.spend(before, after)

    def told(found: tuple[Diagnostic, ...]) -> int:
        return sum((d.code, d.message) == (diagnostic.code, diagnostic.message) for d in found)

    if after.module is None or len(after.errors) > len(before.errors):
        return False
    return told(after.diagnostics) < told(before.diagnostics)
