"""Data as `fit` is given them: data sets of other libraries, and loaders of PyTorch's."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np

from netspec.runtime.data.choices import require
from netspec.runtime.data.dataset import Dataset
from netspec.runtime.data.given_data import dataset_of
from netspec.runtime.models.protocols import Trainable

_BATCH = 64


class OfLoader(NamedTuple):
    """What a loader says of the steps.

    Attributes:
        batch: The images in a step.
        workers: How many processes make them; None if it does not say.
    """

    batch: int = _BATCH
    workers: int | None = None


def known_data(model: object, given: Any) -> tuple[Any, OfLoader]:
    """Return a data set of what `fit` is given, and what a loader says of the steps.

    What is no data of any kind is returned as it is.

    Raises:
        NetspecError: `data/shape`; `train/bad-option` for a loader that collates in its own way.
    """
    plain = isinstance(given, Dataset | str | bytes | np.ndarray | dict | tuple)
    # Such as Hugging Face's DatasetDict.
    plain = plain and not (isinstance(given, dict) and "train" in given)
    usable = hasattr(given, "__iter__") or hasattr(given, "__getitem__")
    if plain or not usable or not isinstance(model, Trainable):
        return given, OfLoader()
    shapes = [*model.graph.inputs.values()]
    shape = shapes[0] if len(shapes) == 1 else None
    torch = sys.modules.get("torch")  # whoever has a loader has it
    found = OfLoader()
    if torch is not None and isinstance(given, torch.utils.data.DataLoader):
        if not isinstance(given.dataset, torch.utils.data.IterableDataset):
            default = torch.utils.data.default_collate
            require(
                given.batch_size is not None and given.collate_fn is default,
                "the loader collates its batches in its own way",
                "give its data set: fit(model, loader.dataset), or an iterable of its batches",
            )
            found, given = OfLoader(given.batch_size, given.num_workers), given.dataset
        else:
            found = OfLoader(given.batch_size or _BATCH)
    return dataset_of(given, "the data", shape), found
