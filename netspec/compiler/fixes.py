"""Applying the changes that diagnostics carry, as many at once as get along with each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from netspec.compiler.driver import Compilation, Request, compile_request, is_better
from netspec.compiler.elaborate.fix_its import apply_edits
from netspec.diagnostics import Diagnostic, Edit, Hint, Source, Span

MAX_PASSES = 50


@dataclass(frozen=True, slots=True)
class AppliedFix:
    """A change that was made: the diagnostic that it mends, and the hint that carried it."""

    diagnostic: Diagnostic
    hint: Hint


@dataclass(frozen=True)
class Fixed:
    """A text with its fixes made, what they were in their order, and what it checks like now.

    `choices` are the diagnostics that are left with more than one change that would mend them.
    """

    text: str
    fixes: tuple[AppliedFix, ...]
    result: Compilation
    choices: tuple[Diagnostic, ...]


def fixed(request: Request, *, warnings: bool = False) -> Fixed:
    """Make the changes that mend errors, pass after pass, until none is left that does.

    A change is made if the compiler has tried it, if it is the only one that its diagnostic has, and
    if all of it lies in this text. What a pass leaves has fewer errors than what it found.

    Args:
        request: a text (`source`).
        warnings: whether the changes that warnings carry are made as well.
    """
    assert request.source is not None
    fixes: list[AppliedFix] = []
    result = compile_request(request)
    for _ in range(MAX_PASSES):
        found = list(_applicable(result, request.source, warnings=warnings))
        # Together first. Each alone was tried, but two may not get along.
        for chosen in dict.fromkeys((tuple(_apart(found)), *((fix,) for fix in found))):
            after = _with(request, chosen)
            changed = compile_request(after)
            if chosen and is_better(changed, result, warnings=warnings):
                request, result = after, changed
                fixes += chosen
                break
        else:
            break
    assert request.source is not None
    choices = tuple(d for d in result.diagnostics if len(_changes(d)) > 1)
    return Fixed(request.source.text, tuple(fixes), result, choices)


def _changes(diagnostic: Diagnostic) -> list[Hint]:
    return [hint for hint in diagnostic.hints if hint.edits]


def _applicable(result: Compilation, source: Source, *, warnings: bool) -> Iterator[AppliedFix]:
    for diagnostic in result.diagnostics:
        hints = _changes(diagnostic)
        if len(hints) == 1 and (warnings or diagnostic.severity == "error"):
            (hint,) = hints
            if all(edit.span.source.name == source.name for edit in hint.edits):
                yield AppliedFix(diagnostic, hint)


def _apart(fixes: Sequence[AppliedFix]) -> Iterator[AppliedFix]:
    """The fixes, without those that touch what one before them changes."""
    taken: list[Span] = []
    for fix in fixes:
        spans = [edit.span for edit in fix.hint.edits]
        if not any(a.start <= b.end and b.start <= a.end for a in spans for b in taken):
            taken += spans
            yield fix


def _with(request: Request, fixes: Sequence[AppliedFix]) -> Request:
    source = request.source
    assert source is not None
    edits: list[Edit] = [edit for fix in fixes for edit in fix.hint.edits]
    text = apply_edits(Span(source, 0, len(source.text)), edits)
    return replace(request, source=Source(source.name, text))
