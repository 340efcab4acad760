"""Random changes of training images: the numbers drawn for each image, the same on every device.

They depend only on the seed, the epoch and the number of the image (where an image may be in an epoch
several times, on its place in the epoch). So they are the same for both backends, for any number of
processes or threads, and wherever in the epoch a run is resumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netspec.runtime.data.choices import check_name, require
from netspec.runtime.data.dataset import Dataset

KINDS = ("crop", "flip", "alternate-flip", "cutout")
# What is around a picture that `crop` moves: black pixels, or the picture mirrored at its edge.
EDGES = ("black", "mirror")

# The columns of the result of `draw`.
TOP, LEFT, FLIPPED, CUT_ROW, CUT_COLUMN = range(5)
# Streams of random numbers beside that of the order of images: of an epoch, and of the whole run.
_OF_EPOCH, _OF_RUN = 1, 2


@dataclass(frozen=True)
class Augmentation:
    """Which random changes are made, and how.

    Attributes:
        kinds: Some of `KINDS`.
        pad: The number of pixels that `crop` adds on each side before it cuts out a part of the
            original size.
        edges: What these pixels are, one of `EDGES`.
        cutout: The side of the square that `cutout` blackens; None for half the shorter side of the
            picture.
    """

    kinds: tuple[str, ...] = ()
    pad: int = 4
    edges: str = "black"
    cutout: int | None = None

    def __bool__(self) -> bool:
        return bool(self.kinds)

    def __contains__(self, kind: object) -> bool:
        return kind in self.kinds

    @property
    def moves(self) -> bool:
        """Whether pixels change their places."""
        return not {"crop", "flip", "alternate-flip"}.isdisjoint(self.kinds)

    def side(self, size: tuple[int, ...]) -> int:
        """Return the side of the square that is blackened in a picture of `size` (H, W)."""
        return min(size) // 2 if self.cutout is None else self.cutout


def picture_to_change(changes: Augmentation, data: Dataset) -> str | None:
    """Return the input whose pictures are changed, by the data's name; None if nothing is changed.

    Raises:
        NetspecError: `train/bad-option` for an unknown kind, for two that contradict each other, and if
            not exactly one input is a picture, or one too small for its mirrored edges.
    """
    kinds = changes.kinds
    for kind in kinds:
        check_name("augmentation", kind, KINDS)
    check_name("kind of edges", changes.edges, EDGES)
    require(
        not {"flip", "alternate-flip"} <= {*kinds},
        "flip and alternate-flip: a picture is flipped at random or in turn",
        "leave out one of them",
    )
    inputs = " and ".join(map(str, map(list, data.input_shapes.values())))
    several = len(data.input_shapes) > 1
    require(
        not kinds or data.picture_input is not None,
        f"augmentation needs {'one input of ' if several else ''}pictures (C, H, W), and the"
        f" network's {'inputs are' if several else 'input is'} {inputs}",
    )
    if not kinds:
        return None
    picture = data.picture_input
    assert picture is not None
    size = min(data.input_shapes[picture][1:])
    require(
        changes.edges == "black" or changes.pad < size,
        f"a picture of {size} pixels has no {changes.pad} to mirror at its edge",
    )
    return picture


def draw_for(
    changes: Augmentation,
    data: Dataset,
    picture: str | None,
    seed: int,
    epoch: int,
    order: NDArray[np.int64],
    *,
    repeats: bool,
) -> NDArray[np.int64]:
    """Draw the changes of the training pictures of an epoch, see `draw`.

    Args:
        changes: see `draw`.
        data: the data set.
        picture: the input that is changed; None for none.
        seed: of the run.
        epoch: its number, from 1.
        order: (N,) the pictures in the order of the epoch.
        repeats: whether one may be among them several times, each time changed by itself.

    Returns:
        (N, 5) in the order of the epoch, or (N, 0).
    """
    count = len(data.x_train)
    if picture is None:
        return np.zeros((len(order), 0), np.int64)
    height, width = data.input_shapes[picture][1:]
    by_picture = draw(changes, count, (height, width), seed, epoch)[order]
    if not repeats:
        return by_picture
    drawn = draw(changes, len(order), (height, width), seed, epoch)
    if "alternate-flip" in changes:  # each picture in every second epoch, wherever it is
        drawn[:, FLIPPED] = by_picture[:, FLIPPED]
    return drawn


def draw(
    changes: Augmentation, count: int, size: tuple[int, int], seed: int, epoch: int
) -> NDArray[np.int64]:
    """Draw the changes of each of `count` training pictures of `size` (H, W); returns (count, 5).

    Row i is for picture i, whichever batch it is in, or for the picture at place i of the epoch.

    Columns: the first row and column of the padded picture that `crop` keeps, in [0, 2 pad] (0
    without `crop`, where nothing is padded); 1 if the picture is mirrored, as `flip` does to half of
    them, and `alternate-flip` to each in every second epoch; the row and column of the centre of
    `cutout`, anywhere in the picture.

    Source of `alternate-flip`: Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU (2024).
    """
    # Epochs count from 1.
    rng = np.random.default_rng([seed, epoch, _OF_EPOCH])
    drawn = np.zeros((count, 5), np.int64)
    if "crop" in changes:
        drawn[:, [TOP, LEFT]] = rng.integers(0, 2 * changes.pad + 1, (count, 2))
    if "flip" in changes:
        drawn[:, FLIPPED] = rng.integers(0, 2, count)
    if "alternate-flip" in changes:
        first = np.random.default_rng([seed, 0, _OF_RUN]).integers(0, 2, count)
        drawn[:, FLIPPED] = (first + epoch) % 2
    if "cutout" in changes:
        drawn[:, [CUT_ROW, CUT_COLUMN]] = rng.integers(0, size, (count, 2))
    return drawn
