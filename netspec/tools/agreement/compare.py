"""Compares two traces: how far apart they are, and where they first diverge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph, Node
from netspec.tools.agreement.difference import Distance, distance
from netspec.tools.agreement.limits import Limits
from netspec.tools.agreement.local_reference import LocalReference
from netspec.tools.agreement.quantities import Item, Trace, holders, row_of

Array = NDArray[Any]


@dataclass(frozen=True)
class Side:
    """An evaluator: its name, and what it computed.

    `local` checks each number against the reference's result for the numbers just before it. The
    reference itself has none, because it counts as right; if neither side has one, no difference is
    excused as rounding. `softmax` names the outputs that it gives as probabilities of the net's scores.
    `is_half` says that it has weights of half precision, whatever its outputs are.
    """

    name: str
    trace: Trace
    local: LocalReference | None = None
    softmax: frozenset[str] = frozenset()
    is_half: bool = False


@dataclass(frozen=True)
class ComparedItem:
    """An item to compare, and the nodes whose code computes it."""

    item: Item
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Parting:
    """The first place where two evaluators differ by more than rounding explains.

    `is_within` is True if they are closer than the tolerance, as all numbers there are so small: then
    the difference is a large share of them.
    """

    left: str
    right: str
    checkpoint: ComparedItem
    distance: Distance
    values: tuple[float, float]
    is_within: bool = False

    @property
    def size(self) -> float:
        """How far apart they are: relative to max(1, the largest), or to the largest."""
        return self.distance.share if self.is_within else self.distance.size


MOST_BY_A_KINK = 0.05
"""How much of a gradient one place of a small batch is, which another side of a kink has or has not."""


@dataclass
class Agreement:
    """How far two evaluators are apart.

    Attributes:
        largest: the largest difference of each row that has one.
        excused: the rows with differences beyond the tolerance that rounding explains, with the
            items.
        parting: where they first diverge; None if they agree.
        parted_row: the row of the table that this counts for.
        is_supposed: whether rounding is taken for the reason of differences of gradients, which the
            numbers of one side do not tell.
    """

    left: str
    right: str
    tolerance: float
    largest: dict[str, float] = field(default_factory=dict)
    excused: dict[str, list[Item]] = field(default_factory=dict)
    parting: Parting | None = None
    parted_row: str = ""
    is_supposed: bool = False

    def suppose_rounding(self) -> None:
        """Take rounding for the reason of a small difference of gradients."""
        if self.parting is not None and self.parting.size <= MOST_BY_A_KINK:
            self.parting, self.parted_row = None, ""
            self.is_supposed = True


def compare(
    graph: Graph, left: Side, right: Side, order: Sequence[ComparedItem], limits: Limits
) -> Agreement:
    """Compare the items that both sides have, in order."""
    dtype = _coarser(left, right)
    result = Agreement(left.name, right.name, limits.tolerance_in(dtype))
    for checkpoint in order:
        item = checkpoint.item
        if item not in left.trace or item not in right.trace:
            continue
        a, b = left.trace[item], right.trace[item]
        found = distance(a, b)
        row = row_of(item, graph)
        result.largest[row] = max(result.largest.get(row, 0.0), found.size)
        if result.parting is not None or limits.allow(item, found, dtype):
            continue
        is_within = found.size <= result.tolerance
        judged = [side for side in (left, right) if side.local is not None]
        if judged and all(_is_sound(side, item, limits, dtype) for side in judged):
            if not is_within:
                result.excused.setdefault(row, []).append(item)
        else:
            at = found.index
            values = (float(np.asarray(a)[at]), float(np.asarray(b)[at]))
            result.parting = Parting(left.name, right.name, checkpoint, found, values, is_within)
            result.parted_row = row
    return result


def _coarser(left: Side, right: Side) -> str:
    """Return the coarsest type of the outputs of two sides, and of the weights they come from."""
    if left.is_half or right.is_half:
        return "float16"
    kinds = {
        array.dtype.name
        for side in (left, right)
        for item, array in side.trace.items()
        if item.kind == "output"
    }
    return next((name for name in ("float16", "float32") if name in kinds), "float64")


def _is_sound(side: Side, item: Item, limits: Limits, dtype: str) -> bool:
    """Return True if an item is right, given the numbers just before it."""
    assert side.local is not None
    apart = distance(side.local.expected(item), side.trace[item])
    return limits.allow(item, apart, dtype) or apart.gap <= side.local.rounding(item)


def checkpoints(graph: Graph, items: Sequence[Item], sides: Sequence[Side]) -> list[ComparedItem]:
    """Return the items in order, each with the nodes to look at if the sides differ in it."""
    return [ComparedItem(item, _computed_by(graph, item, sides)) for item in items]


def _computed_by(graph: Graph, item: Item, sides: Sequence[Side]) -> tuple[Node, ...]:
    if item.kind in ("parameter", "buffer"):
        return tuple(holders(graph, item.name))
    if item.kind == "gradient":
        readers = {node.name: node for node in graph.consumers.get(item.name, ())}
        parts = (
            Item("contribution", node.name, i)
            for node in readers.values()
            for i, value in enumerate(node.inputs)
            if value == item.name
        )
        # If all terms of the sum have been compared before, only the sum itself can be wrong.
        summed = all(part in side.trace for part in parts for side in sides)
        if not summed or item.name not in graph.by_name:
            return tuple(readers.values())
    name = graph.outputs.get(item.name, "") if item.kind == "output" else item.name
    return (graph.by_name[name],) if name in graph.by_name else ()
