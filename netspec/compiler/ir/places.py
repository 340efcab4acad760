"""Which numbers of an input the layers read as places, such as the rows of a table.

A net may move its input before it is read: the columns of one input may go to tables of different
lengths. So the layers that only move numbers are evaluated on the positions of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph, Node
from netspec.compiler.ir.op import Evaluation
from netspec.compiler.ir.sizes import names_in

Positions = NDArray[np.int64]

# The position of a number that was computed, and comes from no input.
_COMPUTED = -1
# Above every number of places.
_ANY = np.iinfo(np.int64).max


class Places(NamedTuple):
    """How many whole numbers, from 0, a node takes, and which numbers of an input it gets.

    `at` are their positions in a sample of the input, row-major; None for all of them.
    """

    limit: int
    node: Node
    at: Positions | None


def places_read(graph: Graph) -> dict[str, tuple[Places, ...]]:
    """Return who reads numbers of an input as places, by the input; without those that nobody reads so.

    Args:
        graph: a net. Where `moves_open`, its open sizes must have become numbers.
    """
    moved = _Moved(graph)
    found: dict[str, list[Places]] = {}
    for node in graph.nodes:
        reads = [(index, value) for index, value in enumerate(node.inputs) if value in moved]
        shapes = graph.shapes_into(node) if reads else ()
        for index, value in reads:
            for limit, at in node.op.places(index, *shapes):
                for name, own in moved.origins(value, at):
                    found.setdefault(name, []).append(Places(limit, node, own))
    return {name: tuple(found[name]) for name in graph.inputs if name in found}


def moves_open(graph: Graph) -> bool:
    """Whether who reads which places may depend on sizes that are open."""
    moved = _Moved(graph)
    return any(map(names_in, graph.inputs.values())) and any(
        value in moved
        and node.op.whole_numbers(index) is not None
        and (value not in graph.inputs or node.op.inner_layers())
        for node in graph.nodes
        for index, value in enumerate(node.inputs)
    )


def holds_only_whole(graph: Graph, name: str) -> bool:
    """Whether all that is read of an input is whole numbers or booleans."""
    if graph.input_types.get(name, "real") != "real":
        return True
    return name in graph.whole_inputs and (moves_open(graph) or not _is_read_otherwise(graph, name))


def _is_read_otherwise(graph: Graph, name: str) -> bool:
    """Whether layers or outputs get numbers of an input that no layer reads as places."""
    parts = [places.at for places in places_read(graph)[name]]
    known = [at for at in parts if at is not None]
    if len(known) < len(parts):
        return False
    moved, whole = _Moved(graph), np.concatenate(known)
    others = [
        value
        for node in graph.nodes
        if not node.op.only_moves
        for index, value in enumerate(node.inputs)
        if value in moved and node.op.whole_numbers(index) is None
    ]
    return any(
        owner == name and (own is None or not np.isin(own, whole).all())
        for value in (*others, *graph.outputs.values())
        if value in moved
        for owner, own in moved.origins(value, None)
    )


def limits_of(read: tuple[Places, ...], shape: tuple[int, ...]) -> int | Positions:
    """Return below which number each number of an input is: one for all, or an array of the shape of a
    sample, with 0 where any number will do.
    """
    if all(places.at is None for places in read):
        return min(places.limit for places in read)
    limits = np.full(prod(shape), _ANY)
    for limit, _, at in read:
        own = slice(None) if at is None else at
        limits[own] = np.minimum(limits[own], limit)
    if limits.min() == limits.max():
        return int(limits[0])
    limits[limits == _ANY] = 0
    return limits.reshape(shape)


class _Moved:
    """The values of a net that hold numbers of its inputs, only in other places."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._names = set(graph.inputs)
        for node in graph.nodes:
            if node.op.only_moves and not self._names.isdisjoint(node.inputs):
                self._names.add(node.name)
        self._positions: dict[str, Positions] = {}

    @cached_property
    def _starts(self) -> dict[str, int]:
        """The first position of each input."""
        counts = map(prod, self._graph.inputs.values())
        return dict(zip(self._graph.inputs, accumulate(counts, initial=0), strict=False))

    def __contains__(self, value: str) -> bool:
        return value in self._names

    def origins(self, value: str, at: Positions | None) -> Iterator[tuple[str, Positions | None]]:
        """Yield the inputs that numbers of a value come from, and their positions there.

        Args:
            value: one of these values.
            at: positions in it, row-major; None for all.
        """
        if value in self._graph.inputs:
            yield value, at
            return
        found = self._of(value).reshape(-1)
        found = np.unique(found if at is None else found[at])
        for name, start in self._starts.items():
            own = found[(found >= start) & (found < start + prod(self._graph.inputs[name]))]
            if own.size:
                yield name, own - start

    def _of(self, value: str) -> Positions:
        """Return where the numbers of a value come from, (1, ...): a position among those of all
        inputs, one input behind the other.
        """
        if value not in self._positions:
            self._positions[value] = self._computed(value)
        return self._positions[value]

    def _computed(self, value: str) -> Positions:
        graph = self._graph
        if value in graph.inputs:
            shape = graph.inputs[value]
            return self._starts[value] + np.arange(prod(shape)).reshape(1, *shape)
        node = graph.by_name[value]
        if value not in self:
            return np.full((1, *node.shape), _COMPUTED)
        given: list[NDArray[Any]] = [self._of(each) for each in node.inputs]
        run = Evaluation(node, training=False, parameters={})
        return np.asarray(node.op.forward(run, *given), np.int64)
