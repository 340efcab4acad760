"""What a C file will take of a small machine's memory: it follows from the net, not from its weights."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.c_backend.about_file import INT8_STACK_BYTES, STACK_BYTES
from netspec.compiler.c_backend.emit import COptions, CSource, c_source
from netspec.compiler.c_backend.int8.int8_file import Int8Options, int8_source
from netspec.compiler.c_backend.int8.quantize import quantized
from netspec.compiler.ir.graph import Graph, Node
from netspec.compiler.ir.input_scale import InputScale
from netspec.records import record

# What numbers of a file, or of the caller's arrays, are.
Kind = Literal["float32", "float64", "int8"]
NUMBER_BYTES: Mapping[Kind, int] = {"float32": 4, "float64": 8, "int8": 1}


@record
class CSizes:
    """The bytes of a C file's arrays.

    Attributes:
        kind: what numbers are.
        weights: constants, or the file beside it, with what normalises the input.
        arena: the values in between, placed by their lifetimes.
        numbers: how many numbers the caller's inputs and outputs are, by name.
        called_with: what the numbers of the caller's arrays are that count. A file in whole numbers has
            functions for both: `predict` takes floats, and `predict_int8` whole numbers.
        peak: the layer at which most of the arena is in use; None if there is none.
        held: the bytes of each value that is in the arena there, the largest first.
        macs: multiply-adds for an image.
    """

    kind: Kind
    weights: int
    arena: int
    numbers: Mapping[str, int]
    called_with: Kind
    peak: Node | None
    held: Mapping[str, int]
    macs: int

    @property
    def arrays(self) -> dict[str, int]:
        """The bytes of the caller's inputs and outputs, by name."""
        return self.arrays_of(self.called_with)

    def arrays_of(self, kind: Kind) -> dict[str, int]:
        """Return the bytes of the caller's arrays of numbers of this kind, by name."""
        return {name: NUMBER_BYTES[kind] * count for name, count in self.numbers.items()}

    @property
    def ram(self) -> int:
        """The arena and the caller's arrays. The stack comes on top."""
        return self.ram_of(self.called_with)

    def ram_of(self, kind: Kind) -> int:
        """Return the arena and the caller's arrays of numbers of this kind."""
        return self.arena + sum(self.arrays_of(kind).values())

    @property
    def other_calls(self) -> Kind | None:
        """What the file's other functions take; None if they all take the same."""
        if self.kind != "int8":
            return None
        return "float32" if self.called_with == "int8" else "int8"

    @property
    def stack(self) -> int:
        """The most bytes of stack, as the header says."""
        return INT8_STACK_BYTES if self.kind == "int8" else STACK_BYTES


def c_sizes(
    graph: Graph,
    kind: Kind = "float32",
    by: InputScale | None = None,
    pixels: InputScale | None = None,
) -> CSizes:
    """Return the sizes of the C file that predicts: it is written, with other weights.

    Args:
        graph: a checked graph whose sizes are all known.
        kind: what numbers are.
        by: how a file that takes numbers as the data have them normalises them, for which the arrays
            of floats count in a file in whole numbers too; None for a file that does not.
        pixels: how a file in whole numbers normalises bytes; None if it takes none.

    Raises:
        NetspecError: `compile/no-c` for each layer that has no form, and for open sizes.
    """
    source = _source(graph, kind, by, pixels)
    arrays = {name: math.prod(shape) for name, shape in graph.inputs.items()}
    for name, value in graph.outputs.items():
        # An output may have the name of an input.
        arrays[name] = arrays.get(name, 0) + math.prod(graph.shape_of(value))
    called_with: Kind = "float32" if kind == "int8" and by is not None else kind
    peak = None if source.peak is None else _written(graph, source.peak)
    return CSizes(
        kind, source.constant_bytes, source.arena_bytes, arrays, called_with, peak,
        _held(graph, source, NUMBER_BYTES[kind]), source.macs,
    )  # fmt: skip


def _held(graph: Graph, source: CSource, number_bytes: int) -> dict[str, int]:
    """Return the bytes of each layer's and input's values at the peak, the largest first."""
    found: dict[str, int] = defaultdict(int)
    for name, count in source.held.items():
        owner = name.rpartition(".")[0]
        known = name not in graph.by_name and (owner in graph.by_name or owner in graph.inputs)
        found[owner if known else name] += number_bytes * count
    return dict(sorted(found.items(), key=lambda each: -each[1]))


def _written(graph: Graph, node: Node) -> Node:
    """Return the layer of the file that a layer of the plan is a part of, of the same call of a block."""
    if node.name in graph.by_name:
        return graph.by_name[node.name]
    same = [each for each in graph.nodes if each.origin.span == node.origin.span]
    named = (each for each in same if node.name.startswith(f"{each.name}."))
    return next(named, next(iter(same), node))


def _source(graph: Graph, kind: Kind, by: InputScale | None, pixels: InputScale | None) -> CSource:
    # Equal arrays of a file are one, so that trained numbers are no zeros here either.
    some: dict[str, NDArray[Any]] = {
        name: np.linspace(0.5, 1, p.size).reshape(p.shape) if p.trainable else np.zeros(p.shape)
        for name, p in graph.parameters.items()
    }
    if kind != "int8":
        return c_source(graph, some, COptions(dtype=kind, input_scale=by))
    # Any ranges do: scales are numbers of the same size.
    net = quantized(graph, some, defaultdict(lambda: (-1.0, 1.0)))
    return int8_source(net, Int8Options(input_scale=by, pixels=pixels))
