"""What a weights file stores about the data besides the normalization: class names, type of numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.data.dataset import IGNORED, Dataset, Labels
from netspec.runtime.data.input_normalization import (
    InputNormalization,
    Normalization,
    Normalizations,
)
from netspec.runtime.data.samples import number_types
from netspec.runtime.data.vocabularies import from_json
from netspec.runtime.data.vocabulary import Vocabulary

_CLASS_NAMES, _IMAGE_TYPE, _VOCABULARY = "class_names", "image_type", "vocabulary"
_OF_DATA = (_CLASS_NAMES, _IMAGE_TYPE, _VOCABULARY)
_BYTES = "uint8"


@dataclass(frozen=True, eq=False)
class TrainedOn:
    """What a model's weights were trained on.

    Attributes:
        normalization: of every image.
        about: the metadata of `about_data`.
    """

    normalization: InputNormalization
    about: Mapping[str, str] = field(default_factory=dict)


def about_data(data: Dataset) -> dict[str, str]:
    """Return the metadata to save with weights that were trained on `data`."""
    about = {_IMAGE_TYPE: number_types(data.x_train)}
    if data.vocabulary is not None:
        about[_VOCABULARY] = data.vocabulary.to_json()
    if data.class_names:
        about[_CLASS_NAMES] = json.dumps(list(data.class_names))
    return about


def about_numbers(normalization: InputNormalization) -> dict[str, str]:
    """Return the metadata to save with weights of which no more is known than their normalization."""
    return {} if normalization.of is None else {_IMAGE_TYPE: normalization.of}


def known_of_data(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return what `about_data` had saved among the metadata of weights."""
    return {name: metadata[name] for name in _OF_DATA if name in metadata}


def stored_vocabulary(metadata: Mapping[str, str]) -> Vocabulary | None:
    """Return the vocabulary of the text that the weights were trained on; None if it was no text.

    Raises:
        NetspecError: `weights/bad-file` if it is damaged, `library/tokenizers`.
    """
    return from_json(metadata[_VOCABULARY]) if _VOCABULARY in metadata else None


def has_names(metadata: Mapping[str, str]) -> bool:
    """Return True if the classes have names."""
    return _CLASS_NAMES in metadata


def image_type(metadata: Mapping[str, str]) -> str | None:
    """Return the types of the training images' numbers, see `number_types`; None if they are unknown."""
    return metadata.get(_IMAGE_TYPE)


def require_same_pixels(name: str, dtype: str, trained_on: str | None) -> None:
    """Refuse bytes for a net trained on other numbers, because the value of a pixel of 255 is unknown.

    Args:
        name: The name of the picture or the data set.
        dtype: The types of its numbers, see `number_types`.
        trained_on: Those of the training images' numbers; None if they are unknown.

    Raises:
        NetspecError: `data/shape`.
    """
    if trained_on is None:
        return
    for given, known in zip(dtype.split(","), trained_on.split(","), strict=False):
        if given != _BYTES or known == _BYTES:
            continue
        raise NetspecError.simple(
            codes.DATA_SHAPE,
            f"{name} has pixels from 0 to 255, and the weights were trained on {known} images",
            "give an array with the same kind of numbers as the training data: .npy or .npz",
        )


def data_as_object(
    normalization: InputNormalization | None, metadata: Mapping[str, str]
) -> dict[str, Any]:
    """Return what weights were trained on, for JSON, as far as their file says.

    Raises:
        NetspecError: `weights/bad-file` if the metadata are damaged.
    """
    about: dict[str, Any] = {}
    if isinstance(normalization, Normalizations):
        about["normalization"] = {name: _numbers(by) for name, by in normalization.inputs.items()}
    elif normalization is not None:
        about["normalization"] = _numbers(normalization)
    names = stored_names(metadata)
    return {**about, "class_names": names} if names else about


def _numbers(by: Normalization) -> dict[str, Any]:
    return {"kind": by.kind, "mean": by.mean.tolist(), "scale": by.scale.tolist()}


def class_names(metadata: Mapping[str, str], classes: int) -> tuple[str, ...]:
    """Return the names of the classes of a net with this many scores, as far as they are known.

    A class without a name is called by its number. Characters that cannot be shown on a terminal
    are escaped.

    Raises:
        NetspecError: `weights/bad-file` if the metadata are damaged.
    """
    return complete(stored_names(metadata), classes)


def stored_names(metadata: Mapping[str, str]) -> list[str]:
    """Return the names of the classes as they are stored; none if there are none.

    Raises:
        NetspecError: `weights/bad-file` if the metadata are damaged.
    """
    try:
        names = json.loads(metadata.get(_CLASS_NAMES, "[]"))
        sound = isinstance(names, list) and all(isinstance(name, str) for name in names)
    except (ValueError, RecursionError):
        sound = False
    if not sound:
        raise NetspecError.simple(
            codes.WEIGHTS_BAD_FILE, "the stored names of the classes are not a list of strings"
        )
    return list(names)


def complete(names: Sequence[str], classes: int) -> tuple[str, ...]:
    """Return a name for each class: the given names, followed by numbers."""
    given = [*names[:classes], *map(str, range(len(names), classes))]
    return tuple(n if n.isprintable() else n.encode("unicode_escape").decode() for n in given)


def labels_by_name(data: Dataset, labels: Labels, metadata: Mapping[str, str]) -> Labels:
    """Convert the labels of a data set to those that the net has learnt, if both have class names.

    A folder may lack one of the classes trained on, which shifts the numbers of all later ones.

    Raises:
        NetspecError: `data/shape` for a class that the net has not learnt.
    """
    learnt = stored_names(metadata)
    if not learnt or not data.class_names or tuple(learnt) == data.class_names:
        return labels
    unknown = [name for name in data.class_names if name not in learnt]
    if unknown:
        raise NetspecError.simple(
            codes.DATA_SHAPE,
            f"{data.name} has the class `{unknown[0]}`, which the weights were not trained on",
            f"they know {', '.join(learnt[:10])}{' ...' if len(learnt) > 10 else ''}",
        )
    numbers = np.array([learnt.index(name) for name in data.class_names], np.int64)
    return np.where(labels == IGNORED, IGNORED, numbers[labels])
