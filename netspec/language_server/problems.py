"""Diagnostics as an editor shows them: each at a place of the text itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Diagnostic, Label, Span
from netspec.language_server.analysis import Analysis


@dataclass(frozen=True, slots=True)
class Problem:
    """A diagnostic of a text.

    Attributes:
        diagnostic: what the compiler said.
        span: where to underline, in the text itself.
        message: what is wrong, with the notes and what helps.
        related: other places, in any file, each with a few words.
    """

    diagnostic: Diagnostic
    span: Span
    message: str
    related: tuple[Label, ...]


def problems(analysis: Analysis, diagnostics: Iterable[Diagnostic]) -> list[Problem]:
    """Return the diagnostics of an analysis with their places in its text.

    One in an imported file is shown at the call that led there, or else at the import.
    """
    return [_problem(analysis, diagnostic) for diagnostic in diagnostics]


def untried(analysis: Analysis) -> tuple[Diagnostic, ...]:
    """Return the diagnostics of a text that was only just checked: without any hints."""
    return tuple(
        Diagnostic(d.code, d.message, d.span, d.label, d.secondary, d.notes, (), d.trace)
        for d in analysis.found
    )


def _problem(analysis: Analysis, d: Diagnostic) -> Problem:
    own = analysis.source
    related = [*d.secondary, *_calls(d)]
    if d.span is not None and d.span.source is own:
        span = d.span
    else:
        if d.span is not None:
            related.insert(0, Label(d.span, d.label or d.message))
        span = _entry(analysis, d)
    lines = [d.message, *([d.label] if d.label and d.span is span else [])]
    lines += [f"note: {note}" for note in d.notes]
    lines += [f"help: {hint.text}" for hint in d.hints]
    return Problem(d, span, "\n".join(lines), tuple(related))


def _calls(d: Diagnostic) -> Iterator[Label]:
    """Yield the calls that led to a diagnostic, from the inside out, each place once."""
    seen: set[Span] = set()
    for frame in reversed(d.trace):
        if frame.call is not None and frame.call not in seen and len(seen) < 8:
            seen.add(frame.call)
            yield Label(frame.call, f"in {frame}".partition(", called at")[0])


def _entry(analysis: Analysis, d: Diagnostic) -> Span:
    """Return the place in the text that leads to a diagnostic elsewhere; its start if none does."""
    own = analysis.source
    for frame in d.trace:
        if frame.call is not None and frame.call.source is own:
            return frame.call
    if d.span is not None and analysis.module is not None and analysis.module.tree is not None:
        for definition in analysis.module.tree.definitions:
            if isinstance(definition, syntax.Import) and _names(definition, d.span):
                return definition.path_span
    return Span(own, 0, 0)


def _names(statement: syntax.Import, span: Span) -> bool:
    named = statement.path.replace("\\", "/").rpartition("/")[2]
    return named == span.source.file_name
