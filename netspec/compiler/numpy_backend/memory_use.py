"""The memory of a NumPy program, computed before it runs: every array that a step uses."""

from __future__ import annotations

import importlib
import math

from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.plan import Plan, Scratch
from netspec.compiler.numpy_backend.emit import NumpySource, emit_program
from netspec.compiler.numpy_backend.passes.plan_memory import plan_memory
from netspec.kernels import elementwise
from netspec.records import record

# Cache lines and vector registers are 64 bytes, so no two buffers share one.
ALIGNMENT = 64


@record
class Footprint:
    """The memory of a program at one batch size, in bytes.

    Attributes:
        arena: the buffers of a step, placed by their lifetimes.
        least: the largest sum of buffers alive at once, which is a lower bound of the arena.
        apart: the sum of the same buffers if they did not share memory.
        scratch: the scratch memory of the kernels.
        outside: outputs and their gradients, which the caller reads and fills.
        given: the inputs, which are the caller's own arrays.
        parameters, gradients: those of the net; buffers count as parameters.
    """

    batch: int
    training: bool
    arena: int
    least: int
    apart: int
    scratch: int
    outside: int
    given: int
    parameters: int
    gradients: int

    @property
    def ratio(self) -> float:
        """The size of the arena, divided by its lower bound."""
        return self.arena / self.least if self.least else 1.0

    @property
    def total(self) -> int:
        """The memory of a step, without the caller's inputs."""
        return self.arena + self.scratch + self.outside + self.parameters + self.gradients


def footprint(graph: Graph, plan: Plan, batch: int, itemsize: int = 4) -> Footprint:
    """Return the memory use of a graph's plan, for numbers of `itemsize` bytes.

    It depends on the number of threads of this machine, because each has scratch of its own.
    """
    memory = plan_memory(plan)
    given = set(plan.inputs.values())
    backward = bool(plan.output_gradients)
    outside = sum(b.elements(batch) for b in memory.external if b not in given)
    counters = 8 * sum(p.size for p in graph.parameters.values() if p.role == "counter")
    numbers = sum(p.size for p in graph.parameters.values() if p.role != "counter")
    trained = sum(p.size for p in graph.trainable())
    apart = sum(buffer.elements(batch) for storage in memory.storages for buffer in storage.buffers)
    _, arena = memory.layout(batch, ALIGNMENT // itemsize)
    return Footprint(
        batch,
        plan.training,
        arena=arena * itemsize,
        least=memory.lower_bound(batch) * itemsize,
        apart=apart * itemsize,
        scratch=scratch_elements(emit_program(plan, graph), batch) * itemsize,
        outside=outside * itemsize,
        given=sum(math.prod(b.shape) for b in given) * batch * itemsize,
        parameters=numbers * itemsize + counters,
        gradients=trained * itemsize if backward else 0,
    )


def scratch_elements(source: NumpySource, batch: int) -> int:
    """Return the number of scratch elements that is enough for every step of a program."""
    kernels = (_kernel_scratch(scratch, batch) for scratch in source.scratch)
    tiles = (elementwise.scratch_size(t.width, t.registers) for t in source.tiles)
    return max([1, *kernels, *tiles])


def _kernel_scratch(scratch: Scratch, batch: int) -> int:
    module, _, function = scratch.function.rpartition(".")
    size = getattr(importlib.import_module(f"netspec.kernels.{module}"), function)
    elements: int = size(batch, *scratch.arguments, **scratch.options)
    return elements
