"""The classes of a net's blocks."""

from __future__ import annotations

from collections.abc import Iterable

from netspec import codes
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.block_class import BlockClass
from netspec.compiler.torch_backend.structured.calls import BlockCall, Known, Ran
from netspec.compiler.torch_backend.structured.structure import NotStructuredError
from netspec.diagnostics import Diagnostic, NetspecError, Span


class Classes:
    """The classes of the blocks that a body calls, by the statement or by the path of the call; and the
    layers that give nothing that is read.

    Args:
        homes: all classes.
        by_path: whether each call has a statement of its own.
    """

    def __init__(self, homes: Homes, *, by_path: bool) -> None:
        self._homes = homes
        self._by_path = by_path
        self._known: dict[Span | str, BlockClass | None] = {}
        self._read: set[Span] = set()
        self._unread: set[Span] = set()

    def is_unread(self, span: Span) -> bool:
        """Whether nothing needs what the layer of a statement gives."""
        return span in self._unread - self._read

    def meet(self, ran: Ran) -> None:
        """Know the calls of a body.

        Raises:
            NotStructuredError: if what is one has to be several.
            NetspecError: `compile/shared-block` for a shared block that has to be several.
        """
        mine: dict[str, BlockClass] = {}
        for call in ran.calls:
            home = self._homes.of(call)
            if self._by_path and mine.setdefault(call.path, home) is not home:
                raise several_objects(call.path, call.span)
            if self._known.setdefault(self._key(call.span, call.path), home) is not home:
                raise NotStructuredError
        self._read |= {layer.span for layer in ran.layers}
        self._unread |= ran.unread_layers
        for path, span in ran.unread.items():
            self._known.setdefault(self._key(span, path), None)

    def of(self, block: syntax.Block, span: Span, path: str) -> BlockClass | None:
        """The class that a call is one of; None if nothing needs what the call gives.

        Raises:
            NotStructuredError: if it is not known which.
        """
        key = self._key(span, path)
        return self._known[key] if key in self._known else self._homes.only(block)

    def _key(self, span: Span, path: str) -> Span | str:
        return path if self._by_path else span


def several_objects(path: str, span: Span) -> NetspecError:
    """The error for a shared block whose calls need several objects."""
    message = f"`{path}` would need a separate PyTorch module for each of its calls"
    note = "its layers depend on the sizes of its inputs, which differ"
    return NetspecError([Diagnostic(codes.COMPILE_SHARED_BLOCK, message, span, notes=(note,))])


class Homes:
    """Which class a call of a block is one of. Most blocks have one for all of their calls.

    Attributes:
        all: the classes, each behind those that it uses.
        known: what bodies did that nothing follows.
    """

    def __init__(self) -> None:
        self.all: list[BlockClass] = []
        self.known = Known()
        self._by_block: dict[syntax.Block, list[BlockClass]] = {}
        self._by_call: dict[int, BlockClass] = {}

    def add(self, made: BlockClass) -> None:
        """A class is there, for these calls of the file."""
        self.all.append(made)
        self._by_block.setdefault(made.definition, []).append(made)
        self._by_call |= {id(call): made for call in made.calls}

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

    def classes(self, bodies: Iterable[Ran], *, by_path: bool) -> Classes:
        """The classes of the blocks that these bodies call."""
        found = Classes(self, by_path=by_path)
        for ran in bodies:
            found.meet(ran)
        return found

    def of(self, call: BlockCall) -> BlockClass:
        """The class that does what a call does.

        Raises:
            NotStructuredError: if there is none.
        """
        known = self._by_call.get(id(call))
        if known is not None:
            return known
        for made in self._by_block.get(call.block, []):
            try:
                made.structure.require(call)
            except NotStructuredError:
                continue
            return made
        raise NotStructuredError
