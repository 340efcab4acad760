"""Checks the names in what is not built, such as a branch that is not taken.

Nothing in it has a value or a shape. What it calls, and which arguments it gives, is known all the
same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TypeAlias

from netspec.compiler.elaborate.arguments import Arguments
from netspec.compiler.elaborate.blocks import Blocks
from netspec.compiler.elaborate.calls import Calls
from netspec.compiler.elaborate.names import SPLIT, Names
from netspec.compiler.elaborate.net_builder import Assembly
from netspec.compiler.ir import constants, initializers
from netspec.compiler.syntax import tree as syntax

CheckNotBuilt: TypeAlias = Callable[[Sequence[object]], None]

# What a call can name beside layers and blocks.
_BUILT_IN = {SPLIT, *constants.FUNCTIONS, *initializers.RULES}


class NotBuilt:
    """Checks the calls in parts of a body that are not built."""

    def __init__(
        self, assembly: Assembly, names: Names, calls: Calls, arguments: Arguments, blocks: Blocks
    ) -> None:
        self.assembly = assembly
        self.names = names
        self.calls = calls
        self.arguments = arguments
        self.blocks = blocks

    def check(self, parts: Sequence[object]) -> None:
        """Check the calls in parts of the tree, each part once in a net.

        Raises:
            StopBuildingError: if there were too many errors.
        """
        new = [part for part in parts if id(part) not in self.assembly.not_built]
        self.assembly.not_built.update(map(id, new))
        for part in syntax.parts(tuple(new)):
            if isinstance(part, syntax.Call):
                self._call(part)

    def _call(self, call: syntax.Call) -> None:
        name, module = call.callee.id, self.names.module
        if name in self.names.scope or name in self._layers or name in _BUILT_IN:
            return
        if name in module.blocks:
            block, _ = module.blocks[name]
            takes = [parameter.name.id for parameter in block.parameters]
            for argument in _unknown(call, takes):
                self.blocks.unknown_argument(block, argument, takes)
        elif name in module.ops:
            op = module.ops[name]
            for argument in _unknown(call, (*op.attributes(), *op.parameter_names)):
                self.arguments.unknown_attribute(op, call, argument, {})
        elif name not in module.missing and not module.lacks_ops:
            self.calls.unknown_layer(call)

    @cached_property
    def _layers(self) -> set[str]:
        """The names of the layers that the body declares, here and in what is not built."""
        declared = syntax.nested(self.names.statements)
        return {s.name.id for s in declared if isinstance(s, syntax.Layer)}


def _unknown(call: syntax.Call, takes: Iterable[str]) -> list[syntax.Argument]:
    known = set(takes)
    return [each for each in call.arguments if each.name is not None and each.name.id not in known]
