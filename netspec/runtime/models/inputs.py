"""Checks the inputs of a model, and converts them to arrays of its type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netspec import codes
from netspec.compiler.ir.graph import Graph
from netspec.compiler.passes.bind_sizes import match_sizes, match_sizes_of, open_sizes, specialize
from netspec.diagnostics import Diagnostic, NetspecError
from netspec.runtime.data.samples import ONLY

Array = NDArray[Any]

# Whole numbers that no reader limits are drawn below this one.
_DRAWN_PLACES = 4


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
                    self._shape_help(name, array),
                )
            if array.dtype.kind not in "fiub":
                raise NetspecError.simple(
                    codes.MODEL_INPUT_TYPE, f"`{name}` must hold numbers, not {array.dtype}"
                )
            require_type(self._graph, name, array)
            if name in self._graph.whole_inputs:
                require_places(self._graph, name, array)
            arrays[name] = np.ascontiguousarray(array, self._dtype)
        sizes = {name: len(array) for name, array in arrays.items()}
        if len(set(sizes.values())) > 1:
            raise NetspecError.simple(codes.MODEL_INPUTS, f"batches of different sizes: {sizes}")
        return arrays

    def _shape_help(self, name: str, array: Array) -> str | None:
        """Return what to do about an array of another shape; None where nothing is known."""
        if self._graph.input_types.get(name) == "int" or name in self._graph.whole_inputs:
            without = array.shape[1:-1]
            if match_sizes_of(self._graph.inputs[name], without) is not None and is_one_hot(array):
                return f"give the places of the ones: `{name}.argmax(-1)`"
        return None

    def sizes(self, arrays: Mapping[str, Array]) -> dict[str, int]:
        """Return the actual values of the net's open sizes."""
        if not self._open:
            return {}
        return match_sizes(self._graph, {n: a.shape[1:] for n, a in arrays.items()}) or {}

    def sized(self, arrays: Mapping[str, Array]) -> Graph:
        """Return the graph for inputs of these sizes, if the net has open sizes."""
        sizes = self.sizes(arrays)
        return specialize(self._graph, sizes) if sizes else self._graph


def places_of(graph: Graph, name: str) -> int | None:
    """Return below which number an input's whole numbers or booleans are, to draw some; None for real
    numbers.
    """
    limits = whole_limits(graph)
    return (limits[name] or _DRAWN_PLACES) if name in limits else None


def whole_limits(graph: Graph) -> dict[str, int | None]:
    """Return the inputs that hold whole numbers from 0, with the number that all are below; None where
    any whole number will do.
    """
    limits: dict[str, int | None] = {
        name: 2 if holds == "bool" else None
        for name, holds in graph.input_types.items()
        if holds != "real"
    }
    return limits | {name: places.limit for name, places in graph.whole_inputs.items()}


def input_name(graph: Graph, field: str) -> str:
    """Return the name of the input that a field of samples is for, see `by_input`."""
    return next(iter(graph.inputs)) if field == ONLY else field


def whole_fields(graph: Graph, fields: Iterable[str]) -> list[str]:
    """Return the fields of samples for inputs of whole numbers or booleans, see `by_input`."""
    whole = whole_limits(graph)
    return [field for field in fields if input_name(graph, field) in whole]


def require_type(graph: Graph, name: str, array: Array) -> None:
    """Refuse fractions where whole numbers are declared, and all but 0 and 1 where booleans are.

    Args:
        graph: the net.
        name: one of its inputs.
        array: a batch (N, ...) of that input.

    Raises:
        NetspecError: `model/input-type`, with the first such number and its place in the batch.
    """
    holds = graph.input_types.get(name, "real")
    if holds == "real" or array.dtype.kind == "b":
        return
    if holds == "int":
        wrong = array != np.trunc(array) if array.dtype.kind == "f" else np.False_
        wanted = "whole numbers"
    else:
        wrong, wanted = (array != 0) & (array != 1), "booleans"
    if np.any(wrong):
        at = tuple(map(int, np.argwhere(wrong)[0]))
        message = f"`{name}` must hold {wanted}, and holds {array[at]:g} at {list(at)}"
        raise NetspecError.simple(codes.MODEL_INPUT_TYPE, message)


def is_one_hot(array: Array) -> bool:
    """Whether an array has a single 1 along its last axis, and 0 elsewhere."""
    return bool(((array == 0) | (array == 1)).all() and (array.sum(-1) == 1).all())


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
