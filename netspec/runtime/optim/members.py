"""The parameters in an optimizer's flat vector: where each lies, and how it is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.floating]

# The number of weights that the L2 term is added for at a time.
L2_BLOCK = 1 << 14


@dataclass(frozen=True)
class Member:
    """A parameter in the flat vector.

    Attributes:
        name: Its name in the net.
        part: Where it lies.
        shape: Its shape.
        rate: What the learning rate is multiplied by for it.
        decay: What weight decay and the L2 term are multiplied by for it; 0 for biases and norms.
    """

    name: str
    part: slice
    shape: tuple[int, ...]
    rate: float = 1.0
    decay: float = 1.0


def with_factors(
    members: Iterable[Member], rates: Mapping[str, float], decays: Mapping[str, float]
) -> tuple[Member, ...]:
    """Return the members with the factors that are given for some of them, by name."""
    return tuple(
        replace(m, rate=rates.get(m.name, m.rate), decay=decays.get(m.name, m.decay))
        for m in members
    )


def trained_alike(members: Iterable[Member]) -> list[Member]:
    """Return the members with consecutive ones of equal factors as one, which has no name."""
    found: list[Member] = []
    for member in members:
        last = found[-1] if found else None
        start, stop = member.part.start, member.part.stop
        if last is not None and (last.rate, last.decay) == (member.rate, member.decay):
            assert last.part.stop == start, "members lie one behind the other"
            start = last.part.start
            found.pop()
        part = slice(start, stop)
        found.append(Member("", part, (stop - start,), member.rate, member.decay))
    return found


class L2Term:
    """The sum of l2 / 2 * factor * W^2 over the parameters that decay.

    Args:
        members: the parameters, with the factors of their decay.
        dtype: of their vector.
    """

    def __init__(self, members: Iterable[Member], dtype: np.dtype[Any]) -> None:
        self._parts = [(m.part, m.decay) for m in trained_alike(members) if m.decay]
        self._scratch: Vector = np.empty(L2_BLOCK, dtype)

    def value(self, parameters: Vector, l2: float) -> float:
        """Return the term for parameters (P,)."""
        found = 0.0
        for part, factor in self._parts if l2 else ():
            weights = parameters[part]
            found += 0.5 * l2 * factor * float(np.dot(weights, weights))
        return found

    def add_gradient(self, parameters: Vector, gradients: Vector, l2: float) -> None:
        """Add l2 * factor * W to gradients (P,), in blocks that stay in the cache."""
        for part, factor in self._parts if l2 else ():
            scale = self._scratch.dtype.type(l2 * factor)
            for start in range(part.start, part.stop, L2_BLOCK):
                block = slice(start, min(start + L2_BLOCK, part.stop))
                product = self._scratch[: block.stop - start]
                np.multiply(parameters[block], scale, out=product)
                gradients[block] += product
