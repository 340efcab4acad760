"""Checks the inputs of a model, and converts them to arrays of its type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netspec import codes
from netspec.compiler.ir.graph import Graph
from netspec.compiler.passes.bind_sizes import match_sizes, match_sizes_of, open_sizes, specialize
from netspec.diagnostics import Diagnostic, NetspecError

Array = NDArray[Any]


class Inputs:
    """The inputs of a net. It is immutable, so threads may share it.

    Args:
        graph: the net.
        dtype: the type of the arrays to return.
    """

    def __init__(self, graph: Graph, dtype: np.dtype[Any]) -> None:
        self._graph, self._dtype = graph, dtype
        self._open = open_sizes(graph)

    def check(self, x: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, Array]:
        """Return a batch as contiguous arrays of the model's type, by the name of the input.

        Raises:
            NetspecError: `model/inputs`, `model/input-shape`, `model/input-type`, `model/places`.
        """
        wanted = self._graph.inputs
        given = (
            x
            if isinstance(x, Mapping)
            else {"one array" if len(wanted) > 1 else next(iter(wanted)): x}
        )
        if set(given) != set(wanted):
            raise NetspecError.simple(
                codes.MODEL_INPUTS,
                f"{self._graph.name} has the inputs {', '.join(wanted)},"
                f" and got {', '.join(map(str, given)) or 'none'}",
                "give a dict of arrays by these names" if len(wanted) > 1 else None,
            )
        arrays = {}
        for name, shape in wanted.items():
            array = np.asarray(given[name])
            if array.ndim == 0:
                array = array.reshape(1)
            expected = ", ".join(["N", *map(str, shape)])
            if match_sizes_of(shape, array.shape[1:]) is None or len(array) == 0:
                raise NetspecError.simple(
                    codes.MODEL_INPUT_SHAPE,
                    f"`{name}` must be of shape [{expected}], not {list(array.shape)}",
                )
            if array.dtype.kind not in "fiub":
                raise NetspecError.simple(
                    codes.MODEL_INPUT_TYPE, f"`{name}` must hold numbers, not {array.dtype}"
                )
            if name in self._graph.whole_inputs:
                require_places(self._graph, name, array)
            arrays[name] = np.ascontiguousarray(array, self._dtype)
        sizes = {name: len(array) for name, array in arrays.items()}
        if len(set(sizes.values())) > 1:
            raise NetspecError.simple(codes.MODEL_INPUTS, f"batches of different sizes: {sizes}")
        return arrays

    def sizes(self, arrays: Mapping[str, Array]) -> dict[str, int]:
        """Return the actual values of the net's open sizes."""
        if not self._open:
            return {}
        return match_sizes(self._graph, {n: a.shape[1:] for n, a in arrays.items()}) or {}

    def sized(self, arrays: Mapping[str, Array]) -> Graph:
        """Return the graph for inputs of these sizes, if the net has open sizes."""
        sizes = self.sizes(arrays)
        return specialize(self._graph, sizes) if sizes else self._graph


def require_places(graph: Graph, name: str, array: Array) -> None:
    """Refuse numbers that are no places: fractions, and those for which a layer has no vector.

    Args:
        graph: the net.
        name: one of its inputs that hold whole numbers.
        array: a batch (N, ...) of that input.

    Raises:
        NetspecError: `model/places`, with the first such number and its place in the batch.
    """
    limit, node = graph.whole_inputs[name]
    wrong = ~((array >= 0) & (array < limit))
    if array.dtype.kind == "f":
        wrong |= array != np.trunc(array)
    if not wrong.any():
        return
    at = tuple(map(int, np.argwhere(wrong)[0]))
    raise NetspecError(
        [
            Diagnostic(
                codes.MODEL_PLACES,
                f"`{name}` holds {array[at]:g} at {list(at)}, and `{node.name}` takes whole numbers"
                f" from 0 to {limit - 1:,}",
                node.origin.span,
            )
        ]
    )
