"""Measures how long NumPy and numexpr take for a formula."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.expression import Expression, variables
from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.plan import Buffer, ElementwiseStep, Emitter, Plan
from netspec.runtime.engine.floating_point import as_ieee
from netspec.runtime.engine.program import Program

# The least and the most pairs of runs, and the seconds after which no more pairs are started.
LEAST_PAIRS, MOST_PAIRS, SECONDS = 3, 12, 0.002
# If the times differ by more than this factor, no more pairs are needed.
CLEAR = 1.5
# A run uses a random part of at least this many numbers.
POOL = 1 << 14

EMITTERS: tuple[Emitter, ...] = ("numpy", "numexpr")


def time_emitters(formula: Expression, dtype: str, size: int) -> dict[Emitter, float]:
    """Return the seconds of a step over `size` numbers: the shortest of several alternating runs.

    Every run uses numbers that it has not seen, because branches on repeated numbers are predicted.
    """
    runs = {emitter: _Run(formula, np.dtype(dtype), size, emitter) for emitter in EMITTERS}
    pool = np.random.default_rng(0).standard_normal(max(2 * size, POOL), np.float32).astype(dtype)
    rng = np.random.default_rng(1)
    best = dict.fromkeys(EMITTERS, float("inf"))
    begun = perf_counter()
    for pair in range(1, MOST_PAIRS + 1):
        for emitter, run in runs.items():
            best[emitter] = min(best[emitter], run.seconds(pool, rng))
        clear = max(best.values()) > CLEAR * min(best.values())
        if pair >= LEAST_PAIRS and (clear or perf_counter() > begun + SECONDS):
            break
    return best


class _Run:
    """A step as a trained net runs it: recorded, so that only its NumPy calls are timed."""

    def __init__(
        self, formula: Expression, dtype: np.dtype[Any], size: int, emitter: Emitter
    ) -> None:
        out = Buffer("out", (size,))
        operands = {name: Buffer(name, (size,)) for name in variables(formula)}
        step = ElementwiseStep(out, formula, operands, (), (), emitter)
        plan = Plan(False, operands, {"out": out}, {}, {}, (), (step,), (), {}, {}, {})
        program = Program(Graph("Timing", {}, (), {}, {}), plan, dtype)
        buffers = program.bind(1)
        self._inputs: list[NDArray[Any]] = [buffers[name] for name in operands]
        for array in self._inputs:
            array.fill(1)
        self._program, self._buffers = program, buffers
        with as_ieee():
            self._recording = program.record(buffers, {})

    def seconds(self, pool: NDArray[Any], rng: np.random.Generator) -> float:
        """Return the seconds of a run on numbers from a random position in `pool`."""
        for array in self._inputs:
            start = rng.integers(len(pool) - array.size + 1)
            np.copyto(array, pool[start : start + array.size].reshape(array.shape))
        with as_ieee():
            begun = perf_counter()
            if self._recording is not None:
                self._recording.run()
            else:
                self._program.forward(self._buffers, {})
            return perf_counter() - begun
