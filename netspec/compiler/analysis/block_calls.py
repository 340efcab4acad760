"""The calls of blocks that layers are part of."""

from __future__ import annotations

from netspec.compiler.ir.graph import Node
from netspec.records import record
from netspec.text.table import end_cut

_MAX_CALL = 80


@record(slots=True)
class BlockCall:
    """A call of a block.

    Attributes:
        block: the name of the block.
        path: what the names of its layers begin with.
        call: the block with its arguments; the end is cut off a long one.
    """

    block: str
    path: str
    call: str


def calls_of(node: Node) -> tuple[BlockCall, ...]:
    """The calls that a layer is part of, the outermost first. An inline block makes none."""
    return tuple(
        BlockCall(frame.block, frame.path, _shown(frame.text.removeprefix("block ")))
        for frame in node.origin.trace
        if frame.block
    )


def _shown(call: str) -> str:
    return call if len(call) <= _MAX_CALL else end_cut(call, _MAX_CALL)
