"""The directions in which a net is probed: whole parameters in random directions, or single elements."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from netspec.diagnostics import plural

Array = NDArray[Any]

# The first step of a probe, relative to what is moved.
STEP = 1e-3


@dataclass(frozen=True, slots=True)
class ProbePart:
    """How one array changes when the distance along a direction is 1."""

    kind: Literal["parameter", "input"]
    name: str
    array: Array


@dataclass(frozen=True, slots=True)
class Direction:
    """A direction of length 1.

    `scale` is the size of the values along it, to which steps are relative.
    """

    parts: tuple[ProbePart, ...]
    scale: float

    def slope(self, gradients: Mapping[tuple[str, str], Array]) -> float:
        """Return the slope according to the gradients: their product with the direction."""
        return sum(
            float(np.vdot(gradients[part.kind, part.name], part.array)) for part in self.parts
        )


@dataclass(frozen=True)
class Target:
    """The subject of a row of the report: one array, or several that are moved together.

    `still` has the rows of arrays that are not moved, as their gradients are no slopes.
    """

    kind: Literal["parameter", "input"]
    names: tuple[str, ...]
    values: tuple[Array, ...]
    still: Mapping[str, int] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The title of the row."""
        count = len(self.names)
        return self.names[0] if count == 1 else plural(count, "parameter")

    @property
    def size(self) -> int:
        """The number of elements."""
        return sum(array.size for array in self.values)

    def directions(self, count: int, rng: np.random.Generator) -> Iterator[Direction]:
        """Yield `count` random directions of length 1 that change every element.

        If there are several arrays, each changes in proportion to its own size.
        """
        length = float(np.sqrt(sum(float(np.vdot(a, a)) for a in self.values))) or 1.0
        for _ in range(count):
            drawn = [rng.standard_normal(a.shape) * spread(a) for a in self.values]
            for name, each in zip(self.names, drawn, strict=True):
                if name in self.still:
                    each[self.still[name]] = 0
            norm = float(np.sqrt(sum(float(np.vdot(u, u)) for u in drawn)))
            parts = zip(self.names, drawn, strict=True)
            yield Direction(tuple(ProbePart(self.kind, n, u / norm) for n, u in parts), length)

    def elements(self, count: int | None, rng: np.random.Generator) -> Iterator[Direction]:
        """Yield directions of `count` random different elements, or of all elements in order."""
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
            if self.names[at] in self.still and unit[self.still[self.names[at]]].any():
                continue
            yield Direction((ProbePart(self.kind, self.names[at], unit),), spread(array))


def spread(array: Array) -> float:
    """The root mean square; 1 if all are zeros."""
    return float(np.sqrt(np.mean(np.square(array)))) or 1.0


@dataclass(frozen=True)
class Probing:
    """How a target is probed.

    Attributes:
        seed: the seed of the directions.
        directions: the number of random directions.
        elements: probe this many random elements instead.
        full: probe every element instead.
    """

    seed: int
    directions: int
    elements: int | None = None
    full: bool = False

    def directions_of(self, target: Target) -> Iterator[Direction]:
        """Yield the directions in which a target is probed; they are the same each time."""
        rng = np.random.default_rng([self.seed, 8, zlib.crc32("/".join(target.names).encode())])
        if self.full or self.elements:
            return target.elements(None if self.full else self.elements, rng)
        return target.directions(self.directions, rng)
