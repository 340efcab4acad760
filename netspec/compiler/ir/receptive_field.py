"""Computes the receptive field of a value: how much of the picture one of its numbers depends on.

An op adds (extent - 1) * step to the size, where the step is that of its input, and multiplies the
step by its own (Araujo et al. 2019). The field is counted as if the picture had no edge. A number
that depends on everything sees at least the picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from netspec.compiler.ir.graph import Node, Shape


@dataclass(frozen=True, slots=True)
class Field:
    """The receptive field of a value: its height and width, the step, and the size of the whole
    picture.

    The step is the distance between the fields of neighbouring numbers.
    """

    size: tuple[int, int] = (1, 1)
    step: tuple[float, float] = (1, 1)
    picture: tuple[int, int] = (1, 1)

    @property
    def constant(self) -> int | tuple[int, int]:
        """The field as a file sees it: a number, or [height, width] where the two differ."""
        return self.size[0] if self.size[0] == self.size[1] else self.size


def field_of_input(shape: Shape) -> Field:
    """Return the field of an input: one pixel of a picture. A vector has no extent."""
    return Field(picture=(shape[1], shape[2])) if len(shape) == 3 else Field()


def extend(
    fields: dict[str, Field], shapes: Mapping[str, Shape], nodes: Iterable[Node]
) -> dict[str, Field]:
    """Add the fields of nodes to a mapping that has those of the values that they read."""
    for node in nodes:
        below = [fields[value] for value in node.inputs]
        picture = _largest(field.picture for field in below)
        size = _largest(f.size for f in below)
        step = (max(f.step[0] for f in below), max(f.step[1] for f in below))
        seen = node.op.sees(*(shapes[value] for value in node.inputs))
        if seen is None:
            fields[node.name] = Field(_largest((size, picture)), step, picture)
            continue
        (high, down), (wide, across) = seen
        size = (_ahead(size[0], high, step[0]), _ahead(size[1], wide, step[1]))
        step = (_whole(step[0] * down), _whole(step[1] * across))
        fields[node.name] = Field(size, step, picture)
    return fields


def _ahead(size: int, extent: int, step: float) -> int:
    """Return the extent that `extent` numbers see, when neighbours are `step` apart and each sees
    `size`.

    After an enlargement the step is a fraction. A pixel that is seen in part counts as seen.
    """
    reach = _whole((extent - 1) * step)
    return size + (reach if isinstance(reach, int) else math.ceil(reach))


def _whole(value: float) -> float:
    """Return an int if the value is one, apart from rounding errors of thirds and the like."""
    return round(value) if abs(value - round(value)) < 1e-9 else value


def _largest(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    # An open size is taken as the maximum unless it is always smaller, so it is compared first.
    heights, widths = (
        sorted(extents, key=lambda extent: isinstance(extent, int))
        for extents in zip(*pairs, strict=True)
    )
    return max(heights), max(widths)
