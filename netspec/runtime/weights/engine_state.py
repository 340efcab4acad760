"""What a module that another engine trains keeps in its state dict beside the net's tensors.

Every engine saves a state dict in a file of its own kind, so all that a run has to keep is in it: the
tensors of the net, their averages, and facts as the bytes of a JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.files.unsound import UnsoundFileError
from netspec.runtime.data.input_normalization import made_for, normalization_from_json
from netspec.runtime.weights.data_facts import image_type
from netspec.runtime.weights.safetensors_file import Weights

NET, AVERAGE, FACTS = "net.", "average.", "netspec_facts"
# Class names and a vocabulary are in them.
_MAX_FACTS = 1 << 26


def facts_bytes(facts: Mapping[str, object]) -> NDArray[np.uint8]:
    """Return facts as bytes, which every engine can save."""
    return np.frombuffer(json.dumps(facts, sort_keys=True).encode(), np.uint8).copy()


def facts_from_bytes(array: NDArray[Any]) -> dict[str, Any]:
    """Return what `facts_bytes` was given.

    Raises:
        UnsoundFileError: if it was something else.
    """
    try:
        if array.dtype != np.uint8 or array.ndim != 1 or array.size > _MAX_FACTS:
            raise ValueError(f"{array.dtype} values of shape {list(array.shape)}")
        found = json.loads(array.tobytes().decode())
        if not isinstance(found, dict):
            raise TypeError(type(found).__name__)
    except (ValueError, TypeError, RecursionError) as error:
        raise UnsoundFileError(f"its `{FACTS}` are damaged: {str(error)[:100]}") from None
    return found


def of_engine(weights: Weights) -> Weights:
    """Return the weights of a module that another engine trained, under the names of its net.

    Averages take the place of the last weights, as in a run. Other weights are returned as they are.

    Raises:
        UnsoundFileError: if the facts are damaged.
    """
    named = [name for name in weights.tensors if name == FACTS or name.endswith(f".{FACTS}")]
    if len(named) != 1:
        return weights
    prefix = named[0].removesuffix(FACTS)
    facts = facts_from_bytes(np.asarray(weights.tensors[named[0]]))
    net: dict[str, NDArray[np.generic]] = {}
    averages: dict[str, NDArray[np.generic]] = {}
    for name, tensor in weights.tensors.items():
        for part, start in ((net, NET), (averages, AVERAGE)):
            if name.startswith(prefix + start):
                part[name.removeprefix(prefix + start)] = tensor
    try:
        text, about = facts["normalization"], facts["about"]
        metadata = {str(key): str(value) for key, value in about.items()}
        normalization = made_for(normalization_from_json(str(text)), image_type(metadata))
    except (KeyError, AttributeError) as error:
        raise UnsoundFileError(f"its `{FACTS}` are damaged: {error}") from None
    return replace(weights, tensors=net | averages, normalization=normalization, metadata=metadata)
