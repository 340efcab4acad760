"""Runs the C file of a net, compiled with the compiler of this machine."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, cast

import numpy as np

from netspec.compiler.c_backend.emit import COptions, CSource, c_source
from netspec.compiler.c_backend.train_file import TrainOptions, ordered, sampled, train_source
from netspec.compiler.ir.graph import Graph
from netspec.compiler.numpy_backend.pipeline import make_plan
from netspec.runtime.engine.native.c_compiler import failed, require_compiler
from netspec.tools.agreement.case import Trial
from netspec.tools.agreement.numpy_trace import stored
from netspec.tools.agreement.quantities import LOSS, Array, Item, Trace


def trace_c(graph: Graph, case: Trial, dtype: str) -> Trace:
    """Compile a net's C file, and return the outputs for a batch; in training, its gradients too.

    Args:
        graph: the net.
        case: the batch.
        dtype: `float64` or `float32`.

    Raises:
        NetspecError: `compile/no-compiler`, `compile/no-c`; `compile/c-failed` if the compiler
            refuses the file.
    """
    precision = cast(Literal["float32", "float64"], dtype)
    if case.training:
        step = TrainingStep(graph, case, dtype)
        source = step.source()
    else:
        source = c_source(graph, case.parameters, COptions(dtype=precision))
    with tempfile.TemporaryDirectory(prefix="netspec-c-", ignore_cleanup_errors=True) as folder:
        library = ctypes.CDLL(str(_built(source, Path(folder))))
        if case.training:
            return _trace_step(library, source, step)
        outputs = _outputs(library, graph, case, source, np.dtype(dtype))
    return {Item("output", name): array for name, array in outputs.items()}


class TrainingStep:
    """The arrays of a forward and a backward pass of a C file that trains, as its functions take them.

    Attributes:
        parameters: all numbers in the order of the file, which the forward pass changes.
        inputs, masks: what a batch is, by name; masks are what layers would draw.
        outputs: what the forward pass writes, by name.
        gradients, input_gradients: what the backward pass writes.
    """

    def __init__(self, graph: Graph, case: Trial, dtype: str) -> None:
        self.graph, self.case, self.dtype = graph, case, np.dtype(dtype)
        self._plan = make_plan(graph, training=True, input_gradients=True)
        self._order = ordered(graph)
        self.parameters = self._flat(case.parameters)
        self.inputs = {name: self._as(case.inputs[name]) for name in graph.inputs}
        self.masks = {
            name: self._as(stored(case.masks[name], self._plan.layouts[name]))
            for name in sampled(self._plan)
        }
        self.outputs = {
            name: self._empty(graph.shape_of(value)) for name, value in graph.outputs.items()
        }
        self.gradients = np.full_like(self.parameters, np.nan)
        self.input_gradients = {
            name: self._empty(graph.inputs[name]) for name in self._plan.input_gradients
        }

    def source(self, header: str | None = None) -> CSource:
        """Return the C file."""
        options = TrainOptions(
            self.case.batch, header, self.dtype.itemsize == 8, None, 0, True, True
        )
        return train_source(self.graph, self.case.parameters, options)

    def slopes(self, loss_gradients: Mapping[str, Array]) -> dict[str, Array]:
        """Return the gradients of outputs that the backward pass takes, by name."""
        return {name: self._as(loss_gradients[name]) for name in self._plan.output_gradients}

    def trace(self, loss: float, loss_gradients: Mapping[str, Array]) -> Trace:
        """Return what is in the arrays, after both passes."""
        trace: Trace = {LOSS: np.array(loss)}
        trace |= {Item("output", name): array for name, array in self.outputs.items()}
        trace |= {Item("loss gradient", name): a for name, a in loss_gradients.items()}
        trace |= {Item("gradient", name): a for name, a in self.input_gradients.items()}
        at = 0
        for p in self._order:
            part = slice(at, at := at + p.size)
            if p.trainable:
                trace[Item("parameter", p.name)] = self.gradients[part].reshape(p.shape)
            else:
                trace[Item("buffer", p.name)] = self.parameters[part].reshape(p.shape)
        return trace

    def _flat(self, arrays: Mapping[str, Array]) -> Array:
        parts = [self._as(arrays[p.name]).ravel() for p in self._order]
        return np.concatenate([np.zeros(0, self.dtype), *parts])

    def _as(self, array: Array) -> Array:
        return np.array(array, self.dtype, order="C")

    def _empty(self, shape: tuple[int, ...]) -> Array:
        return np.full((self.case.batch, *shape), np.nan, self.dtype)


def _trace_step(library: ctypes.CDLL, source: CSource, step: TrainingStep) -> Trace:
    """Call both passes of a file."""
    count = step.case.batch
    given = [step.parameters, *step.inputs.values(), *step.masks.values()]
    _call(library, f"{source.name}_forward", [*given, *step.outputs.values()], count)
    loss, loss_gradients = step.case.objective.program(step.outputs)
    slopes = step.slopes(loss_gradients)
    written = [step.gradients, *step.input_gradients.values()]
    _call(library, f"{source.name}_backward", [*given, *slopes.values(), *written], count)
    return step.trace(loss, loss_gradients)


def _call(library: ctypes.CDLL, function: str, arrays: Sequence[Array], count: int) -> None:
    getattr(library, function)(*(ctypes.c_void_p(a.ctypes.data) for a in arrays), count)


def _built(source: CSource, folder: Path) -> Path:
    """Compile a C file to a shared library."""
    text, library = folder / "net.c", folder / "net.so"
    text.write_text(source.text, "ascii")
    command = [*require_compiler(), "-std=c99", "-O1", "-shared", "-fPIC", str(text)]
    done = subprocess.run(
        [*command, "-o", str(library), "-lm"],
        capture_output=True, encoding="utf-8", errors="replace", check=False,
    )  # fmt: skip
    if done.returncode:
        raise failed(done.returncode, done.stderr)
    return library


def _outputs(
    library: ctypes.CDLL, graph: Graph, case: Trial, source: CSource, dtype: np.dtype[np.floating]
) -> dict[str, Array]:
    """Call the function of the file for a batch."""
    weights = np.frombuffer(source.weights or b"", dtype.newbyteorder("<")).astype(dtype)
    if source.weights is not None:
        getattr(library, f"{source.name}_use_weights")(ctypes.c_void_p(weights.ctypes.data))
    inputs = [np.ascontiguousarray(case.inputs[name], dtype) for name in graph.inputs]
    outputs: dict[str, Array] = {
        name: np.full((case.batch, *graph.shape_of(value)), np.nan, dtype)
        for name, value in graph.outputs.items()
    }
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (*inputs, *outputs.values())]
    getattr(library, f"{source.name}_predict_batch")(case.batch, *pointers)
    return outputs
