"""Checks the names in what is not built, such as a branch that is not taken.

Nothing in it has a value or a shape. What it calls, which arguments it gives, and which attributes
values have is known all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TypeAlias

from netspec.compiler.elaborate.arguments import Arguments
from netspec.compiler.elaborate.attributes import check_name
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
    """Checks calls and attributes in parts of a body that are not built."""

    def __init__(
        self, assembly: Assembly, names: Names, calls: Calls, arguments: Arguments, blocks: Blocks
    ) -> None:
        self.assembly = assembly
        self.names = names
        self.calls = calls
        self.arguments = arguments
        self.blocks = blocks

    def check(self, parts: Sequence[object]) -> None:
        """Check calls and attributes in parts of the tree, each part once in a net.

        Raises:
            StopBuildingError: if there were too many errors.
        """
        new = [part for part in parts if id(part) not in self.assembly.not_built]
        self.assembly.not_built.update(map(id, new))
        for part in syntax.parts(tuple(new)):
            if isinstance(part, syntax.Call):
                self._call(part)
            elif isinstance(part, syntax.Access):
                self._access(part)

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

    def _access(self, access: syntax.Access) -> None:
        """Check the attribute of a value that is known outside: `x.chanels`, and not `stem.weight`, the
        parameter of a layer, which may be called like a value.
        """
        first, *others = access.trailers
        if (
            isinstance(access.base, syntax.Name)
            and access.base.id in self.names.scope
            and access.base.id not in self._layers
            and isinstance(first, syntax.Attribute)
            and not any(isinstance(other, syntax.Attribute) for other in others)
            and not any(first.name in op.parameter_names for op in self.names.module.ops.values())
        ):
            check_name(first, self.names.reporter)

    @cached_property
    def _layers(self) -> set[str]:
        """The names of the layers that the body declares, here and in what is not built."""
        declared = syntax.nested(self.names.statements)
        return {s.name.id for s in declared if isinstance(s, syntax.Layer)}


def _unknown(call: syntax.Call, takes: Iterable[str]) -> list[syntax.Argument]:
    known = set(takes)
    return [each for each in call.arguments if each.name is not None and each.name.id not in known]
