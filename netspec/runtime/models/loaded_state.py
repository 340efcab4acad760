"""The arrays of a state dict or a weights file that a model loads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netspec.compiler.ir.graph import Graph
from netspec.runtime.weights.safetensors_file import Weights, check_numbers, check_tensors
from netspec.runtime.weights.tensor_names import fit_state


def fitted_state(
    graph: Graph, state: Mapping[str, ArrayLike] | Weights, dtype: np.dtype[Any]
) -> dict[str, NDArray[Any]]:
    """Return the arrays of a state by the names of the graph.

    Names in older published checkpoints are accepted, and the counters of batch norm, which these
    lack, may be missing.

    Raises:
        NetspecError: `weights/mismatch` naming every missing, unexpected or wrongly shaped one, and
            those with numbers that the type cannot hold.
    """
    expected = {name: p.shape for name, p in graph.saved().items()}
    tensors = state.tensors if isinstance(state, Weights) else state
    fitted, needed = fit_state(tensors, expected, graph.ties)
    arrays = {name: np.asarray(value) for name, value in fitted.items()}
    check_tensors(arrays, needed)
    check_numbers(arrays, dtype)
    return arrays
