"""Expresses the numbers of a layer in terms of the class that contains it.

The constructor computes with the class's arguments. `forward` computes with sizes of its tensors
where possible (`x.shape[1]`), so that one class works for inputs of any size, and otherwise with
arguments that the object keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, cast

from netspec.compiler.ir.op import Torch
from netspec.compiler.ir.sizes import Dim, Size
from netspec.compiler.torch_backend.symbolic_numbers import SymbolicFloat, SymbolicInt
from netspec.records import record


@record
class Symbol:
    """A fractional argument of the class."""

    name: str


def local(value: Any) -> Any:
    """Return a number of a PyTorch expression in the arguments of its class."""
    if isinstance(value, SymbolicInt):
        return value.local
    if isinstance(value, SymbolicFloat):
        return Symbol(value.local)
    return value


class Extents:
    """The sizes of a layer's inputs that depend on arguments, under the names `INPUT.AXIS`.

    `side` gives a number in the arguments of the class.
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], side: Callable[[Any], Any]) -> None:
        self.side = side
        self.shapes = shapes

    @cached_property
    def known(self) -> dict[Dim, Dim]:
        """What sizes and products of sizes are called."""
        known: dict[Dim, Dim] = {}
        for index, shape in enumerate(self.shapes):
            dims = [self.side(dim) for dim in shape]
            names: list[Dim] = [
                cast(Dim, Size.named(f"{index}.{axis}")) if isinstance(dim, Size) else dim
                for axis, dim in enumerate(dims, start=1)
            ]
            # With an open size, a product no longer records which arguments the other factors depend on.
            plain = [int(dim) if isinstance(dim, int) else dim for dim in shape]
            each = zip(_products(names), _products(dims), _products(plain), strict=True)
            for extent, *wholes in each:
                for whole in wholes:
                    if isinstance(whole, Size):
                        known.setdefault(whole, extent)
        return known

    def of(self, value: Any) -> Any:
        """Return a number with sizes of inputs in place of the expressions that they equal."""
        if isinstance(value, tuple):
            return tuple(map(self.of, value))
        value = self.side(value)
        if not isinstance(value, Size):
            return value
        if value in self.known:
            return self.known[value]
        single = {}
        for name in value.names():
            extent = self.known.get(cast(Dim, Size.named(name)))
            if extent is not None:
                single[name] = extent
        return value.at(cast(Mapping[str, int], single))


def _products(sizes: Sequence[Dim]) -> Iterator[Dim]:
    """Yield the sizes, then the products of two axes that follow on one another, then of three: reshaping
    joins axes.
    """
    found = list(sizes)
    while found:
        yield from found
        more = len(sizes) - len(found) + 1
        found = [size * sizes[at] for at, size in enumerate(found[:-1], start=more)]


def is_extent(name: str) -> bool:
    """Whether a name in a size stands for the size of an input."""
    return name[0].isdigit()


def names_in(part: Any) -> set[str]:
    """Return the names in an expression: arguments, open sizes, and sizes of inputs."""
    if isinstance(part, Size):
        return part.names()
    if isinstance(part, Symbol):
        return {part.name}
    if isinstance(part, Torch):
        return names_in((part.arguments, part.options, part.inputs))
    if isinstance(part, Mapping):
        return names_in(tuple(part.values()))
    if isinstance(part, (tuple, list)):
        return set().union(*(names_in(item) for item in part))
    return set()
