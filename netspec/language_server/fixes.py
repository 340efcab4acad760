"""Quick fixes: the changes of hints that the compiler has tried, and what ends a warning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from netspec.compiler.driver import TrialBudget
from netspec.compiler.fixes import fixed
from netspec.diagnostics import Edit, Span
from netspec.language_server.analysis import Analysis
from netspec.language_server.problems import Problem, problems
from netspec.language_server.remedies import remedies


@dataclass(frozen=True, slots=True)
class QuickFix:
    """A change that resolves a diagnostic. It is `preferred` if it is the only one, and no guess."""

    title: str
    problem: Problem
    edits: tuple[Edit, ...]
    preferred: bool


def quick_fixes(analysis: Analysis, start: int, end: int) -> Iterator[QuickFix]:
    """Yield the fixes of the diagnostics that a range of the text touches, for as long as they may be
    tried.
    """
    budget = TrialBudget.of_changes()
    for problem in problems(analysis, analysis.diagnostics()):
        if problem.span.start > end or problem.span.end < start:
            continue
        sole = problem.diagnostic.sole_change
        for hint in problem.diagnostic.hints:
            if hint.edits:
                only = hint is sole
                yield QuickFix(_title(hint.text), problem, _distinct(hint.edits), only)
        for remedy in remedies(analysis, problem.diagnostic, budget):
            yield QuickFix(remedy.title, problem, (remedy.edit,), preferred=False)


def fix_all(analysis: Analysis) -> Edit | None:
    """Return the change of the whole text that `netspec check --fix` makes; None if there is none."""
    done = fixed(analysis.request)
    if not done.fixes:
        return None
    return Edit(Span(analysis.source, 0, len(analysis.text)), done.text)


def _title(hint: str) -> str:
    return hint[:1].upper() + hint[1:]


def _distinct(edits: Sequence[Edit]) -> tuple[Edit, ...]:
    return tuple(dict.fromkeys(edits))
