"""The memory of netspec's program: planned, and measured while a step runs."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass

from netspec.tools.bench.workload import Workload

# After this many steps every buffer has been allocated.
_SETTLING = 2


@dataclass(frozen=True)
class MemoryUse:
    """Memory in bytes.

    Attributes:
        arena: all buffers that the program plans.
        lower_bound: the largest set of buffers that are alive at once: no plan could need less.
        planned: all memory of a step except the batch, known before it runs: arena, scratch,
            outputs, parameters, gradients.
        peak: everything that a step holds at its worst moment, as tracemalloc measures it,
            including the batch and Python's own objects.
        step: what a later step allocates and frees.
    """

    arena: int
    lower_bound: int
    planned: int
    peak: int
    step: int


def measure(case: Workload) -> MemoryUse:
    """Measure a fresh model over a few steps."""
    from netspec.compiler.numpy_backend.memory_use import footprint
    from netspec.runtime.engine.program import make_plan
    from netspec.tools.bench.peers.ours import prepare

    plan = make_plan(case.graph, training=case.train, backward=case.train)
    planned = footprint(case.graph, plan, case.batch)
    prepare(case).step()  # imports and caches are not part of the step
    tracemalloc.start()
    try:
        runner = prepare(case)
        tracemalloc.reset_peak()
        for _ in range(_SETTLING):
            runner.step()
        peak = tracemalloc.get_traced_memory()[1]
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        runner.step()
        after = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return MemoryUse(planned.arena, planned.least, planned.total, peak, after - before)
