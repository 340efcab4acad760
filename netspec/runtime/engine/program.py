"""A planned program, ready to run: its source executed once, its buffers bound for a batch size."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.plan import Buffer, Plan
from netspec.compiler.numpy_backend.emit import emit_program
from netspec.compiler.numpy_backend.memory_use import ALIGNMENT, scratch_elements
from netspec.compiler.numpy_backend.passes.plan_memory import plan_memory
from netspec.compiler.numpy_backend.pipeline import make_plan, run_passes
from netspec.kernels import parallel
from netspec.runtime.engine.record.recorder import Recorder, Recording
from netspec.runtime.engine.record.replay import Replay

__all__ = ["Program", "make_plan", "program_source", "run_passes"]

Array = NDArray[Any]


def program_source(graph: Graph, *, training: bool, **options: Any) -> str:
    """The NumPy source of a graph, as it runs. `options` are those of `make_plan`."""
    return emit_program(make_plan(graph, training=training, **options), graph).text


# Batch sizes whose buffers and recordings are kept at a time.
REMEMBERED = 8


class Program:
    """Runs a plan for any batch size; buffers are allocated once and kept.

    Batches of several sizes share the memory of the largest.

    Args:
        graph: the net.
        plan: its plan.
        dtype: of every array.
        steps: a plan with some of the steps alone, to be run in the memory of the whole one: for a
            checker that wants to see what a step writes before that is used again.
        replays: where it runs on the same arrays again and again, make the NumPy calls of the
            kernels without the kernels, which is faster and gives the same bits; see `Replay`.
    """

    def __init__(
        self,
        graph: Graph,
        plan: Plan,
        dtype: np.dtype[Any],
        steps: Plan | None = None,
        *,
        replays: bool = False,
    ) -> None:
        self._replays = replays
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
        """The buffers for a batch size, by name. The caller puts its inputs in, or fills those there."""
        key = (batch, parallel.threads())  # scratch is shared out among the threads
        if key not in self._bound:
            while len(self._bound) >= REMEMBERED:
                del self._bound[next(iter(self._bound))]
            offsets, size = self._layout(batch)
            if size > len(self._arena):
                self._arena = _aligned(size, self.dtype)
                self._bound.clear()
            scratch = scratch_elements(self._source, batch)
            if scratch > len(self._scratch):
                self._scratch = _aligned(scratch, self.dtype)
                self._bound.clear()
            given = {buffer.name: buffer for buffer in self.plan.inputs.values()}
            outside = dict.fromkeys([*given, *(buffer.name for buffer in self.memory.external)])
            buffers = _Buffers(
                outside, lambda name: np.empty(_shape(given[name], batch), self.dtype)
            )
            for buffer, offset in offsets.items():
                flat = self._arena[offset : offset + buffer.elements(batch)]
                buffers[buffer.name] = flat.reshape(_shape(buffer, batch))
            for buffer in self.memory.external:
                if buffer.name not in given:
                    buffers[buffer.name] = np.empty(_shape(buffer, batch), self.dtype)
            self._bound[key] = buffers
        return self._bound[key]

    def needed_bytes(self, batch: int) -> int:
        """What `bind` takes for a batch, of all memory that the program works in."""
        outside = sum(buffer.elements(batch) for buffer in self.memory.external)
        elements = self._layout(batch)[1] + scratch_elements(self._source, batch) + outside
        return elements * self.dtype.itemsize

    def _layout(self, batch: int) -> tuple[Mapping[Buffer, int], int]:
        return self.memory.layout(batch, ALIGNMENT // self.dtype.itemsize)

    def sample(self, buffers: dict[str, Array], rng: np.random.Generator) -> None:
        """Draw the random masks of a step."""
        if self._sample is not None:
            self._sample(buffers, rng)

    def forward(self, buffers: dict[str, Array], parameters: Mapping[str, Array]) -> None:
        """Compute the outputs from the inputs in `buffers`."""
        with parallel.one_blas_thread():
            self._replayed("forward", (buffers, parameters), self._forward)

    def backward(
        self,
        buffers: dict[str, Array],
        parameters: Mapping[str, Array],
        gradients: Mapping[str, Array],
    ) -> None:
        """Fill `gradients`, from the outputs' gradients in `buffers`."""
        assert self._backward is not None, "planned without a backward pass"
        with parallel.one_blas_thread():
            self._replayed("backward", (buffers, parameters, gradients), self._backward)

    def record(
        self, buffers: dict[str, Array], parameters: Mapping[str, Array]
    ) -> Recording | None:
        """The NumPy calls that `forward` makes for the outputs, its parameters taken as they are.

        None if they are not known to be the same for every input.
        """
        recorder = Recorder(fold=True)
        known = {name: recorder.array(a, constant=True) for name, a in parameters.items()}
        bound = self._recorded(recorder, buffers)
        forked = parallel.in_place_of_run(recorder.fork)
        with forked, parallel.fine_parts(), parallel.one_blas_thread():
            self._forward(bound, known, recorder.array(self._scratch))
        return recorder.recording([bound[b.name] for b in self.plan.outputs.values()])

    def _replayed(
        self, part: str, mappings: tuple[Mapping[str, Array], ...], function: Callable[..., None]
    ) -> None:
        buffers, *others = mappings
        if not self._replays or not isinstance(buffers, _Buffers):
            function(*mappings, self._scratch)
            return

        def record(own: Sequence[Array]) -> Recording | None:
            recorder = Recorder(fold=False, own=own)
            bound = self._recorded(recorder, buffers)
            rest = [{name: recorder.array(a) for name, a in each.items()} for each in others]
            with parallel.in_place_of_run(recorder.fork):
                function(bound, *rest, recorder.array(self._scratch))
            for name in bound.keys() - buffers.keys():
                buffers[name] = recorder.plain(bound[name])  # a view that the program made
            return recorder.recording([])

        arrays = [buffers[name] for name in buffers.outside]
        for each in others:
            arrays += each.values()
        # What is not recorded is cut in the same way: its sums have the same bits from the first run.
        with parallel.fine_parts():
            buffers.replays[part].run(arrays, lambda: function(*mappings, self._scratch), record)

    def _recorded(self, recorder: Recorder, buffers: Mapping[str, Array]) -> dict[str, Array]:
        """The buffers as arrays whose use is recorded."""
        # Memory is made known from the largest piece down: what is a part of another comes after it.
        memory = [self._arena, self._scratch, *buffers.values()]
        for array in sorted(memory, key=lambda array: -array.nbytes):
            recorder.array(array)
        return {name: recorder.array(array) for name, array in buffers.items()}


class _Buffers(dict[str, Array]):
    """Arrays by name. An input is made when it is asked for: most callers put their own array in.

    Attributes:
        outside: the names of the arrays that a caller may put in.
        replays: by function of the program.
    """

    def __init__(self, outside: Collection[str], make: Callable[[str], Array]) -> None:
        super().__init__()
        self.outside = outside
        self.replays = {"forward": Replay(), "backward": Replay()}
        self._make = make

    def __missing__(self, name: str) -> Array:
        array = self[name] = self._make(name)
        return array


def _shape(buffer: Buffer, batch: int) -> tuple[int, ...]:
    return (batch, *buffer.shape) if buffer.batched else buffer.shape


def _aligned(size: int, dtype: np.dtype[Any]) -> Array:
    extra = ALIGNMENT // dtype.itemsize
    memory = np.empty(size + extra, dtype)
    skip = -memory.ctypes.data % ALIGNMENT // dtype.itemsize
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
