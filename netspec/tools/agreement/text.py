"""What the reports of comparisons share."""

from __future__ import annotations

import math

from netspec.compiler.ir.graph import Graph


def batch_shapes(graph: Graph, batch: int) -> str:
    """Return the inputs with their shapes, such as `image [4, 1, 28, 28]`."""
    return ", ".join(
        f"{name} [{', '.join(map(str, (batch, *shape)))}]" for name, shape in graph.inputs.items()
    )


def finite(value: float) -> float | None:
    """Return the number for JSON: None if it is not finite, because JSON has no infinity."""
    return value if math.isfinite(value) else None
