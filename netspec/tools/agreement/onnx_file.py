"""A given ONNX file, which is to compute what a net computes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.compiler.ir.graph import Graph, show_shape
from netspec.compiler.ir.input_scale import InputScale
from netspec.compiler.onnx_backend import NORMALIZES
from netspec.diagnostics import NetspecError
from netspec.runtime.data.input_normalization import InputNormalization, normalization_from_json
from netspec.runtime.data.input_scales import input_scales
from netspec.runtime.models.onnx_session import TYPES, require_onnxruntime, session_options
from netspec.text.printable import printable
from netspec.tools.agreement.case import Trial
from netspec.tools.agreement.half_precision import stores_half
from netspec.tools.agreement.probabilities import with_softmax
from netspec.tools.agreement.quantities import Item, Trace

Array = NDArray[Any]
_LONGEST = 2000
_TO_CHANNELS_LAST = (0, 2, 3, 1)
_TO_CHANNELS_FIRST = (0, 3, 1, 2)
_BYTES = 255
# Outputs that are as near to the reference, relative to its largest number, are those of the net.
_NEAR = 1e-5
# How far the sum of probabilities may be from 1, in float16 last.
_SUM_OF_ONE = (1e-4, 1e-2)


class OnnxFile:
    """An ONNX file in onnxruntime, of whatever origin.

    Args:
        path: the file.
        by: how the weights say that inputs were normalised, which the file may do itself.

    Attributes:
        path: the file.
        takes: what it took in place of the net's normalised inputs; empty if it took these.
        softmax: the net's outputs, by name, of which it gives probabilities and the net scores.
        is_half: whether it stores numbers in half precision.

    Raises:
        NetspecError: `library/onnxruntime`; `onnx/file` for what onnxruntime does not read.
    """

    def __init__(self, path: Path, by: InputNormalization | None = None) -> None:
        self.path = path
        self.takes = ""
        self.softmax: frozenset[str] = frozenset()
        self._by = by
        runtime = require_onnxruntime()
        if not path.is_file():
            raise _wrong(f"{path}: there is no such file")
        try:
            self._session = runtime.InferenceSession(
                str(path), session_options(os.cpu_count() or 1), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has a class for each of its errors
            raise _wrong(f"onnxruntime does not read {path}: {_told(error)}") from None
        self.is_half = stores_half(path)

    def require_inputs(self, graph: Graph) -> None:
        """Check that the file takes what the net takes.

        Raises:
            NetspecError: `onnx/file`.
        """
        inputs = self._session.get_inputs()
        names = _matched([each.name for each in inputs], list(graph.inputs), "inputs", self.path)
        for each in inputs:
            wanted = graph.inputs[names[each.name]]
            if _as_taken(np.empty((1, *wanted), bool), each.shape) is None:
                shown = ", ".join(map(str, each.shape))
                raise _wrong(
                    f"the input `{printable(each.name)}` of {self.path} is [{printable(shown)}],"
                    f" and `{names[each.name]}` of {graph.name} {show_shape(wanted)}"
                )

    def trace(self, graph: Graph, case: Trial, reference: Trace) -> Trace:
        """Return the outputs of the file for a batch, in evaluation, as those of a net.

        Inputs and outputs are matched by name, and in their order where the names are others. A file
        that normalises its inputs gets them as they were before: netspec's say so, of others that is
        found by which outputs are nearest to the reference. One whose batch is fixed gets the batch in
        pieces, the last of which is filled up with its last image. Outputs may be probabilities where the
        net's are scores: `softmax` has them then.

        Args:
            graph: the net.
            case: the batch.
            reference: what the net computes for it.

        Raises:
            NetspecError: `onnx/file` if the file takes or gives something else than the net.
        """
        found: list[tuple[float, str, frozenset[str], Trace]] = []
        for takes, inputs in self._ways(graph, case.inputs):
            trace = self._outputs(graph, inputs, case.batch)
            softmax = frozenset(_only_probabilities(graph, trace, reference))
            wanted = with_softmax(reference, softmax)
            found.append((_distance(trace, wanted), takes, softmax, trace))
            if found[-1][0] <= _NEAR:
                break
        _, self.takes, self.softmax, trace = min(found, key=lambda each: each[0])
        return trace

    def _outputs(self, graph: Graph, given: Mapping[str, Array], batch: int) -> Trace:
        session_inputs = self._session.get_inputs()
        wanted = {each.name: TYPES.get(each.type, np.float32) for each in session_inputs}
        names = _matched(list(wanted), list(given), "inputs", self.path)
        fed: dict[str, Array] = {}
        for each in session_inputs:
            array = given[names[each.name]]
            taken = _as_taken(array, each.shape)
            fed[each.name] = np.ascontiguousarray(
                array if taken is None else taken, wanted[each.name]
            )
        try:
            parts = [self._session.run(None, piece) for piece in self._pieces(fed, batch)]
        except Exception as error:
            raise _wrong(
                f"onnxruntime does not run {self.path} on the net's inputs: {_told(error)}"
            ) from None
        found = [_joined(arrays, batch) for arrays in zip(*parts, strict=True)]
        own_names = [each.name for each in self._session.get_outputs()]
        outputs = _matched(own_names, list(graph.outputs), "outputs", self.path)
        traced = {}
        for own, given_array in zip(own_names, found, strict=True):
            name = outputs[own]
            shape = (batch, *graph.shape_of(graph.outputs[name]))
            array = _as_given(given_array, shape)
            if array.shape != shape:
                raise _wrong(
                    f"`{printable(own)}` of {self.path} has the shape {list(array.shape)}, and"
                    f" `{name}` of {graph.name} {list(shape)}"
                )
            traced[Item("output", name)] = array
        return traced

    def _pieces(self, fed: dict[str, Array], batch: int) -> Iterator[dict[str, Array]]:
        """Yield a batch in pieces of the size that the file has fixed, or as it is."""
        sizes = {each.shape[0] for each in self._session.get_inputs() if each.shape}
        fixed = [size for size in sizes if isinstance(size, int) and size > 0]
        if len(fixed) != 1:
            yield fed
            return
        for start in range(0, batch, fixed[0]):
            at = np.minimum(np.arange(start, start + fixed[0]), batch - 1)
            yield {name: array[at] for name, array in fed.items()}

    def _ways(
        self, graph: Graph, inputs: Mapping[str, Array]
    ) -> Iterator[tuple[str, Mapping[str, Array]]]:
        """Yield inputs as a file may take them, with what they are then: before they were normalised,
        if the file says that it normalises them; else normalised, and as they were before.
        """
        about = self._session.get_modelmeta().custom_metadata_map
        if about.get(NORMALIZES) == "true":
            by = normalization_from_json(about.get("netspec.normalization", ""))
            yield "", _undone(graph, by, inputs, 1)
            return
        yield "", inputs
        if self._by is not None:
            yield "numbers as they are stored", _undone(graph, self._by, inputs, 1)
            yield "pixels from 0 to 1", _undone(graph, self._by, inputs, _BYTES)


def _undone(
    graph: Graph, by: InputNormalization, inputs: Mapping[str, Array], divisor: int
) -> dict[str, Array]:
    """Return inputs as they were before they were normalised, divided by a number."""
    found = dict(inputs)
    for name, one in input_scales(by, graph.inputs).items():
        if (one.mean.any() or (one.scale != 1).any()) and _fits(one, graph.inputs[name]):
            found[name] = (inputs[name] * one.scale + one.mean) / divisor
    return found


def _fits(one: InputScale, shape: Sequence[Any]) -> bool:
    """Whether a normalisation is for images of a shape; weights can have that of others."""
    return all(
        array.ndim == len(shape)
        and all(a in (1, b) for a, b in zip(array.shape, shape, strict=True))
        for array in (one.mean, one.scale)
    )


def _distance(trace: Trace, reference: Trace) -> float:
    """Return how far outputs are from the reference, relative to the largest number of each."""
    found = 0.0
    for item, array in trace.items():
        wanted = np.asarray(reference[item])
        size = float(np.abs(array - wanted).max(initial=0) / (np.abs(wanted).max(initial=0) or 1))
        found = max(found, size if np.isfinite(size) else np.inf)
    return found


def _as_taken(x: Array, own: Sequence[Any]) -> Array | None:
    """Return an input as a file has it: with the channels of a picture last, or a single number for each
    image without an axis, if its sizes say so; None if they fit nothing.
    """
    others = [x.transpose(_TO_CHANNELS_LAST)] if x.ndim == 4 else []
    if x.shape[1:] == (1,):
        others.append(x.reshape(len(x)))
    for each in (x, *others):
        pairs = zip(own[1:], each.shape[1:], strict=False)
        if len(own) == each.ndim and all(not isinstance(a, int) or a == b for a, b in pairs):
            return each
    return None


def _as_given(y: Array, shape: tuple[int, ...]) -> Array:
    """Return an output as a net has it, where a file has the channels last, or no axis for one number."""
    if y.ndim == 4 and y.shape != shape and y.transpose(_TO_CHANNELS_FIRST).shape == shape:
        return y.transpose(_TO_CHANNELS_FIRST)
    return y.reshape(shape) if (*y.shape, 1) == shape else y


def _joined(arrays: tuple[Array, ...], batch: int) -> Array:
    """Return an output for a batch from what it was for each piece of it."""
    if len(arrays) == 1 and not arrays[0].ndim:
        return arrays[0]
    return np.concatenate([np.atleast_1d(array) for array in arrays])[:batch]


def _are_probabilities(array: Array) -> bool:
    """Return whether numbers along axis 1 are probabilities of several classes."""
    several = array.ndim > 1 and array.shape[1] > 1
    return several and bool(
        (array >= 0).all()
        and np.allclose(
            array.sum(axis=1, dtype=np.float64), 1, atol=_SUM_OF_ONE[array.dtype == np.float16]
        )
    )


def _only_probabilities(graph: Graph, trace: Trace, reference: Trace) -> Iterator[str]:
    """Yield the outputs of which a file gives probabilities, and the net something else."""
    for name in graph.outputs:
        item = Item("output", name)
        if _are_probabilities(trace[item]) and not _are_probabilities(np.asarray(reference[item])):
            yield name


def _matched(own: list[str], names: list[str], what: str, path: Path) -> dict[str, str]:
    """Return the net's names by those of a file."""
    if len(own) != len(names):
        shown = ", ".join(map(printable, own[:5]))
        raise _wrong(f"{path} has {len(own)} {what} ({shown}), and the net {len(names)}")
    by_order = dict(zip(own, names, strict=True))
    return {name: name for name in own} if set(own) == set(names) else by_order


def _wrong(message: str) -> NetspecError:
    return NetspecError.simple(codes.ONNX_FILE, message)


def _told(error: Exception) -> str:
    """Return all lines of a message of onnxruntime as one."""
    lines = (line.strip() for line in str(error).splitlines())
    return printable("; ".join(filter(None, lines))[:_LONGEST])
