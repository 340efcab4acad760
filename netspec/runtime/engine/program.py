"""A planned program that can be run: compiled functions, and memory bound for a batch size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.plan import Plan
from netspec.compiler.numpy_backend.pipeline import make_plan, run_passes
from netspec.kernels import parallel
from netspec.runtime.engine.code import Choose, Code, Codes, as_planned
from netspec.runtime.engine.floating_point import as_ieee
from netspec.runtime.engine.memory import BatchMemory, Buffers, layout
from netspec.runtime.engine.record.recorder import Recorder, Recording

__all__ = ["Program", "make_plan", "run_passes"]

Array = NDArray[Any]


class Ready(Protocol):
    """A forward pass that is ready to run again and again, in one thread at a time."""

    run: Callable[[], None]

    def give(self, name: str, array: Array) -> None:
        """Have it read an input from an array of the right type and shape, which stays until it has
        run, or from a copy.
        """
        ...


class _Ready:
    """What runs on inputs that are copied into its buffers."""

    def __init__(self, run: Callable[[], None], buffers: Buffers) -> None:
        self.run, self._buffers = run, buffers

    def give(self, name: str, array: Array) -> None:
        """See `Ready`."""
        self._buffers[name][...] = array


class Program:
    """Runs a plan for any batch size.

    Its code may be shared by threads, but memory may not. The result of `bind`, and the methods
    that are called with it, are for one thread. If several threads call, each borrows its own
    `memory`.

    Args:
        graph: the net.
        plan: its plan.
        dtype: the type of every array.
        steps: a plan with only some of the steps, which is run in the memory of the whole plan: for
            a checker that needs to see what a step writes before that memory is reused.
        choose, make: see `Codes`.
        replays: if the program is run repeatedly on the same arrays, repeat only the NumPy calls of
            the kernels, which is faster and gives the same bits; see `Replay`.
    """

    def __init__(
        self,
        graph: Graph,
        plan: Plan,
        dtype: np.dtype[Any],
        steps: Plan | None = None,
        *,
        choose: Choose = as_planned,
        make: Callable[[Graph, Plan, Plan | None], Code] = Code,
        replays: bool = False,
    ) -> None:
        self.plan = plan
        self.dtype = dtype
        self._replays = replays
        self._codes = Codes(graph, plan, steps, dtype, choose, make)
        self._own = self.new_memory()
        self._free = [self._own]

    def code(self, batch: int) -> Code:
        """Return the code for a batch size."""
        return self._codes.get(batch)

    def new_memory(self) -> BatchMemory:
        """Return new memory to run in; nothing is allocated before it is bound."""
        return BatchMemory(self._codes.get, self.dtype)

    @contextmanager
    def memory(self) -> Iterator[BatchMemory]:
        """Context manager: lend memory to the caller exclusively, from an earlier run or new.

        There are as many memories as threads that borrow at the same time. Memory is not lent again
        after an exception, because an interrupted run leaves recordings and numbers incomplete.
        """
        try:
            lent = self._free.pop()
        except IndexError:  # `pop` is atomic: no other thread can come between
            lent = self.new_memory()
        yield lent
        self._free.append(lent)

    def bind(self, batch: int) -> Buffers:
        """Return the buffers for a batch size, by name.

        The caller replaces the input arrays or fills them.
        """
        return self._own.bind(batch)

    def needed_bytes(self, batch: int) -> int:
        """Return the bytes of all memory that the program works in after `bind` for a batch."""
        code = self.code(batch)
        outside = sum(buffer.elements(batch) for buffer in code.places.external)
        arena = code.copies(batch) * layout(code.places, code.part(batch), self.dtype)[1]
        elements = arena + code.scratch_elements(batch) + outside
        return elements * self.dtype.itemsize

    def sample(self, buffers: Buffers, rng: np.random.Generator) -> None:
        """Draw the random masks of a step."""
        sample = buffers.code.functions.get("sample")
        if sample is not None:
            sample(buffers, rng)

    def forward(self, buffers: Buffers, parameters: Mapping[str, Array]) -> None:
        """Compute the outputs from the inputs in `buffers`."""
        self._run("forward", buffers, (parameters,))

    def backward(
        self,
        buffers: Buffers,
        parameters: Mapping[str, Array],
        gradients: Mapping[str, Array],
    ) -> None:
        """Fill `gradients`, given the outputs' gradients in `buffers`."""
        self._run("backward", buffers, (parameters, gradients))

    def _run(self, part: str, buffers: Buffers, others: tuple[Mapping[str, Array], ...]) -> None:
        with parallel.one_blas_thread(), as_ieee():
            self._replayed(part, buffers, others)

    def ready(self, buffers: Buffers, parameters: Mapping[str, Array]) -> Ready:
        """Return `forward` for these arrays, which stay."""
        return _Ready(partial(self.forward, buffers, parameters), buffers)

    def record(self, buffers: Buffers, parameters: Mapping[str, Array]) -> Recording | None:
        """Record the NumPy calls of `forward` for the outputs, with the parameters taken as constants.

        Returns None if the calls might not be the same for every input, or there are none.
        """
        with Recorder(fold=True) as recorder:
            known = {name: recorder.array(a, constant=True) for name, a in parameters.items()}
            bound = _recorded(recorder, buffers)
            forked = parallel.in_place_of_run(recorder.fork)
            with forked, parallel.fine_parts(), parallel.one_blas_thread():
                function = buffers.code.functions["forward"]
                function(bound, known, recorder.array(buffers.scratch))
            return recorder.recording([bound[b.name] for b in self.plan.outputs.values()])

    def _replayed(
        self,
        part: str,
        buffers: Buffers,
        others: tuple[Mapping[str, Array], ...],
    ) -> None:
        function = buffers.code.functions[part]
        if not self._replays:
            function(buffers, *others, buffers.scratch)
            return

        def record(own: Sequence[Array]) -> Recording | None:
            with Recorder(fold=False, own=own) as recorder:
                # Before the buffers, which have views of parameters from the second run on: a memory
                # that is registered in another order would make another recording.
                rest = [{name: recorder.array(a) for name, a in each.items()} for each in others]
                bound = _recorded(recorder, buffers)
                with parallel.in_place_of_run(recorder.fork):
                    function(bound, *rest, recorder.array(buffers.scratch))
                for name in bound.keys() - buffers.keys():
                    buffers[name] = recorder.plain(bound[name])  # a view made by the program
                return recorder.recording([])

        arrays = [buffers[name] for name in buffers.outside]
        for each in others:
            arrays += each.values()
        # Runs that are not recorded divide the work in the same way, so that their sums have the
        # same bits.
        with parallel.fine_parts():
            directly = partial(function, buffers, *others, buffers.scratch)
            buffers.replays[part].run(arrays, directly, record)


def _recorded(recorder: Recorder, buffers: Buffers) -> dict[str, Array]:
    """Return the buffers as arrays whose use is recorded."""
    # Memory is registered from the largest array down, so that parts of an array come after the
    # whole.
    memory = [buffers.arena, buffers.scratch, *buffers.values()]
    for array in sorted(memory, key=lambda array: -array.nbytes):
        recorder.array(array)
    return {name: recorder.array(array) for name, array in buffers.items()}
