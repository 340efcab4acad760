"""A data set as a picture: how many samples each class has, and some of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from netspec.runtime.data.dataset import Dataset
from netspec.runtime.plots.figures import COLORS, figure, plain, save
from netspec.runtime.plots.png import grid

# How many classes are drawn, how many samples of them in all, and how many are in a row.
_MOST_CLASSES, _SAMPLES, _COLUMNS = 40, 64, 8


def draw_data(data: Dataset, path: Path) -> None:
    """Draw the classes of a data set of pictures with one label each, and samples of them in turn.

    Raises:
        NetspecError: `library/matplotlib`, `usage/picture`, `output/unwritable`, `output/disk-full`.
    """
    data = data.with_channel()
    names = data.class_names or tuple(map(str, range(data.classes)))
    counts = [
        np.bincount(y[y >= 0], minlength=data.classes)[:_MOST_CLASSES]
        for y in (data.y_train, data.y_test)
    ]
    made, ((bars, pictures),) = figure(1, 2, (11, 5.5))
    places = np.arange(len(counts[0]))
    bars.barh(places, counts[0], color=COLORS[0], label=f"{len(data.x_train):,} training")
    bars.barh(
        places, counts[1], left=counts[0], color=COLORS[4], label=f"{len(data.x_test):,} test"
    )
    bars.set_yticks(places, [plain(name)[:24] for name in names[: len(places)]])
    bars.invert_yaxis()
    # Above the bars, of which it would cover some.
    bars.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, frameon=False)
    bars.set_xlabel("samples")
    samples = np.stack([data.x_train[int(number)] for number in _in_turn(data.y_train)])
    if samples.shape[1] != 3:
        samples = samples[:, :1]
    pictures.imshow(grid(samples, columns=_COLUMNS))
    pictures.axis("off")
    made.suptitle(plain(data.name))
    save(made, path)


def _in_turn(labels: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> list[int]:
    """Return the numbers of samples, one of each class in turn."""
    rank = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        members = labels == label
        rank[members] = np.arange(members.sum())
    order: list[int] = np.lexsort((labels, rank))[:_SAMPLES].tolist()
    return order
