"""Along what a net is probed: whole parameters in random directions, or single elements."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from netspec.diagnostics import plural

Array = NDArray[Any]

# The first step of a probe, as a part of what is moved.
STEP = 1e-3


@dataclass(frozen=True, slots=True)
class ProbePart:
    """How one array moves when the distance along a direction is 1."""

    kind: Literal["parameter", "input"]
    name: str
    array: Array


@dataclass(frozen=True, slots=True)
class Direction:
    """A direction of length 1. `scale` is the size of the values along it, where steps are taken."""

    parts: tuple[ProbePart, ...]
    scale: float

    def slope(self, gradients: Mapping[tuple[str, str], Array]) -> float:
        """What gradients say the slope is: their product with the direction."""
        return sum(
            float(np.vdot(gradients[part.kind, part.name], part.array)) for part in self.parts
        )


@dataclass(frozen=True)
class Target:
    """What a row of the report is about: one array, or several that are moved together."""

    kind: Literal["parameter", "input"]
    names: tuple[str, ...]
    values: tuple[Array, ...]

    @property
    def title(self) -> str:
        """What the row is called."""
        count = len(self.names)
        return self.names[0] if count == 1 else plural(count, "parameter")

    @property
    def size(self) -> int:
        """The number of elements."""
        return sum(array.size for array in self.values)

    def directions(self, count: int, rng: np.random.Generator) -> Iterator[Direction]:
        """`count` random directions of length 1, in which every element moves.

        Of several arrays each moves in proportion to its own size.
        """
        length = float(np.sqrt(sum(float(np.vdot(a, a)) for a in self.values))) or 1.0
        for _ in range(count):
            drawn = [rng.standard_normal(a.shape) * spread(a) for a in self.values]
            norm = float(np.sqrt(sum(float(np.vdot(u, u)) for u in drawn)))
            parts = zip(self.names, drawn, strict=True)
            yield Direction(tuple(ProbePart(self.kind, n, u / norm) for n, u in parts), length)

    def elements(self, count: int | None, rng: np.random.Generator) -> Iterator[Direction]:
        """`count` different elements drawn at random, or all of them in order."""
        sizes = np.cumsum([array.size for array in self.values])
        if count is None or count >= self.size:
            chosen: Sequence[int] = range(self.size)
        else:
            chosen = sorted(int(i) for i in rng.choice(self.size, count, replace=False))
        for flat in chosen:
            at = int(np.searchsorted(sizes, flat, side="right"))
            array = self.values[at]
            unit = np.zeros(array.shape)
            unit.flat[flat - (sizes[at] - array.size)] = 1.0
            yield Direction((ProbePart(self.kind, self.names[at], unit),), spread(array))


def spread(array: Array) -> float:
    """The root of the mean square; 1 for zeros."""
    return float(np.sqrt(np.mean(np.square(array)))) or 1.0


@dataclass(frozen=True)
class Probing:
    """How a target is probed.

    Attributes:
        seed: of the directions.
        directions: how many random directions.
        elements: in their place, so many random elements.
        full: in their place, every element.
    """

    seed: int
    directions: int
    elements: int | None = None
    full: bool = False

    def directions_of(self, target: Target) -> Iterator[Direction]:
        """Along what a target is probed: the same each time."""
        rng = np.random.default_rng([self.seed, 8, zlib.crc32("/".join(target.names).encode())])
        if self.full or self.elements:
            return target.elements(None if self.full else self.elements, rng)
        return target.directions(self.directions, rng)
