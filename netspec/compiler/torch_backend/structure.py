"""The body of a net between its syntax and its graph: loops, conditions and names are still there.

Statements stand in the file's order, over Python names: those of the file, and such as carry the size
of the value from one turn of a loop to the next. All that a size or an attribute says is an expression
over these names. The statements hold for all arguments that they were recorded with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from netspec.compiler.ir.op import Torch
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Span


class NotStructuredError(Exception):
    """The body is no chain of layers and blocks, or differs in what no name tells apart."""


@dataclass(eq=False)
class Suite:
    """Statements that follow on one another; None as long as no arguments have led here."""

    steps: list[Step] | None = None


@dataclass(frozen=True)
class Let:
    """Names get values: `stride = 2 if stage > 0 else 1`; `annotation` is their type, if need be."""

    names: tuple[str, ...]
    text: str
    annotation: str = ""


@dataclass(frozen=True)
class Carry:
    """A name takes over the size of an axis of the value, for what follows a loop or a condition."""

    name: str
    text: str
    place: tuple[Span, int] = field(compare=False)


@dataclass(frozen=True)
class Refuse:
    """Arguments that an assert does not hold for."""

    condition: str
    message: str


@dataclass(frozen=True)
class Block:
    """A call of a block: what its class is given, and its arguments that are no numbers."""

    definition: syntax.Block
    given: Mapping[str, Any]
    others: Mapping[str, Any]


@dataclass(eq=False)
class Placed:
    """A layer or a block: its modules, one after another, and what it is called.

    Attributes:
        modules: the forms that it has in PyTorch, or the block.
        label: each part of it as Python text between the quotes of an f-string; None where it is
            numbered.
        kind: what it is numbered under.
        held: whether it has parameters, and so keys in a `state_dict`.
    """

    modules: tuple[Torch | Block, ...]
    label: tuple[str, ...] | None
    kind: str
    held: bool
    span: Span


@dataclass(eq=False)
class Loop:
    """`for`, over Python's names."""

    targets: tuple[str, ...]
    iterable: str
    span: Span
    body: Suite = field(default_factory=Suite)


@dataclass(eq=False)
class Branch:
    """`if`: a case for each condition, and one where none holds."""

    conditions: tuple[str, ...]
    span: Span
    cases: list[Suite] = field(default_factory=list)


Step = Let | Carry | Refuse | Placed | Loop | Branch


def suites_in(step: Step) -> list[Suite]:
    """What stands under a loop or a condition."""
    if isinstance(step, Loop):
        return [step.body]
    return step.cases if isinstance(step, Branch) else []


def same(mine: Step, other: Step) -> bool:
    """Whether two statements are the same, bodies apart."""
    if isinstance(mine, Loop) and isinstance(other, Loop):
        return (mine.targets, mine.iterable) == (other.targets, other.iterable)
    if isinstance(mine, Branch) and isinstance(other, Branch):
        return mine.conditions == other.conditions
    if isinstance(mine, Placed) and isinstance(other, Placed):
        facts = [(s.modules, s.label, s.kind, s.held) for s in (mine, other)]
        return facts[0] == facts[1]
    return mine == other


class Recorder:
    """Records what a run of a body does, or compares it with what runs before it did.

    Raises:
        NotStructuredError: where they differ.
    """

    def __init__(self) -> None:
        self.root = Suite()
        self._open: list[tuple[Suite, bool, int]] = []
        self._news: list[Suite] = []

    def begin(self) -> None:
        """A run begins."""
        self._open.clear()
        self._news.clear()
        self.enter(self.root)

    def forget(self) -> None:
        """Take back what the last run has added."""
        for suite in self._news:
            suite.steps = None

    def enter(self, suite: Suite) -> None:
        """What follows stands in this suite."""
        is_new = suite.steps is None
        if is_new:
            suite.steps = []
            self._news.append(suite)
        self._open.append((suite, is_new, 0))

    def leave(self) -> None:
        """The suite is over."""
        suite, _, at = self._open.pop()
        assert suite.steps is not None
        if at != len(suite.steps):
            raise NotStructuredError

    def add(self, step: Step) -> Step:
        """A statement; returns the one that was recorded first."""
        suite, is_new, at = self._open.pop()
        assert suite.steps is not None
        self._open.append((suite, is_new, at + 1))
        if is_new:
            suite.steps.append(step)
            return step
        if at >= len(suite.steps) or not same(suite.steps[at], step):
            raise NotStructuredError
        return suite.steps[at]

    def expected(self) -> Step | None:
        """The statement that must come next, if that is known."""
        suite, is_new, at = self._open[-1]
        assert suite.steps is not None
        return None if is_new or at >= len(suite.steps) else suite.steps[at]
