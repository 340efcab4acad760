"""A net that only answers: its parameters fixed, and the NumPy calls for a batch size recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netspec.compiler.ir.graph import Graph
from netspec.kernels import parallel
from netspec.runtime.engine.program import Program, make_plan
from netspec.runtime.engine.record.recorder import Recording

if TYPE_CHECKING:
    from netspec.runtime.models.numpy_model import Model

Array = NDArray[Any]

# Batch sizes, picture sizes and numbers of threads that are remembered at a time.
REMEMBERED = 8

# A recording is tried on so many random batches against the program that it was made from.
TRIALS = 2


class Predictor:
    """The outputs of a net in evaluation mode, as fast as they come.

    It keeps the parameters that the model had when it was made, and what can be computed from them
    alone is computed once: batch norms folded into convolutions, weights laid out for their matrix
    products. The first batch of a size is slow, for the NumPy calls that it takes are recorded; the
    others only make these calls again (see `netspec.runtime.engine.record.recorder`), which saves
    most of the time where batches are small. A program that cannot be recorded runs as it is.

    Not to be called by several threads at once.

    Args:
        model: the model; it may be trained on, which changes nothing here.
    """

    def __init__(self, model: Model) -> None:
        self.graph: Graph = model.graph
        self.dtype: np.dtype[Any] = model.dtype
        self._model = model
        self._parameters = model.state_dict()
        self._prepared: dict[Any, _Prepared] = {}

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
            prepared = self._prepared.get((parallel.threads(), x.shape))
            if prepared is not None:
                return prepared([x])
        arrays = self._model.check_inputs(x)
        key = (parallel.threads(), *(array.shape for array in arrays.values()))
        if key not in self._prepared:
            while len(self._prepared) >= REMEMBERED:
                del self._prepared[next(iter(self._prepared))]
            self._prepared[key] = self._prepare(arrays)
        return self._prepared[key](list(arrays.values()))

    forward = __call__

    def _prepare(self, arrays: Mapping[str, Array]) -> _Prepared:
        graph = self._model.sized(arrays)
        plan = make_plan(graph, training=False, backward=False)
        return _Prepared(Program(graph, plan, self.dtype), self._parameters, arrays)


class _Prepared:
    """A program for batches of one size, recorded where that can be done."""

    def __init__(
        self, program: Program, parameters: Mapping[str, Array], arrays: Mapping[str, Array]
    ) -> None:
        self._program = program
        self._parameters = parameters
        self._buffers = program.bind(len(next(iter(arrays.values()))))
        plan = program.plan
        self._inputs = [np.zeros_like(arrays[name]) for name in plan.inputs]
        for buffer, array in zip(plan.inputs.values(), self._inputs, strict=True):
            self._buffers[buffer.name] = array
        self._run_program()
        self._outputs = {name: self._buffers[b.name] for name, b in plan.outputs.items()}
        self.recording = self._record()

    def __call__(self, inputs: list[Array]) -> Any:
        for array, given in zip(self._inputs, inputs, strict=True):
            np.copyto(array, given)
        self._run()
        copies = {name: array.copy() for name, array in self._outputs.items()}
        return copies if len(copies) > 1 else next(iter(copies.values()))

    def _run(self) -> None:
        if self.recording is None:
            self._run_program()
            return
        with parallel.one_blas_thread():
            self.recording.run()

    def _run_program(self) -> None:
        self._program.forward(self._buffers, self._parameters)

    def _record(self) -> Recording | None:
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
            with parallel.one_blas_thread():
                recording.run()
            pairs = zip(self._outputs.values(), expected, strict=True)
            if not all(np.array_equal(a, b, equal_nan=True) for a, b in pairs):
                return None
        return recording
