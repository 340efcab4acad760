"""Applies the edits that diagnostics carry, as many at once as do not conflict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from netspec.compiler.driver import (
    Compilation,
    Request,
    TrialBudget,
    compile_untried,
    is_better,
    removes_all,
    with_tried_hints,
)
from netspec.compiler.elaborate.fix_its import apply_edits
from netspec.diagnostics import Diagnostic, Edit, Hint, Source, Span
from netspec.records import record

MAX_PASSES = 50


@record(slots=True)
class AppliedFix:
    """A fix that was applied: the diagnostic that it resolves, and the hint that carries its edits."""

    diagnostic: Diagnostic
    hint: Hint


@record
class Fixed:
    """A text with its fixes applied, the fixes in order, and the result of checking the new text.

    `choices` are the remaining diagnostics with fixes that their author has to choose.
    """

    text: str
    fixes: tuple[AppliedFix, ...]
    result: Compilation
    choices: tuple[Diagnostic, ...]


def fixed(request: Request, *, warnings: bool = False) -> Fixed:
    """Apply fixes for errors, pass after pass, until none is left that helps.

    A fix is applied if the compiler has tried it, if it is the only one of its diagnostic and no
    guess, and if all its edits are in this text. Each pass leaves fewer errors than it found. The fixes
    of a large file can take more than trials may: some of them are left then.

    Args:
        request: what to fix; it must have a `source`.
        warnings: whether the fixes of warnings are applied too.
    """
    assert request.source is not None
    fixes: list[AppliedFix] = []
    result = compile_untried(request)
    budget = TrialBudget.of_changes()
    for _ in range(MAX_PASSES):
        step = _together(request, result, budget, warnings=False)
        if step is None and warnings:
            step = _together(request, result, budget, warnings=True)
        step = step or _tried_first(request, result, budget, warnings=warnings)
        if step is None:
            break
        request, result = step.request, step.result
        fixes += step.fixes
    result = with_tried_hints(request, result)
    assert request.source is not None
    choices = tuple(d for d in result.diagnostics if _has_changes(d) and d.sole_change is None)
    return Fixed(request.source.text, tuple(fixes), result, choices)


@record(slots=True)
class _Step:
    """A request with fixes applied, and the result of it without trials."""

    request: Request
    result: Compilation
    fixes: tuple[AppliedFix, ...]


def _together(
    request: Request, result: Compilation, budget: TrialBudget, *, warnings: bool
) -> _Step | None:
    """Make all changes at once that would be applied if they help, which is one trial for all of them.

    Return None if one of them does not help: they must be tried one by one.
    """
    if result.module is None or not budget.allows(result):
        return None
    assert request.source is not None
    chosen = tuple(_apart(list(_applicable(result, request.source, warnings=warnings))))
    if not chosen:
        return None
    after = _with(request, chosen)
    changed = compile_untried(after)
    budget.spend(result, changed)
    told = [fix.diagnostic for fix in chosen]
    is_good = removes_all(told, changed, result) and is_better(changed, result, warnings=warnings)
    return _Step(after, changed, chosen) if is_good else None


def _tried_first(
    request: Request, result: Compilation, budget: TrialBudget, *, warnings: bool
) -> _Step | None:
    """Make the changes that were tried one by one: all of them, or the first that is no worse."""
    assert request.source is not None
    if not any(_has_changes(d) and (warnings or d.severity == "error") for d in result.diagnostics):
        return None
    tried = with_tried_hints(request, result, budget)
    found = list(_applicable(tried, request.source, warnings=warnings))
    # Each was tried alone, but two of them may conflict.
    for chosen in dict.fromkeys((tuple(_apart(found)), *((fix,) for fix in found))):
        if not chosen or not budget.allows(result):
            return None
        after = _with(request, chosen)
        changed = compile_untried(after)
        budget.spend(result, changed)
        if is_better(changed, result, warnings=warnings):
            return _Step(after, changed, chosen)
    return None


def _has_changes(diagnostic: Diagnostic) -> bool:
    return any(hint.edits for hint in diagnostic.hints)


def _applicable(result: Compilation, source: Source, *, warnings: bool) -> Iterator[AppliedFix]:
    for diagnostic in result.diagnostics:
        hint = diagnostic.sole_change
        if hint is None or (diagnostic.severity == "warning" and not warnings):
            continue
        if all(edit.span.source.name == source.name for edit in hint.edits):
            yield AppliedFix(diagnostic, hint)


def _apart(fixes: Sequence[AppliedFix]) -> Iterator[AppliedFix]:
    """Yield the fixes, except those that touch a place that an earlier one changes."""
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
