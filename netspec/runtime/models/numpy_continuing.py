"""Continues a sequence with a NumPy program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph
from netspec.runtime.engine.memory import Buffers
from netspec.runtime.engine.program import Program, make_plan
from netspec.runtime.models.engines import Engine

Array = NDArray[Any]


def program_of(graph: Graph, dtype: np.dtype[Any], engine: Engine) -> Program:
    """Compile a graph for `NumpyArrays`."""
    return engine.for_one(graph, make_plan(graph, training=False, backward=False), dtype)


class NumpyArrays:
    """A program for one image, in memory of its own.

    Args:
        program: what is computed; others may share it.
        parameters: by name; they may change.
    """

    def __init__(self, program: Program, parameters: Mapping[str, Array]) -> None:
        self._program, self._parameters = program, parameters
        self._memory = program.new_memory()
        self._buffers: Buffers = self._memory.bind(1)

    def given(self, name: str, array: Array) -> Array:
        """Return the input's own array with these numbers: only what stays in place can be recorded."""
        own = self._buffers[self._program.plan.inputs[name].name]
        np.copyto(own, array)
        return own

    def held(self, shape: tuple[int, ...], value: float) -> Array:
        """Return a new array."""
        return np.full(shape, value, self._program.dtype)

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run the program on these arrays."""
        plan = self._program.plan
        for name, buffer in plan.inputs.items():
            self._buffers[buffer.name] = inputs[name]
        self._program.forward(self._buffers, self._parameters)
        return {name: self._buffers[buffer.name] for name, buffer in plan.outputs.items()}

    def array(self, value: Array) -> Array:
        """Return the output itself."""
        return value
