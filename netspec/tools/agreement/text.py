"""What the reports of an agreement have in common."""

from __future__ import annotations

import math

from netspec.compiler.ir.graph import Graph


def batch_shapes(graph: Graph, batch: int) -> str:
    """The inputs with their shapes, such as `image [4, 1, 28, 28]`."""
    return ", ".join(
        f"{name} [{', '.join(map(str, (batch, *shape)))}]" for name, shape in graph.inputs.items()
    )


def finite(value: float) -> float | None:
    """The number for JSON, which has no infinity: null then."""
    return value if math.isfinite(value) else None
