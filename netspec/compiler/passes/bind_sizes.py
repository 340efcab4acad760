"""Gives numbers to the sizes that a net leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from netspec.compiler.ir.graph import Graph, Node, Shape, show_shape
from netspec.compiler.ir.op import ShapeError
from netspec.compiler.ir.scan_body import with_inputs
from netspec.compiler.ir.sizes import Dim, Size, at, names_in
from netspec.diagnostics import NetspecError


def open_sizes(graph: Graph) -> set[str]:
    """Return the names of the sizes that a graph leaves open."""
    return names_in(dim for shape in graph.inputs.values() for dim in shape)


def match_sizes(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int] | None:
    """Return the open sizes with which the net's inputs have these shapes; None if there are none."""
    sizes: dict[str, int] = {}
    for name, shape in graph.inputs.items():
        found = match_sizes_of(shape, shapes[name])
        if found is None or any(sizes.setdefault(n, size) != size for n, size in found.items()):
            return None
    return sizes


def match_sizes_of(shape: Shape, given: tuple[int, ...]) -> dict[str, int] | None:
    """Return the open sizes with which one symbolic shape equals the given one; None if there are
    none.
    """
    sizes: dict[str, int] = {}
    if len(given) != len(shape):
        return None
    for dim, number in zip(shape, given, strict=True):
        if isinstance(dim, Size):
            if sizes.setdefault(str(dim), number) != number:
                return None
        elif dim != number:
            return None
    return sizes


def specialize(graph: Graph, sizes: Mapping[str, Dim]) -> Graph:
    """Return the graph with numbers, or other sizes, for its open sizes.

    Raises:
        NetspecError: if a layer cannot take images of that size.
    """
    inputs = {name: _numbers(shape, sizes) for name, shape in graph.inputs.items()}

    def misfit(node: Node, error: ShapeError) -> NetspecError:
        given = " and ".join(show_shape(shape) for shape in inputs.values())
        where = node.origin.span.where
        return NetspecError.simple(
            error.code, f"with an input of {given}, `{node.name}` at {where}: {error.message}"
        )

    return with_inputs(graph, inputs, misfit)


def _numbers(shape: Shape, sizes: Mapping[str, Dim]) -> Shape:
    return tuple(cast(int, dim) for dim in at(shape, sizes))
