"""Which training images are held out for validation: the last ones, or a share of each class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netspec.runtime.data.choices import is_number, require

Numbers = NDArray[np.int64]


def is_share(val: float) -> bool:
    """Return True if images are held out by their share, and not by their number.

    Raises:
        NetspecError: `train/bad-option` for anything but a number from 0 on or a share below 1.
    """
    whole = isinstance(val, int | np.integer) and not isinstance(val, bool)
    require(
        is_number(val) and (val >= 0 if whole else 0 < val < 1),
        f"val must be a whole number from 0 on, or a share between 0 and 1, not {val!r}",
    )
    return not whole


def held_out_count(count: int, val: float) -> int:
    """Return how many of so many images are held out."""
    return round(count * val) if is_share(val) else int(val)


def drawn_share(labels: Numbers, val: float, seed: int) -> tuple[Numbers, Numbers]:
    """Return the numbers of the images that stay and of those held out, each in order.

    With one label for each image, the share of each class is held out, up to one image; at least one
    stays. With more labels the images are drawn from all.

    Args:
        labels: (N, ...).
        val: the share, between 0 and 1.
        seed: what is drawn from.
    """
    generator = np.random.default_rng([seed, 0, 1])
    classes = labels if labels.ndim == 1 else np.zeros(len(labels), np.int64)
    _, groups, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    wanted = sizes * val
    taken = np.minimum(np.floor(wanted).astype(np.int64), sizes - 1)
    # What is left over goes to the classes that lost most by rounding down.
    missing = held_out_count(len(labels), val) - int(taken.sum())
    for group in np.argsort(taken - wanted, kind="stable"):
        if missing > 0 and taken[group] < sizes[group] - 1:
            taken[group], missing = taken[group] + 1, missing - 1
    is_held = np.zeros(len(labels), bool)
    for group, count in enumerate(taken):
        members = np.flatnonzero(groups == group)
        is_held[generator.permutation(members)[:count]] = True
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)
