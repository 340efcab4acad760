"""Which images a trained net is wrong about, the surest mistakes first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netspec.diagnostics import quoted
from netspec.runtime.data.dataset import IGNORED
from netspec.runtime.data.input_normalization import InputNormalization
from netspec.runtime.data.stored_pictures import StoredPictures
from netspec.runtime.models.evaluation import Scorer, class_probabilities, evaluated_at_a_time
from netspec.runtime.plots.png import grid

Array = NDArray[Any]

# How many mistakes are drawn, how many of them in a row, and how wide a picture is, in pixels.
MOST, COLUMNS, _PIXELS = 25, 5, 112
# Longer names of files are cut in a line, and not in JSON.
_LONGEST = 300


class Mistake(NamedTuple):
    """An image that was taken for another class.

    Attributes:
        image: Its place among the images, from 0.
        label, taken: Its class, and the class with the highest score.
        share: The probability of that one.
        file: The file that it was read from; empty if it is not known.
    """

    image: int
    label: int
    taken: int
    share: float
    file: str = ""

    def text(self, names: Sequence[str]) -> str:
        """Return a line with the names of the classes."""
        true, taken = (quoted(names[k])[1:-1] for k in (self.label, self.taken))
        where = f"image {self.image:,}" if not self.file else quoted(self.file, _LONGEST)[1:-1]
        return f"{where}: {true}, taken for {taken} ({self.share:.1%})"

    def to_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """Return everything as a dict, for JSON."""
        return {
            "image": self.image, "label": names[self.label], "taken_for": names[self.taken],
            "probability": self.share, **({"file": self.file} if self.file else {}),
        }  # fmt: skip


def surest_mistakes(
    model: Scorer,
    x: Array,
    y: NDArray[np.int64],
    normalization: InputNormalization,
    most: int,
) -> list[Mistake]:
    """Return the mistakes in which the net was surest, up to a number of them.

    Args:
        model: A model of either backend, with scores [N, classes].
        x: (N, C, H, W) or (N, F), as stored.
        y: Labels (N,); where one is -100, the image is left out.
        normalization: The normalization that the model was trained with.
        most: How many are returned at most.

    Raises:
        NetspecError: `model/not-finite`.
    """
    found: list[Mistake] = []
    batch = evaluated_at_a_time(model.graph)
    for start in range(0, len(x), batch):
        part = slice(start, start + batch)
        shares = class_probabilities(model, normalization.apply(x[part], model.dtype))
        taken = shares.argmax(axis=1)
        wrong = np.flatnonzero((taken != y[part]) & (y[part] != IGNORED))
        found += [
            Mistake(start + int(i), int(y[start + i]), int(taken[i]), float(shares[i, taken[i]]))
            for i in wrong
        ]
        found = sorted(found, key=lambda mistake: -mistake.share)[:most]
    return found


def with_files(found: Sequence[Mistake], x: Array, files: Sequence[str]) -> list[Mistake]:
    """Return mistakes with the files that their images were read from, as far as they are known.

    Args:
        found: the mistakes.
        x: the images among which they were made.
        files: the file of each of these, or nothing.
    """
    if isinstance(x, StoredPictures):
        return [m._replace(file=x.files.name(int(x.numbers[m.image]))) for m in found]
    return [m._replace(file=files[m.image]) for m in found] if files else list(found)


def can_be_drawn(x: Any, y: Any) -> bool:
    """Whether images are pictures (N, C, H, W) with one label each."""
    return getattr(x, "ndim", 0) == 4 and getattr(y, "ndim", 0) == 1


def drawn(x: Array, found: Sequence[Mistake]) -> tuple[Array, int]:
    """Return the pictures of mistakes in a grid, and by how much it is to be enlarged.

    Args:
        x: (N, C, H, W), as stored.
        found: One mistake or more.
    """
    pictures = np.stack([x[each.image] for each in found])
    if pictures.shape[1] != 3:  # a grey picture, of whatever channels there are
        pictures = pictures[:, :1]
    return grid(pictures, columns=COLUMNS), max(1, _PIXELS // max(pictures.shape[2:]))


def listed(found: Sequence[Mistake], names: Sequence[str]) -> list[str]:
    """Return a line on each mistake in the order in which they are drawn."""
    return [
        f"row {i // COLUMNS + 1}, {i % COLUMNS + 1}: {each.text(names)}"
        for i, each in enumerate(found)
    ]
