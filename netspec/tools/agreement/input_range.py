"""Inputs in the range that a net is for, where it says that by what it subtracts and divides by.

A net that begins with (x - 5000) / 50 takes numbers near 5000. Standard normal ones would all be about
-100 behind the division: its outputs would hardly depend on them, and hide what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph, Node
from netspec.compiler.ir.op import Evaluation
from netspec.runtime.models.inputs import whole_limits

Array = NDArray[Any]

# Standard normal numbers that are scaled and moved by no more than this are fine as they are.
LEAST_SCALE, MOST_SCALE, MOST_SHIFT = 0.25, 4.0, 2.0
# Numbers that are scaled by less or more than this have no usual range.
_TINY, _HUGE = 1e-12, 1e12
_EXACT = 1e-9
_PROBES = 4


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """Numbers of an input as a value has them, each multiplied and added to: scale x + shift.

    Attributes:
        name: the input.
        at: the place of each number in a sample of the input, row-major; of the value's shape.
        scale, shift: of the value's shape.
    """

    name: str
    at: Array
    scale: Array
    shift: Array

    @property
    def is_usual(self) -> bool:
        """Whether standard normal numbers stay near 0 and neither vanish nor explode, or no others
        would do better.
        """
        size = np.abs(self.scale)
        if not (np.isfinite(self.shift).all() and ((size > _TINY) & (size < _HUGE)).all()):
            return True
        return bool(
            ((size >= LEAST_SCALE) & (size <= MOST_SCALE)).all()
            and (np.abs(self.shift) <= MOST_SHIFT).all()
        )


def in_range(
    graph: Graph, inputs: Mapping[str, Array], parameters: Mapping[str, Array]
) -> dict[str, Array]:
    """Return standard normal inputs so moved and scaled that they are standard normal where a net has
    subtracted what it subtracts of them, and multiplied and divided by what it does: stored arrays,
    numbers, and the running statistics of a batch norm.

    Args:
        graph: a net without open sizes.
        inputs: (N, ...) by name; whole numbers in them stay as they are.
        parameters: all arrays of the net, by their full names.
    """
    found = dict(inputs)
    limits = whole_limits(graph)
    for read, readers in _ends(graph, parameters):
        below = limits.get(read.name, 0)
        whole = np.broadcast_to(
            np.asarray(1 if below is None else below) > 0, graph.inputs[read.name]
        )
        drawn = inputs[read.name].reshape(len(inputs[read.name]), -1)
        moved = found[read.name].reshape(drawn.shape).astype(np.float64)
        free = ~whole.ravel()[read.at.ravel()]
        at = read.at.ravel()[free]
        wanted = drawn[:, at]
        if any(node.op.needs_positive for node in readers):
            wanted = 0.5 + np.abs(wanted)
        moved[:, at] = (wanted - read.shift.ravel()[free]) / read.scale.ravel()[free]
        found[read.name] = moved.reshape(inputs[read.name].shape)
    return found


def _ends(
    graph: Graph, parameters: Mapping[str, Array]
) -> Iterator[tuple[_Read, tuple[Node, ...]]]:
    """Yield the values that are unusual readings of inputs and that other layers read, with these."""
    reads = {name: _as_it_is(graph, name) for name in graph.real_inputs}
    stored: dict[str, Array] = {}
    for node in graph.nodes:
        places = any(node.op.whole_numbers(i) is not None for i in range(len(node.inputs)))
        if places or node.op.macs(*graph.shapes_into(node)):
            continue
        own = {name: parameters[full] for name, full in node.parameters.items()}
        run = Evaluation(node, training=False, parameters=own)
        read = {value for value in node.inputs if value in reads}
        if node.op.reads_batch_alone:
            stored[node.name] = node.op.forward(run, np.zeros((_PROBES, 1)))
        elif all(value in stored for value in node.inputs):
            stored[node.name] = node.op.forward(run, *(stored[value] for value in node.inputs))
        elif len(read) == 1 and all(value in stored or value in read for value in node.inputs):
            found = _behind(node, run, reads[read.pop()], stored)
            if found is not None:
                reads[node.name] = found
    outputs = set(graph.outputs.values())
    for value, each in reads.items():
        readers = tuple(n for n in graph.consumers.get(value, ()) if n.name not in reads)
        if (readers or value in outputs) and not each.is_usual:
            yield each, readers


def _as_it_is(graph: Graph, name: str) -> _Read:
    shape = graph.inputs[name]
    at = np.arange(int(np.prod(shape, dtype=np.int64))).reshape(shape)
    return _Read(name, at, np.ones(shape), np.zeros(shape))


def _behind(node: Node, run: Evaluation, read: _Read, stored: Mapping[str, Array]) -> _Read | None:
    """Return what a node gives of a reading, if it moves the numbers, or multiplies and adds to each."""
    if node.op.only_moves:
        if len(node.inputs) > 1:
            return None
        moved = (
            node.op.forward(run, array[None].astype(np.float64))[0]
            for array in (read.at, read.scale, read.shift)
        )
        at, scale, shift = moved
        return _Read(read.name, at.astype(np.int64), scale, shift)
    shape = read.at.shape
    if len(shape) != len(node.shape) or any(
        own not in (1, size) for own, size in zip(shape, node.shape, strict=True)
    ):
        return None
    rng = np.random.default_rng(0)
    zeros, ones = np.zeros(shape), np.ones(shape)
    probes = np.stack([zeros, ones, rng.standard_normal(shape), 1e3 * rng.standard_normal(shape)])
    with np.errstate(all="ignore"):  # of functions that have no value there
        y = node.op.forward(run, *(stored.get(value, probes) for value in node.inputs))
        factor, summand = y[1] - y[0], y[0]
        line = factor * probes + summand
        if not (np.abs(y - line) <= _EXACT * (np.abs(factor * probes) + np.abs(summand))).all():
            return None
        at = np.broadcast_to(read.at, node.shape)
        return _Read(read.name, at, factor * read.scale, factor * read.shift + summand)
