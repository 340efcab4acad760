"""Checks the inputs of a model, and converts them to arrays of its type."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netspec import codes
from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.places import Places, limits_of, moves_open, places_read
from netspec.compiler.passes.bind_sizes import match_sizes, match_sizes_of, open_sizes, specialize
from netspec.diagnostics import Diagnostic, NetspecError
from netspec.runtime.data.exchanged_axes import exchanged
from netspec.runtime.data.samples import ONLY, by_input

Array = NDArray[Any]

_Read = dict[str, tuple[Places, ...]]

# For how many sizes of its inputs a net keeps who reads what.
_KEPT_SIZES = 16
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
        self._places: dict[tuple[tuple[str, int], ...], _Read] = {}

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
        found: dict[str, Array] = {}
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
            found[name] = array
        read = self._places_of(found) if self._graph.whole_inputs else {}
        for name, of_name in read.items():
            require_places(of_name, name, found[name])
        arrays = {name: np.ascontiguousarray(array, self._dtype) for name, array in found.items()}
        sizes = {name: len(array) for name, array in arrays.items()}
        if len(set(sizes.values())) > 1:
            raise NetspecError.simple(codes.MODEL_INPUTS, f"batches of different sizes: {sizes}")
        return arrays

    def _places_of(self, arrays: Mapping[str, Array]) -> _Read:
        """Return who reads which numbers of these inputs as places."""
        sizes = self.sizes(arrays) if self._moves_open else {}
        key = tuple(sorted(sizes.items()))
        found = self._places.get(key)
        if found is None:
            if len(self._places) >= _KEPT_SIZES:
                self._places.clear()
            found = places_at(self._graph, {n: a.shape[1:] for n, a in arrays.items()})
            self._places[key] = found  # of two threads, the second replaces it by an equal one
        return found

    @cached_property
    def _moves_open(self) -> bool:
        return moves_open(self._graph)

    def _shape_help(self, name: str, array: Array) -> str | None:
        """Return what to do about an array of another shape; None where nothing is known."""
        if self._graph.input_types.get(name) == "int" or name in self._graph.whole_inputs:
            without = array.shape[1:-1]
            if match_sizes_of(self._graph.inputs[name], without) is not None and is_one_hot(array):
                return f"give the places of the ones: `{name}.argmax(-1)`"
        wanted = self._graph.inputs[name]
        if match_sizes_of(wanted, array.shape) is not None:
            return f"a single one is a batch as `{name}[None]`"
        if moved := exchanged(name, array.shape[1:], wanted):
            return f"the axes stand in another order: {moved}"
        sizes = [size for size in wanted if isinstance(size, int)]
        if len(sizes) == len(wanted) > 1 and array.shape[1:] == (math.prod(sizes),):
            return f"the numbers are flat: `{name}.reshape(-1, {', '.join(map(str, sizes))})`"
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


def places_at(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[Places, ...]]:
    """Return who reads which numbers as places of inputs of these shapes, without the batch."""
    sizes = match_sizes(graph, shapes) if moves_open(graph) else None
    return places_read(specialize(graph, sizes) if sizes else graph)


def draw_whole(
    graph: Graph, name: str, shape: tuple[int, ...], rng: np.random.Generator
) -> NDArray[Any]:
    """Return random numbers for an input of whole numbers or booleans, up to the last place that a layer
    has for them. Columns of it that hold real numbers get standard normal ones.

    Args:
        graph: a net without open sizes.
        name: one of its inputs, which `holds_whole`.
        shape: of the batch (N, ...).
        rng: draws them.
    """
    below = whole_limits(graph)[name]
    if not isinstance(below, np.ndarray):
        return rng.integers(below or _DRAWN_PLACES, size=shape)
    if graph.input_types.get(name) == "int":
        below = np.where(below > 0, below, _DRAWN_PLACES)
    drawn, at = rng.standard_normal(shape), below > 0
    drawn[:, at] = rng.integers(below[at], size=(len(drawn), int(at.sum())))
    return drawn


def whole_limits(graph: Graph) -> dict[str, int | Array | None]:
    """Return the inputs that hold whole numbers from 0, with the number that all are below, or an array
    of such numbers, one for each place of a sample and 0 where any number will do; None where any whole
    number will do.

    Args:
        graph: a net. Where places move along open sizes, the number is the largest of any layer.
    """
    limits: dict[str, int | Array | None] = {
        name: 2 if holds == "bool" else None
        for name, holds in graph.input_types.items()
        if holds != "real"
    }
    if moves_open(graph):
        return limits | dict(graph.whole_inputs)
    return limits | {
        name: limits_of(read, graph.inputs[name]) for name, read in places_read(graph).items()
    }


def input_name(graph: Graph, field: str) -> str:
    """Return the name of the input that a field of samples is for, see `by_input`."""
    return next(iter(graph.inputs)) if field == ONLY else field


def by_net_input(graph: Graph, x: Array) -> dict[str, Array]:
    """Return samples by the names of the net's inputs, see `by_input`."""
    return {input_name(graph, field): each for field, each in by_input(x).items()}


def whole_fields(graph: Graph, fields: Iterable[str]) -> list[str]:
    """Return the fields of samples for inputs of whole numbers or booleans, see `by_input`."""
    return [field for field in fields if holds_whole(graph, input_name(graph, field))]


def holds_whole(graph: Graph, name: str) -> bool:
    """Whether an input holds whole numbers or booleans, at least in some columns."""
    return graph.input_types.get(name, "real") != "real" or name in graph.whole_inputs


def require_real_input(graph: Graph) -> None:
    """Refuse gradients with respect to inputs that all hold whole numbers or booleans.

    Raises:
        NetspecError: `model/input-type`.
    """
    if not graph.real_inputs:
        message = f"the inputs of {graph.name} hold whole numbers, which have no gradients"
        raise NetspecError.simple(
            codes.MODEL_INPUT_TYPE, message, "layers behind them have: those of `embedding`, say"
        )


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


def require_places(read: Iterable[Places], name: str, array: Array) -> None:
    """Refuse numbers that are no places: fractions, and those for which a layer has no vector.

    Args:
        read: who reads which of the input's numbers.
        name: an input.
        array: a batch (N, ...) of it.

    Raises:
        NetspecError: `model/places`, with the first such number and its place in the batch.
    """
    flat = array.reshape(len(array), -1)
    for limit, node, at in read:
        held = flat if at is None else flat[:, at]
        wrong = ~((held >= 0) & (held < limit))
        if held.dtype.kind == "f":
            wrong |= held != np.trunc(held)
        if wrong.any():
            sample, column = map(int, np.argwhere(wrong)[0])
            inside = column if at is None else int(at[column])
            place = [sample, *map(int, np.unravel_index(inside, array.shape[1:]))]
            raise NetspecError(
                [
                    Diagnostic(
                        codes.MODEL_PLACES,
                        f"`{name}` holds {flat[sample, inside]:g} at {place}, and `{node.name}` takes"
                        f" whole numbers from 0 to {limit - 1:,}",
                        node.origin.span,
                    )
                ]
            )
