"""A short name for the numbers of weights, which a device and a developer can compare."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

# 64 bits: two of a million trainings have the same with a probability of 3e-8.
DIGITS = 16

Tensors = Mapping[str, NDArray[np.generic]]


def weights_digest(tensors: Tensors) -> str:
    """Return the first digits of the SHA-256 of tensors: of their names, types, shapes and numbers.

    The order of the tensors, and what else a file holds, do not matter; nor does the order of bytes in
    a number. The same numbers in another precision have another digest.
    """
    found = hashlib.sha256()
    for name in sorted(tensors):
        stored = tensors[name]
        plain = np.ascontiguousarray(stored, stored.dtype.newbyteorder("<"))
        about = json.dumps([name, plain.dtype.newbyteorder("=").name, list(stored.shape)])
        found.update(about.encode() + b"\n")
        found.update(plain.data if plain.size else b"")
    return found.hexdigest()[:DIGITS]


def initial_digest(tensors: Tensors) -> str:
    """Return the digest of initial values of any precision, as a model in float32 has and saves them."""
    return weights_digest({
        name: tensor.astype(np.float32) if tensor.dtype.kind == "f" else tensor
        for name, tensor in tensors.items()
    })  # fmt: skip
