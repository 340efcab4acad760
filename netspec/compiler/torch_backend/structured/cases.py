"""Which cases of conditions, and which loops, the runs of a body have met."""

from __future__ import annotations

import operator
from collections.abc import Callable, Set

from netspec.compiler.torch_backend.python_constants import words_in
from netspec.compiler.torch_backend.structured.structure import (
    Branch,
    Loop,
    NotStructuredError,
    Read,
    Source,
    Step,
    Suite,
    reads_of,
    said,
    suites_in,
)


def is_met(suite: Suite) -> bool:
    """Whether every case of a condition and every loop has been met."""
    if suite.steps is None:
        return False
    return all(is_met(inner) for step in suite.steps for inner in suites_in(step))


def unmet_names(suite: Suite) -> set[str]:
    """The names in conditions of which some case was not met."""
    found: set[str] = set()
    for step in suite.steps or ():
        inner = suites_in(step)
        if isinstance(step, Branch) and any(each.steps is None for each in inner):
            found |= {name for each in step.conditions for name in words_in(said(each).name)}
        for each in inner:
            found |= unmet_names(each)
    return found


def without_unmet(suite: Suite, fixed: Set[str]) -> Callable[[], None]:
    """Every case of a condition and every loop must have been met.

    Of a condition on arguments that are fixed the case that was met stays, without the condition.

    Returns:
        What puts the conditions back, so that more runs can be recorded.

    Raises:
        NotStructuredError: if another case or a loop has not been met; the statements are as they were.
    """
    pruned = _Pruned(fixed)
    try:
        pruned.leave_out(suite)
    except NotStructuredError:
        pruned.put_back()
        raise
    if pruned.instead:
        pruned.read_instead(suite)
    return pruned.put_back


class _Pruned:
    """What is left out of statements.

    Attributes:
        instead: where a value is read whose condition is left out.
    """

    def __init__(self, fixed: Set[str]) -> None:
        self.fixed = fixed
        self.instead: dict[Source, list[Source]] = {}
        self._steps: list[tuple[Suite, list[Step]]] = []
        self._sources: list[tuple[Read, list[Source]]] = []

    def put_back(self) -> None:
        """Make the statements what they were."""
        for suite, steps in self._steps:
            suite.recorded = steps
        for read, sources in self._sources:
            read.sources = sources

    def leave_out(self, suite: Suite) -> None:
        """Leave conditions on fixed arguments out."""
        if suite.recorded is None:
            raise NotStructuredError
        steps: list[Step] = []
        for step in suite.recorded:
            met = [inner for inner in suites_in(step) if inner.steps is not None]
            for inner in met:
                self.leave_out(inner)
            if isinstance(step, Branch) and len(met) < len(step.cases):
                # Of two cases that were met nothing here says which is that of the fixed arguments.
                if len(met) > 1 or not _is_fixed(step, self.fixed):
                    raise NotStructuredError
                if step.values:
                    self.instead[step, 0] = _only_value(step)
                steps += [each for inner in met for each in inner.recorded or ()]
            elif not isinstance(step, Loop) or met:
                steps.append(step)
            elif not words_in(said(step.iterable).name) <= self.fixed:
                raise NotStructuredError
        known = suite.recorded
        if len(steps) != len(known) or any(map(operator.is_not, steps, known)):
            self._steps.append((suite, known))
            suite.recorded = steps

    def read_instead(self, suite: Suite) -> None:
        """Values of conditions that are left out are read where they are made."""
        for step in suite.recorded or ():
            for read in reads_of(step):
                if any(source in self.instead for source in read.sources):
                    self._sources.append((read, read.sources))
                    read.sources = self._made(read.sources)
            for inner in suites_in(step):
                self.read_instead(inner)

    def _made(self, sources: list[Source]) -> list[Source]:
        found: list[Source] = []
        for source in sources:
            inner = self.instead.get(source)
            found += [source] if inner is None else self._made(inner)
        return found


def _only_value(branch: Branch) -> list[Source]:
    """Where the value of the only case is that was met."""
    given = [
        value.sources
        for case, value in zip(branch.cases, branch.values, strict=True)
        if value is not None and case.steps is not None
    ]
    if len(given) > 1:
        raise NotStructuredError
    return given[0] if given else []


def _is_fixed(branch: Branch, fixed: Set[str]) -> bool:
    """Whether the conditions ask for nothing but arguments that are fixed."""
    return all(words_in(said(condition).name) <= fixed for condition in branch.conditions)
