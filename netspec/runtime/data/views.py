"""Views of a picture at test time: mirrored and shifted copies, whose scores are averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netspec.runtime.data.choices import check_name
from netspec.runtime.data.input_normalization import InputNormalization
from netspec.runtime.data.samples import by_input, with_input

Array = NDArray[Any]

KINDS = ("flip", "shift")


class View(NamedTuple):
    """How a picture is looked at.

    Attributes:
        weight: The share of its scores in the mean.
        shift: By how many pixels it is moved, down and to the right; the edge is mirrored.
        flipped: Whether left and right change places.
    """

    weight: float
    shift: int = 0
    flipped: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it is the picture as it is."""
        return not (self.shift or self.flipped)

    def places(self, size: int, *, flips: bool) -> list[int]:
        """Return which row, or column, of a picture each of `size` is."""
        last = size - 1
        found = [last - abs(last - abs(at - self.shift)) for at in range(size)]
        return found[::-1] if flips and self.flipped else found


# The pictures as they are.
PLAIN = (View(1.0),)


def views(kinds: Sequence[str]) -> tuple[View, ...]:
    """Return the views of which the scores are averaged.

    `flip` has half of the weight for the mirrored picture. `shift` has half of it for copies that are
    moved by one pixel, up and to the left or down and to the right.

    Source: Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU (2024).

    Raises:
        NetspecError: `train/bad-option` for an unknown kind.
    """
    for kind in kinds:
        check_name("view of a picture", kind, KINDS)
    found = [*PLAIN]
    if "shift" in kinds:
        found = [View(0.5), View(0.25, -1), View(0.25, 1)]
    if "flip" in kinds:
        both = [(each, flipped) for each in found for flipped in (False, True)]
        found = [View(each.weight / 2, each.shift, flipped) for each, flipped in both]
    return tuple(found)


def seen(x: Array, view: View) -> Array:
    """Return pictures (N, C, H, W) as a view shows them; of several inputs, with these the only one."""
    if view.is_plain:
        return x
    inputs = by_input(x)
    name = next(name for name, each in inputs.items() if each.ndim == 4)
    picture = inputs[name]
    rows, columns = (view.places(size, flips=i > 0) for i, size in enumerate(picture.shape[2:]))
    changed = picture[:, :, np.array(rows)[:, None], np.array(columns)]
    return with_input(x if len(inputs) == 1 else x.copy(), name, changed)


def mean_scores(
    score: Callable[[Any], Array],
    x: Array,
    normalization: InputNormalization,
    dtype: np.dtype[Any],
    of: Sequence[View] = PLAIN,
) -> Array:
    """Return the scores of stored samples (N, ...), averaged over views.

    Args:
        score: returns the scores of normalized samples.
        x: the samples.
        normalization: theirs.
        dtype: the type of the normalized ones.
        of: the views.
    """
    if len(of) == 1:
        return score(normalization.apply(seen(x, of[0]), dtype))
    found = (view.weight * score(normalization.apply(seen(x, view), dtype)) for view in of)
    total = next(found)
    for each in found:
        total = total + each
    return total
