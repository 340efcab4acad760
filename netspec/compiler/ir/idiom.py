"""Layers in a row that are one layer of another kind, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from netspec.records import record

Attributes = Mapping[str, object]


@record(slots=True)
class Idiom:
    """A row of layers, each of which alone reads the one before, that an op stands for.

    Attributes:
        ops: the names of the layers.
        attributes: the op's attributes by those of the layers and the shape of what goes in; None
            if it does not stand for them.
        turned: whether the last layer may read more values, which the op reads the other way round.
    """

    ops: tuple[str, ...]
    attributes: Callable[[tuple[Attributes, ...], tuple[int, ...]], Attributes | None]
    turned: bool = False


def flat_sizes(value: object) -> tuple[int, ...]:
    """Return an attribute that is a whole number, or several, as several."""
    items = value if isinstance(value, (tuple, list)) else (value,)
    return tuple(item for item in items if isinstance(item, int))
