"""The memory of a NumPy program, known before it runs: every array that a step holds."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass

from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.plan import Plan, Scratch
from netspec.compiler.numpy_backend.emit import NumpySource, emit_program
from netspec.compiler.numpy_backend.passes.plan_memory import plan_memory
from netspec.kernels import elementwise

# Cache lines and vector registers are 64 bytes: no two buffers share one.
ALIGNMENT = 64


@dataclass(frozen=True)
class Footprint:
    """Bytes of a program at one batch size.

    Attributes:
        arena: the buffers of a step, laid out by their lifetimes.
        least: the largest set of buffers alive at once: no arena is smaller.
        apart: what the same buffers would take without sharing.
        scratch: what the kernels work in.
        outside: outputs and their gradients, which the caller reads and fills.
        given: the inputs: the caller's own arrays.
        parameters, gradients: of the net, buffers among the parameters.
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
        """The arena over the least one."""
        return self.arena / self.least if self.least else 1.0

    @property
    def total(self) -> int:
        """What a step holds, but for the caller's inputs."""
        return self.arena + self.scratch + self.outside + self.parameters + self.gradients


def footprint(graph: Graph, plan: Plan, batch: int, itemsize: int = 4) -> Footprint:
    """The footprint of a plan of a graph, for numbers of `itemsize` bytes.

    The threads of this machine count: each has scratch of its own.
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
    """The elements of scratch that suffice for every step of a program."""
    kernels = (_kernel_scratch(scratch, batch) for scratch in source.scratch)
    tiles = (elementwise.scratch_size(t.width, t.registers) for t in source.tiles)
    return max([1, *kernels, *tiles])


def _kernel_scratch(scratch: Scratch, batch: int) -> int:
    module, _, function = scratch.function.rpartition(".")
    size = getattr(importlib.import_module(f"netspec.kernels.{module}"), function)
    elements: int = size(batch, *scratch.arguments, **scratch.options)
    return elements
