"""Scores as the probabilities that a file with a softmax at its end gives of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.tools.agreement.quantities import Item, Trace


def with_softmax(trace: Trace, outputs: Collection[str]) -> Trace:
    """Return a trace with a softmax along axis 1 behind outputs of these names."""
    changed = {Item("output", name) for name in outputs}
    return {item: _softmax(array) if item in changed else array for item, array in trace.items()}


def _softmax(scores: NDArray[Any]) -> NDArray[Any]:
    """The shares of exp(scores) along axis 1 of (N, C, ...)."""
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    total: NDArray[Any] = shares / shares.sum(axis=1, keepdims=True)
    return total
