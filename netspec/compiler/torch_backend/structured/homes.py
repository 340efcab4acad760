"""The classes of a net's blocks."""

from __future__ import annotations

from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.block_class import BlockClass
from netspec.compiler.torch_backend.structured.structure import NotStructuredError
from netspec.compiler.torch_backend.trace import Repeated, Trace


class Homes:
    """Which class a call of a block is one of. Most blocks have one for all of their calls.

    Attributes:
        all: the classes, each behind those that it uses.
        repeated: what bodies did that nothing follows.
    """

    def __init__(self) -> None:
        self.all: list[BlockClass] = []
        self.repeated = Repeated()
        self._by_block: dict[syntax.Block, list[BlockClass]] = {}
        self._by_call: dict[int, BlockClass] = {}

    def add(self, made: BlockClass) -> None:
        """A class is there, for these calls of the file."""
        self.all.append(made)
        self._by_block.setdefault(made.definition, []).append(made)
        self._by_call |= {id(trace): made for trace in made.traces}

    def has(self, block: syntax.Block) -> bool:
        """Whether a block has a class so far."""
        return block in self._by_block

    def only(self, block: syntax.Block) -> BlockClass:
        """The class of all calls of a block.

        Raises:
            NotStructuredError: if there is no such class.
        """
        found = self._by_block.get(block, [])
        if len(found) != 1:
            raise NotStructuredError
        return found[0]

    def of(self, trace: Trace) -> BlockClass:
        """The class that does what a call does.

        Raises:
            NotStructuredError: if there is none.
        """
        known = self._by_call.get(id(trace))
        if known is not None:
            return known
        assert isinstance(trace.definition, syntax.Block)
        for made in self._by_block.get(trace.definition, []):
            try:
                made.structure.require(trace)
            except NotStructuredError:
                continue
            return made
        raise NotStructuredError
