"""The limit on the layers of nets of which programs are made."""

from __future__ import annotations

from netspec import codes
from netspec.compiler.ir.graph import Graph
from netspec.diagnostics import NetspecError

# A line of a file can ask for tens of thousands of layers. Writing a program takes a millisecond for
# each, and a PyTorch module two and a half. ResNet-1202, the deepest net that was published with
# results, has 4,200.
MAX_LAYERS = 5_000
# A standalone file holds two programs, and their parts are linked.
MAX_STANDALONE = 2_000


def require_few_layers(
    graph: Graph, most: int = MAX_LAYERS, what: str = "programs are made"
) -> None:
    """Check that a program can be made of a graph in short time.

    Raises:
        NetspecError: `limit/layers`.
    """
    count = sum(1 + node.op.inner_layers() for node in graph.nodes)
    if count > most:
        message = f"{graph.name} has {count:,} layers"
        help = f"{what} of nets of up to {most:,}"
        raise NetspecError.simple(codes.LIMIT_LAYERS, message, help)
