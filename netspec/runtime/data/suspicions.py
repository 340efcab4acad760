"""Finds what is legal in a data set but probably a mistake, before hours are spent on training."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from netspec.runtime.data.dataset import IGNORED, Dataset, Labels
from netspec.runtime.data.held_out import is_share

# Neighbours in a shuffled data set are of different classes about as often as two images drawn at
# random. If they are less often by this factor, the images are sorted.
_SORTED = 0.2
# With fewer images than this, their order means nothing.
_ENOUGH = 20


def suspicions(
    data: Dataset, val: float = 0, limit: int | None = None, first: int = 0
) -> Iterator[str]:
    """Return warnings, one text each.

    Args:
        data: The data set before any image is held out.
        val: How many of the last training images are held out for validation; or a share, which is
            drawn.
        limit: How many of the remaining images, from the first, are trained on; None for all.
        first: The number that classes start at.
    """
    yield from data.notes
    unseen = data.unseen_classes(first)
    if data.first_label() > first and not data.class_names:
        yield (
            f"the labels of {data.name} run from {data.first_label()} to {data.classes - 1}:"
            f" labels start at {first}, and no image is of class {first}"
        )
    elif unseen and data.vocabulary is None:  # a text need not have every byte
        shown = ", ".join(data.class_names[c] if data.class_names else str(c) for c in unseen[:5])
        more = f" and {len(unseen) - 5} more" if len(unseen) > 5 else ""
        yield f"{data.name} has no training image of class {shown}{more}"
    last = 0 if is_share(val) else int(val)
    fewer = last or (limit is not None and limit < len(data.y_train) - last)
    if fewer and data.y_train.ndim == 1 and is_sorted(data.y_train[data.y_train != IGNORED]):
        option = (
            "--val holds out the last images" if last else "--train-limit takes the first images"
        )
        yield (
            f"the training images of {data.name} are sorted by class, and {option},"
            " which belong to few classes: shuffle the images first"
        )


def lacking(what: str, labels: Labels, data: Dataset) -> Iterator[str]:
    """Return a warning if a part of the images has none of a class that the training images have.

    Args:
        what: The name of the part.
        labels: (N,) those of the part; nothing is said of more labels for each image, or of no images.
        data: The data set before it was divided.
    """
    if data.target_shape or not len(labels):
        return
    missing = np.setdiff1d(data.y_train[data.y_train != IGNORED], labels)
    if len(missing):
        some = missing[:5].tolist()
        shown = ", ".join(data.class_names[c] if data.class_names else str(c) for c in some)
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        yield (
            f"the {what} images have none of class {shown}{more}: --val 0.1 holds out a share of each"
        )


def is_sorted(labels: Labels) -> bool:
    """Return True if images of a class are together, so that the first or last are of few classes."""
    if len(labels) < _ENOUGH:
        return False
    shares = np.bincount(labels) / len(labels)
    expected = 1.0 - float((shares**2).sum())
    changes = float((labels[1:] != labels[:-1]).mean())
    return changes < _SORTED * expected
