"""What to do about labels that are not the numbers of classes, which are counted from 0."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

ONE_HOT = "turn one-hot rows into numbers: y.argmax(axis=1)"


def range_help(labels: NDArray[Any], classes: int) -> str | None:
    """Return what mends labels of which some are below 0, or too large; None if nothing is known to.

    Args:
        labels: (N, ...) whole numbers, those that count.
        classes: how many classes there are, which are 0 to classes - 1.
    """
    lowest, highest = int(labels.min()), int(labels.max())
    if (lowest, highest) == (-1, 1) and not (labels == 0).any():
        return "labels start at 0: (y + 1) // 2 makes 0 and 1 of -1 and 1"
    if lowest == -1:
        return (
            "labels start at 0: add 1 to all of them; or, if -1 stands for no label, leave it out with"
            " `--ignore-index -1`"
        )
    if lowest < 0:
        return f"labels start at 0: add {-lowest} to all of them"
    if lowest > 0 and highest - lowest < classes:
        return f"labels start at 0: subtract {lowest} from all of them"
    return None
