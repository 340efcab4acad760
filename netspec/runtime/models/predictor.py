"""A net for prediction only, with fixed parameters and recorded NumPy calls for each batch size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netspec.compiler.ir.graph import Graph
from netspec.kernels import parallel
from netspec.runtime.engine.floating_point import as_ieee
from netspec.runtime.engine.memory import BatchMemory
from netspec.runtime.engine.program import Program, make_plan
from netspec.runtime.engine.recent import Recent
from netspec.runtime.engine.record.recorder import Recording
from netspec.runtime.models.engines import Engine
from netspec.runtime.models.inputs import Inputs

Array = NDArray[Any]

# The number of batch sizes, picture sizes and numbers of threads that are kept.
REMEMBERED = 8

# A recording is compared with its program on this many random batches.
TRIALS = 2


class Predictor:
    """Computes the outputs of a net in evaluation mode, as fast as possible.

    What can be computed from the parameters alone is computed once: batch norms folded into
    convolutions, weights laid out for their matrix products. The first batch of a size is slow,
    because its NumPy calls are recorded. Later batches only repeat these calls (see
    `netspec.runtime.engine.record.recorder`), which saves most of the time for small batches. A
    program that cannot be recorded is run normally.

    Threads: several may call it at a time. Each call has its own memory and recording, of which
    there are as many as calls that ran in parallel. It can be copied and pickled, and used in
    forked or spawned processes; it then records anew.

    Args:
        graph: the net.
        dtype: the model's type.
        parameters: by name; not copied, so they must not be changed.
        engine: what computes.
    """

    def __init__(
        self,
        graph: Graph,
        dtype: np.dtype[Any],
        parameters: Mapping[str, Array],
        engine: Engine,
    ) -> None:
        self.graph = graph
        self.dtype = dtype
        self._parameters = dict(parameters)
        self._engine = engine
        self._inputs = Inputs(graph, dtype)
        self._prepared: Recent[Any, _Prepared] = Recent(REMEMBERED)

    def __reduce__(self) -> tuple[Any, ...]:
        return Predictor, (self.graph, self.dtype, self._parameters, self._engine)

    def __call__(self, x: ArrayLike | Mapping[str, ArrayLike]) -> Any:
        """Return the outputs of a batch.

        Args:
            x: see `Model.forward`.

        Returns:
            See `Model.forward`.

        Raises:
            NetspecError: `model/input-shape` if the shape does not fit.
        """
        # An array of the right type, with a shape seen before, needs no further check.
        if isinstance(x, np.ndarray) and x.dtype == self.dtype:
            prepared = self._prepared.known((parallel.threads(), x.shape))
            if prepared is not None:
                return prepared([x])
        arrays = self._inputs.check(x)
        key = (parallel.threads(), *(array.shape for array in arrays.values()))
        prepared = self._prepared.get(key, lambda: self._prepare(arrays))
        return prepared(list(arrays.values()))

    forward = __call__

    def _prepare(self, arrays: Mapping[str, Array]) -> _Prepared:
        graph = self._inputs.sized(arrays)
        plan = make_plan(graph, training=False, backward=False)
        program = self._engine.fixed(graph, plan, self.dtype, self._parameters)
        return _Prepared(program, self._parameters)


class _Prepared:
    """A program for batches of one size, and those of its runs that are not in use."""

    def __init__(self, program: Program, parameters: Mapping[str, Array]) -> None:
        self._program, self._parameters = program, parameters
        self._free: list[_Run] = []

    def __call__(self, inputs: Sequence[Array]) -> Any:
        try:
            run = self._free.pop()
        except IndexError:  # `pop` is atomic: no other thread can come between
            run = _Run(self._program, self._program.new_memory(), self._parameters, inputs)
        answer = run(inputs)
        self._free.append(run)  # not reached after an exception such as an interrupt
        return answer

    @property
    def recording(self) -> Recording | None:
        """What a call replays; None if it runs the program."""
        return self._free[-1].recording


class _Run:
    """A program with memory of its own, recorded if possible; for one call at a time."""

    def __init__(
        self,
        program: Program,
        memory: BatchMemory,
        parameters: Mapping[str, Array],
        inputs: Sequence[Array],
    ) -> None:
        self._program = program
        self._parameters = parameters
        self._buffers = memory.bind(len(inputs[0]))
        plan = program.plan
        self._names = [buffer.name for buffer in plan.inputs.values()]
        self._inputs = [np.zeros_like(array) for array in inputs]
        for name, array in zip(self._names, self._inputs, strict=True):
            self._buffers[name] = array
        self._ready = program.ready(self._buffers, parameters)
        self._ready.run()
        self._outputs = {name: self._buffers[b.name] for name, b in plan.outputs.items()}
        self._only = next(iter(self._outputs.values())) if len(self._outputs) == 1 else None
        self.recording = self._record()
        replay = None if self.recording is None else partial(_replay, self.recording)
        self._run = replay or self._ready.run

    def __call__(self, inputs: Sequence[Array]) -> Any:
        give = self._ready.give
        for name, array in zip(self._names, inputs, strict=True):
            give(name, array)
        self._run()
        if self._only is not None:
            return self._only.copy()
        return {name: array.copy() for name, array in self._outputs.items()}

    def _record(self) -> Recording | None:
        with as_ieee():
            recording = self._program.record(self._buffers, self._parameters)
        if recording is None:
            return None
        # The recorder sees what passes through NumPy's protocols. Anything that it missed, such as
        # a branch on a value, shows in this comparison.
        rng = np.random.default_rng(0)
        for _ in range(TRIALS):
            for array in self._inputs:
                array[...] = rng.standard_normal(array.shape)
            self._ready.run()
            expected = [array.copy() for array in self._outputs.values()]
            _replay(recording)
            pairs = zip(self._outputs.values(), expected, strict=True)
            if not all(np.array_equal(a, b, equal_nan=True) for a, b in pairs):
                return None
        return recording


def _replay(recording: Recording) -> None:
    with parallel.one_blas_thread(), as_ieee():
        recording.run()
