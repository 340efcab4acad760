"""What the reports of comparisons share."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from netspec.compiler.ir.graph import Graph

FEW = 5  # names that are listed one by one
MANY = 12  # groups of names that are listed


def batch_shapes(graph: Graph, batch: int) -> str:
    """Return the inputs with their shapes, such as `image [4, 1, 28, 28]`."""
    return ", ".join(
        f"{name} [{', '.join(map(str, (batch, *shape)))}]" for name, shape in graph.inputs.items()
    )


def finite(value: float) -> float | None:
    """Return the number for JSON: None if it is not finite, because JSON has no infinity."""
    return value if math.isfinite(value) else None


def grouped(names: Iterable[str]) -> str:
    """Return names for a sentence; of many, those that differ in a number of their path as one.

    >>> grouped([f"blocks.{i}.fc.weight" for i in range(12)] + ["head.bias"])
    'blocks.*.fc.weight (12), head.bias'
    """
    known = dict.fromkeys(names)
    if len(known) <= FEW:
        return ", ".join(known)
    groups: dict[str, dict[str, None]] = {}
    for name in known:
        pattern = re.sub(r"(?<![^.])\d+(?![^.])|\d+$", "*", name)
        groups.setdefault(pattern, {})[name] = None
    shown = [
        f"{pattern} ({len(members)})" if len(members) > 1 else next(iter(members))
        for pattern, members in groups.items()
    ]
    more = sum(len(members) for members in list(groups.values())[MANY:])
    return ", ".join(shown[:MANY]) + (f" and {more} more" if more else "")
