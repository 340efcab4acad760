"""A planned program, ready to run: its source executed once, its buffers bound for a batch size."""

from __future__ import annotations

import dataclasses
import linecache
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.graph import Graph
from netspec.compiler.lowering import lower
from netspec.compiler.numpy_source import emit_program
from netspec.compiler.passes.choose_emitters import choose_emitters
from netspec.compiler.passes.fuse import fuse
from netspec.compiler.passes.pool_first import pool_first
from netspec.compiler.passes.plan_memory import plan_memory
from netspec.compiler.plan import Buffer, Plan, Scratch
from netspec.kernels import elementwise, parallel

Array = NDArray[Any]

# Cache lines and vector registers are 64 bytes: no two buffers share one.
_ALIGNMENT = 64

def program_source(graph: Graph, *, training: bool, **options: Any) -> str:
    """The NumPy source of a graph, as it runs. `options` are those of `make_plan`."""
    return emit_program(make_plan(graph, training=training, **options), graph).text


class Program:
    """Runs a plan for any batch size; buffers are allocated once and kept.

    Batches of several sizes share the memory of the largest.

    Args:
        graph: the net.
        plan: its plan.
        dtype: of every array.
        steps: a plan with some of the steps alone, to be run in the memory of the whole one: for a
            checker that wants to see what a step writes before that is used again.
    """

    def __init__(
        self, graph: Graph, plan: Plan, dtype: np.dtype[Any], steps: Plan | None = None
    ) -> None:
        self.plan = plan
        self.dtype = dtype
        self.memory = plan_memory(plan)
        self._source = emit_program(steps or plan, graph)
        self.text = self._source.text
        functions = _execute(self.text, graph.name)
        self._sample = functions.get("sample")
        self._forward = functions["forward"]
        self._backward = functions.get("backward")
        self._arena: Array = np.empty(0, dtype)
        self._scratch: Array = np.empty(0, dtype)
        self._bound: dict[tuple[int, int], dict[str, Array]] = {}

    def bind(self, batch: int) -> dict[str, Array]:
        """The buffers for a batch size, by name. The caller puts the inputs in, as its own arrays."""
        key = (batch, parallel.threads())  # scratch is shared out among the threads
        if key not in self._bound:
            offsets, size = self._layout(batch)
            if size > len(self._arena):
                self._arena = _aligned(size, self.dtype)
                self._bound.clear()
            scratch = scratch_elements(self._source, batch)
            if scratch > len(self._scratch):
                self._scratch = _aligned(scratch, self.dtype)
            buffers = {}
            for buffer, offset in offsets.items():
                flat = self._arena[offset : offset + buffer.elements(batch)]
                buffers[buffer.name] = flat.reshape(_shape(buffer, batch))
            given = set(self.plan.inputs.values())  # the caller's own arrays
            for buffer in self.memory.external:
                if buffer not in given:
                    buffers[buffer.name] = np.empty(_shape(buffer, batch), self.dtype)
            self._bound[key] = buffers
        return self._bound[key]

    def _layout(self, batch: int) -> tuple[Mapping[Buffer, int], int]:
        return self.memory.layout(batch, _ALIGNMENT // self.dtype.itemsize)

    def sample(self, buffers: dict[str, Array], rng: np.random.Generator) -> None:
        """Draw the random masks of a step."""
        if self._sample is not None:
            self._sample(buffers, rng)

    def forward(self, buffers: dict[str, Array], parameters: Mapping[str, Array]) -> None:
        """Compute the outputs from the inputs in `buffers`."""
        with parallel.one_blas_thread():
            self._forward(buffers, parameters, self._scratch)

    def backward(
        self,
        buffers: dict[str, Array],
        parameters: Mapping[str, Array],
        gradients: Mapping[str, Array],
    ) -> None:
        """Fill `gradients`, from the outputs' gradients in `buffers`."""
        assert self._backward is not None, "planned without a backward pass"
        with parallel.one_blas_thread():
            self._backward(buffers, parameters, gradients, self._scratch)


def _shape(buffer: Buffer, batch: int) -> tuple[int, ...]:
    return (batch, *buffer.shape) if buffer.batched else buffer.shape


def _aligned(size: int, dtype: np.dtype[Any]) -> Array:
    extra = _ALIGNMENT // dtype.itemsize
    memory = np.empty(size + extra, dtype)
    skip = -memory.ctypes.data % _ALIGNMENT // dtype.itemsize
    return memory[skip : skip + size]


_programs = 0


def _execute(text: str, name: str) -> dict[str, Any]:
    """Run generated source. Registered with `linecache`, so that a debugger can step into it.

    The source is made by netspec from a checked graph: names in it are checked labels in quotes.
    """
    global _programs  # noqa: PLW0603 - only numbers the file names
    _programs += 1
    filename = f"<netspec {name} {_programs}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {"__name__": filename}
    exec(compile(text, filename, "exec"), namespace)
    return namespace
