"""A net that only answers: its parameters fixed, and the NumPy calls for a batch size recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from netspec.runtime.models.emitters.choice import Emitters
from netspec.runtime.models.inputs import Inputs

Array = NDArray[Any]

# Batch sizes, picture sizes and numbers of threads that are remembered at a time.
REMEMBERED = 8

# A recording is tried on so many random batches against the program that it was made from.
TRIALS = 2


class Predictor:
    """The outputs of a net in evaluation mode, as fast as they come.

    What can be computed from the parameters alone is computed once: batch norms folded into
    convolutions, weights laid out for their matrix products. The first batch of a size is slow, for
    the NumPy calls that it takes are recorded; the others only make these calls again (see
    `netspec.runtime.engine.record.recorder`), which saves most of the time where batches are small. A
    program that cannot be recorded runs as it is.

    Threads: several may call it at a time. Each call has memory and a recording of its own, of which
    there will be as many as calls that ran side by side. It can be copied and pickled, and used in
    processes that were forked or spawned; it then records anew.

    Args:
        graph: the net.
        dtype: of the model.
        parameters: by name; taken as they are, so nobody may change them.
        emitters: of the model.
    """

    def __init__(
        self,
        graph: Graph,
        dtype: np.dtype[Any],
        parameters: Mapping[str, Array],
        emitters: Emitters,
    ) -> None:
        self.graph = graph
        self.dtype = dtype
        self._parameters = dict(parameters)
        self._emitters = emitters
        self._inputs = Inputs(graph, dtype)
        self._prepared: Recent[Any, _Prepared] = Recent(REMEMBERED)

    def __reduce__(self) -> tuple[Any, ...]:
        return Predictor, (self.graph, self.dtype, self._parameters, self._emitters)

    def __call__(self, x: ArrayLike | Mapping[str, ArrayLike]) -> Any:
        """The outputs of a batch.

        Args:
            x: as for `Model.forward`.

        Returns:
            As `Model.forward`.

        Raises:
            NetspecError: `model/input-shape` if the shape does not fit.
        """
        # An array as it should be, of a shape seen before, is taken without another look.
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
        program = Program(graph, plan, self.dtype, choose=self._emitters.choose)
        return _Prepared(program, self._parameters)


class _Prepared:
    """A program for batches of one size, and those of its runs that nobody makes at the moment."""

    def __init__(self, program: Program, parameters: Mapping[str, Array]) -> None:
        self._program, self._parameters = program, parameters
        self._free: list[_Run] = []

    def __call__(self, inputs: Sequence[Array]) -> Any:
        try:
            run = self._free.pop()
        except IndexError:  # it takes one step: no other thread comes between
            run = _Run(self._program, self._program.new_memory(), self._parameters, inputs)
        answer = run(inputs)
        self._free.append(run)  # one that an exception ended, an interrupt say, is not used again
        return answer

    @property
    def recording(self) -> Recording | None:
        """What a call makes; None where it runs the program."""
        return self._free[-1].recording


class _Run:
    """A program in memory of its own, recorded where that can be done: for one call at a time."""

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
        self._inputs = [np.zeros_like(array) for array in inputs]
        for buffer, array in zip(plan.inputs.values(), self._inputs, strict=True):
            self._buffers[buffer.name] = array
        self._run_program()
        self._outputs = {name: self._buffers[b.name] for name, b in plan.outputs.items()}
        self.recording = self._record()

    def __call__(self, inputs: Sequence[Array]) -> Any:
        for array, given in zip(self._inputs, inputs, strict=True):
            np.copyto(array, given)
        self._run()
        copies = {name: array.copy() for name, array in self._outputs.items()}
        return copies if len(copies) > 1 else next(iter(copies.values()))

    def _run(self) -> None:
        if self.recording is None:
            self._run_program()
            return
        with parallel.one_blas_thread(), as_ieee():
            self.recording.run()

    def _run_program(self) -> None:
        self._program.forward(self._buffers, self._parameters)

    def _record(self) -> Recording | None:
        with as_ieee():
            recording = self._program.record(self._buffers, self._parameters)
        if recording is None:
            return None
        # The recorder sees what passes through NumPy's protocols. What might have slipped past it,
        # a branch on a value say, shows here.
        rng = np.random.default_rng(0)
        for _ in range(TRIALS):
            for array in self._inputs:
                array[...] = rng.standard_normal(array.shape)
            self._run_program()
            expected = [array.copy() for array in self._outputs.values()]
            with parallel.one_blas_thread(), as_ieee():
                recording.run()
            pairs = zip(self._outputs.values(), expected, strict=True)
            if not all(np.array_equal(a, b, equal_nan=True) for a, b in pairs):
                return None
        return recording
