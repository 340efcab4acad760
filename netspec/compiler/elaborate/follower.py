"""Whoever follows a body while it is built: told what it does, and free to put other numbers in place.

The generator of PyTorch classes follows nets with numbers that remember the arguments they are from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from netspec.compiler.elaborate.names import Names
from netspec.compiler.elaborate.values import Evaluate, Input, Result, Tensor, Unknown
from netspec.compiler.ir.constants import Constant
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Span

if TYPE_CHECKING:
    from netspec.compiler.ir.graph import Node, Shape
    from netspec.compiler.ir.op import ParameterSpec
    from netspec.compiler.parse.loader import Module


class Follower:
    """Does nothing with what it is told."""

    def follow(self, names: Names, evaluate: Evaluate) -> Evaluate:
        """A body is to be built: how its expressions are evaluated, to be done as it returns."""
        return evaluate

    def added(
        self, node: Node, shapes: Sequence[Shape], specs: Sequence[ParameterSpec], path: str
    ) -> None:
        """A layer was added: its node, the shapes of its inputs, its parameters and their path."""

    def named(self, name: str, value: Tensor) -> None:
        """A name was given to a value."""

    def asserting(self, statement: syntax.Assert) -> None:
        """What an assert says is about to be checked."""

    # -- decisions

    def deciding(self) -> None:
        """Conditions are about to be evaluated."""

    def decided(self, conditions: Sequence[syntax.Expr], case: int | None, span: Span) -> None:
        """Which of the conditions holds, their number if none does; None after an error."""

    def done(self) -> None:
        """What was decided about last was done."""

    # -- calls of blocks

    def calling(self, block: syntax.Block, module: Module, path: str) -> Follower:
        """A block is called: who follows its body."""
        return self

    def arguments(self, values: Mapping[str, Constant | Unknown]) -> Mapping[str, Constant]:
        """A block's arguments were bound: those that it shall have instead."""
        return {}

    def input(self, name: str, value: Input) -> Input:
        """An input of a block is to be bound: what it shall have instead."""
        return value

    def called(
        self, inner: Follower, inputs: Sequence[Input], result: Result, span: Span
    ) -> Result:
        """A block that `inner` followed gave a result: what the caller gets instead."""
        return result


NOBODY = Follower()
