"""Which images a trained net is wrong about, the surest mistakes first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netspec.diagnostics import quoted
from netspec.runtime.data.dataset import IGNORED
from netspec.runtime.data.input_normalization import InputNormalization
from netspec.runtime.models.evaluation import Scorer, class_probabilities, evaluated_at_a_time

Array = NDArray[Any]


class Mistake(NamedTuple):
    """An image that was taken for another class.

    Attributes:
        image: Its place among the images, from 0.
        label, taken: Its class, and the class with the highest score.
        share: The probability of that one.
    """

    image: int
    label: int
    taken: int
    share: float

    def text(self, names: Sequence[str]) -> str:
        """Return a line with the names of the classes."""
        true, taken = (quoted(names[k])[1:-1] for k in (self.label, self.taken))
        return f"image {self.image:,}: {true}, taken for {taken} ({self.share:.1%})"

    def to_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """Return everything as a dict, for JSON."""
        return {
            "image": self.image, "label": names[self.label], "taken_for": names[self.taken],
            "probability": self.share,
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
