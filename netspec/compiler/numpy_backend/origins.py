"""Where in a file the layers of a program come from."""

from __future__ import annotations

from netspec.compiler.ir.graph import Graph, Node
from netspec.compiler.numpy_backend.statements import BlockCall, Note, plain
from netspec.diagnostics import Span


class Origins:
    """Tells where the layers of a graph come from. Each is looked up once."""

    def __init__(self, graph: Graph) -> None:
        self._file = graph.span.source if graph.span is not None else None
        self._notes: dict[str, Note] = {}
        self._blocks: dict[str, tuple[BlockCall, ...]] = {}

    def note(self, node: Node) -> Note:
        """Return what a comment says of a layer."""
        if node.name not in self._notes:
            origin = node.origin
            source = plain(origin.call.span.words)
            name = origin.layer or node.name
            note = Note(self._where(origin.span), name, plain(str(node.op)), source)
            self._notes[node.name] = note
        return self._notes[node.name]

    def blocks(self, node: Node) -> tuple[BlockCall, ...]:
        """Return the calls of blocks that a layer is in, outermost first."""
        if node.name not in self._blocks:
            self._blocks[node.name] = tuple(
                BlockCall(f.block, f.path.partition("@")[0], f.path, self._where(f.call))
                for f in node.origin.trace
                if f.call is not None and f.block
            )
        return self._blocks[node.name]

    def _where(self, span: Span) -> str:
        """Return a line of the file of the net, or of one that it imports."""
        own = self._file is None or span.source is self._file
        file = "" if own else f"{plain(span.source.file_name)}, "
        return f"{file}line {span.line}"
