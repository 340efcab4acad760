"""The class of a block in a generated module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.structured.calls import BlockCall

if TYPE_CHECKING:
    from netspec.compiler.torch_backend.structured.block import StructuredBlock


@dataclass(eq=False)
class BlockClass:
    """A class to be generated.

    Attributes:
        definition: the block.
        name: the name of the class.
        symbols: the arguments of its constructor, in order.
        calls: the calls of the block in the file that are of it.
        structure: its statements.
        is_variant: whether other calls of the block have another class.
    """

    definition: syntax.Block
    name: str
    symbols: list[str]
    calls: list[BlockCall]
    structure: StructuredBlock
    is_variant: bool = False
