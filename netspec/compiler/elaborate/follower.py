"""An observer of bodies while they are built, which may also replace values.

The generator of PyTorch classes uses one to follow nets with numbers that record the arguments from
which they were computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from netspec.compiler.elaborate.names import Names
from netspec.compiler.elaborate.values import (
    Evaluate,
    Input,
    Result,
    Tensor,
    TensorList,
    Unknown,
    Value,
)
from netspec.compiler.ir.constants import Constant
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Span

if TYPE_CHECKING:
    from netspec.compiler.elaborate.constant_loops import Outcomes
    from netspec.compiler.elaborate.repeated_blocks import BlockOutcomes, Rename
    from netspec.compiler.ir.graph import Node, Shape
    from netspec.compiler.ir.op import ParameterSpec
    from netspec.compiler.parse.loader import Module


class Follower:
    """The default follower, which replaces nothing.

    Subclasses override the methods that they need.

    Attributes:
        keeps_outcomes: whether it is asked for the outcomes of loops over constants.
        skips_turns: whether it hears of the first turns and the last one of such a loop alone.
    """

    keeps_outcomes = False
    skips_turns = False

    def follow(self, names: Names, evaluate: Evaluate) -> Evaluate:
        """A body will be built. Return the function that evaluates its expressions."""
        return evaluate

    def added(
        self, node: Node, shapes: Sequence[Shape], specs: Sequence[ParameterSpec], path: str
    ) -> None:
        """A layer was added.

        `path` is the path of its parameters `specs`, `shapes` are those of its inputs.
        """

    def named(self, name: str, value: Tensor) -> None:
        """A name was bound to a value."""

    def listed(self, name: str, expr: syntax.Expr, values: TensorList) -> TensorList:
        """A name is about to be bound to a list of values: what it shall stand for instead."""
        return values

    def assigning(
        self, names: Sequence[str], expr: syntax.Expr, values: Sequence[Value]
    ) -> Sequence[Value]:
        """Names are about to be given to constants: what they shall stand for instead."""
        return values

    def asserting(self, statement: syntax.Assert) -> None:
        """The condition of an assert will be checked."""

    # -- decisions

    def deciding(self) -> None:
        """Conditions will be evaluated."""

    def decided(self, conditions: Sequence[syntax.Expr], case: int | None, span: Span) -> None:
        """Conditions were evaluated.

        `case` is the index of the one that holds, their number if none does, or None after an
        error.
        """

    def done(self) -> None:
        """The branch that was chosen last has been executed."""

    # -- loops

    def looping(self, loop: syntax.For) -> None:
        """A loop is about to take its first turn, if it takes one."""

    def turn(self, loop: syntax.For, values: Sequence[Constant]) -> Sequence[Constant]:
        """A turn begins: what the loop's names shall stand for in it."""
        return values

    def turned(self, loop: syntax.For) -> None:
        """A turn is over."""

    def looped(self, loop: syntax.For) -> None:
        """The last turn is over."""

    # -- loops over constants, whose outcomes may be known

    def outcomes(self, loop: syntax.For, names: Sequence[str]) -> Outcomes | None:
        """A loop over constants that has these names is about to take its turns.

        Return what it did before; None if its turns must be followed.
        """
        return None

    def watching(self) -> None:
        """The loop takes its turns, and its outcome may be kept."""

    def watched(self, loop: syntax.For) -> object:
        """It has taken them. Return what `repeated` needs."""
        return ()

    def repeated(self, loop: syntax.For, followed: object) -> None:
        """The loop took no turns: its outcome was known, and what `watched` returned for it."""

    def skipped(self, names: Sequence[str], values: Sequence[Value]) -> Sequence[Value]:
        """Turns of the loop were not followed: what names shall stand for that they have given values."""
        return values

    def fixing(self, values: Sequence[Constant | Unknown]) -> Sequence[Constant | Unknown]:
        """Constants go into what is not followed. Return them as that shall get them."""
        return values

    # -- bodies of blocks, whose outcomes may be known

    def block_outcomes(self) -> BlockOutcomes | None:
        """The statements of a block are about to run: what blocks did before; None if they must run.

        It is asked of the follower of the block's body.
        """
        return None

    def block_followed(self) -> object:
        """They have run. Return what `block_repeated` needs."""
        return ()

    def block_repeated(self, followed: object, rename: Rename) -> None:
        """They did not run: what they do was known, and what `block_followed` returned for it."""

    # -- calls of blocks

    def calling(self, block: syntax.Block, module: Module, path: str) -> Follower:
        """A block is called. Return the follower of its body."""
        return self

    def inlining(self, block: syntax.Block, module: Module, span: Span) -> Follower:
        """An inline block is called. Return the follower of its body, of which `called` hears not."""
        return self

    def inlined(self) -> None:
        """The body of the inline block that was called last has returned."""

    def arguments(self, values: Mapping[str, Constant | Unknown]) -> Mapping[str, Constant]:
        """A block's arguments were bound. Return the values that replace some of them."""
        return {}

    def input(self, name: str, value: Input) -> Input:
        """An input of a block will be bound. Return the value that it is bound to."""
        return value

    def called(
        self, inner: Follower, inputs: Sequence[Input], result: Result, span: Span
    ) -> Result:
        """A block that `inner` followed returned a result. Return what the caller gets instead."""
        return result


NOBODY = Follower()


class UnsteadyError(Exception):
    """A name stands for a list in one turn, and for none in another."""


class Steady(Follower):
    """Makes sure that names stand for lists, or for what is none, in all turns alike."""

    def __init__(self) -> None:
        self._are_lists: dict[str, bool] = {}

    def assigning(
        self, names: Sequence[str], expr: syntax.Expr, values: Sequence[Value]
    ) -> Sequence[Value]:
        """Look at what names are given."""
        for name, value in zip(names, values, strict=True):
            self._note(name, value)
        return values

    def turn(self, loop: syntax.For, values: Sequence[Constant]) -> Sequence[Constant]:
        """Look at what a loop's names stand for."""
        for target, value in zip(loop.targets, values, strict=True):
            self._note(target.id, value)
        return values

    def _note(self, name: str, value: Value) -> None:
        is_list = isinstance(value, (tuple, range))
        if not is_list and not isinstance(value, (int, float, str, type(None))):
            raise UnsteadyError
        if self._are_lists.setdefault(name, is_list) != is_list:
            raise UnsteadyError
