"""Computes the receptive field of a value: how much of the picture one of its numbers depends on.

An op adds (extent - 1) * step to the size, where the step is that of its input, and multiplies the
step by its own (Araujo et al. 2019). The field is counted as if the picture had no edge. A number
that depends on everything sees at least the picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import zip_longest

from netspec.compiler.ir.graph import Node, Shape
from netspec.records import record


@record(slots=True)
class Field:
    """The receptive field of a value, axis by axis: its extent, the step, and the extent of the
    whole picture, volume or signal. A vector has no axes.

    The step is the distance between the fields of neighbouring numbers.
    """

    size: tuple[int, ...] = ()
    step: tuple[float, ...] = ()
    picture: tuple[int, ...] = ()

    @property
    def constant(self) -> int | tuple[int, ...]:
        """The field as a file sees it: a number, or [height, width] where the two differ."""
        if not self.size:
            return 1
        return self.size[0] if all(s == self.size[0] for s in self.size) else self.size


def field_of_input(shape: Shape) -> Field:
    """Return the field of an input: one pixel of a picture. A vector has no extent."""
    count = len(shape) - 1
    return Field((1,) * count, (1,) * count, tuple(shape[1:]))


def extend(
    fields: dict[str, Field], shapes: Mapping[str, Shape], nodes: Iterable[Node]
) -> dict[str, Field]:
    """Add the fields of nodes to a mapping that has those of the values that they read."""
    for node in nodes:
        below = [fields[value] for value in node.inputs]
        picture = _largest(field.picture for field in below)
        size = _largest(f.size for f in below)
        step = tuple(map(max, zip_longest(*(f.step for f in below), fillvalue=1)))
        seen = node.op.sees(*(shapes[value] for value in node.inputs))
        if seen is None:
            fields[node.name] = Field(_largest((size, picture)), step, picture)
            continue
        size, step = _window(seen, size, step)
        fields[node.name] = Field(size, step, picture)
    return fields


def _window(
    seen: tuple[tuple[int, float], ...], size: tuple[int, ...], step: tuple[float, ...]
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return the size and the step behind an op that sees so much."""
    count = max(len(seen), len(size))
    windows = (*seen, *[(1, 1.0)] * (count - len(seen)))
    sizes = (*size, *[1] * (count - len(size)))
    steps = (*step, *[1] * (count - len(step)))
    return (
        tuple(_ahead(s, w[0], at) for s, w, at in zip(sizes, windows, steps, strict=True)),
        tuple(_whole(at * w[1]) for w, at in zip(windows, steps, strict=True)),
    )


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


def _largest(extents: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    # An open size is taken as the maximum unless it is always smaller, so it is compared first.
    along = zip_longest(*extents, fillvalue=1)
    return tuple(max(sorted(each, key=lambda size: isinstance(size, int))) for each in along)
