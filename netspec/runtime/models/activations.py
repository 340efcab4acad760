"""The value of every layer of a net for a batch, by the name of the layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netspec.compiler.ir.graph import Graph
from netspec.runtime.engine.program import Program, make_plan
from netspec.runtime.models.inputs import Inputs

Array = NDArray[Any]


def activations(
    graph: Graph,
    parameters: Mapping[str, Array],
    dtype: np.dtype[Any],
    x: ArrayLike | Mapping[str, ArrayLike],
) -> dict[str, Array]:
    """Compute a batch in evaluation mode and return the value of every layer.

    The program is another than the model's: one that fuses layers or writes over their values keeps
    few of them. Numbers may differ from the model's in the last places.

    Args:
        graph: the net.
        parameters: its parameters, buffers and constants.
        dtype: the type to compute in.
        x: as for `Model.forward`.

    Returns:
        Arrays (N, ...) by the layers' names, in the order in which they are computed.
    """
    inputs = Inputs(graph, dtype)
    arrays = inputs.check(x)
    sized = inputs.sized(arrays)
    shown = replace(sized, outputs={node.name: node.name for node in sized.nodes})
    program = Program(shown, make_plan(shown, training=False, backward=False), dtype)
    with program.memory() as memory:
        buffers = memory.bind(len(next(iter(arrays.values()))))
        for name, buffer in program.plan.inputs.items():
            np.copyto(buffers[buffer.name], arrays[name])
        program.sample(buffers, np.random.default_rng(0))
        program.forward(buffers, parameters)
        return {name: buffers[b.name].copy() for name, b in program.plan.outputs.items()}
