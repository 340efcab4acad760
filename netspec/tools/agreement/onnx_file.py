"""A given ONNX file, which is to compute what a net computes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.compiler.ir.graph import Graph, show_shape
from netspec.compiler.onnx_backend import NORMALIZES
from netspec.diagnostics import NetspecError
from netspec.runtime.data.input_normalization import normalization_from_json
from netspec.runtime.data.input_scales import input_scales
from netspec.runtime.models.onnx_session import TYPES, require_onnxruntime, session_options
from netspec.text.printable import printable
from netspec.tools.agreement.case import Trial
from netspec.tools.agreement.quantities import Item, Trace

Array = NDArray[Any]
_LONGEST = 2000


class OnnxFile:
    """An ONNX file in onnxruntime, of whatever origin.

    Args:
        path: the file.

    Raises:
        NetspecError: `library/onnxruntime`; `onnx/file` for what onnxruntime does not read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        runtime = require_onnxruntime()
        if not path.is_file():
            raise _wrong(f"{path}: there is no such file")
        try:
            self._session = runtime.InferenceSession(
                str(path), session_options(os.cpu_count() or 1), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has a class for each of its errors
            raise _wrong(f"onnxruntime does not read {path}: {_told(error)}") from None

    def require_inputs(self, graph: Graph) -> None:
        """Check that the file takes what the net takes.

        Raises:
            NetspecError: `onnx/file`.
        """
        inputs = self._session.get_inputs()
        names = _matched([each.name for each in inputs], list(graph.inputs), "inputs", self.path)
        for each in inputs:
            own, wanted = tuple(each.shape), graph.inputs[names[each.name]]
            pairs = zip(own[1:], wanted, strict=False)
            if len(own) != 1 + len(wanted) or any(
                isinstance(size, int) and size != expected for size, expected in pairs
            ):
                shown = ", ".join(map(str, own))
                raise _wrong(
                    f"the input `{printable(each.name)}` of {self.path} is [{printable(shown)}],"
                    f" and `{names[each.name]}` of {graph.name} {show_shape(wanted)}"
                )

    def trace(self, graph: Graph, case: Trial) -> Trace:
        """Return the outputs of the file for a batch, in evaluation, as those of a net.

        Inputs and outputs are matched by name, and in their order where the names are others. A file
        of netspec's that normalises its inputs gets them as they were before. One whose batch is fixed
        gets the batch in pieces, the last of which is filled up with its last image.

        Raises:
            NetspecError: `onnx/file` if the file takes or gives something else than the net.
        """
        wanted = {
            each.name: TYPES.get(each.type, np.float32) for each in self._session.get_inputs()
        }
        given = self._as_they_were(graph, case.inputs)
        names = _matched(list(wanted), list(given), "inputs", self.path)
        fed: dict[str, Array] = {
            own: np.ascontiguousarray(given[names[own]], kind) for own, kind in wanted.items()
        }
        try:
            parts = [self._session.run(None, piece) for piece in self._pieces(fed, case.batch)]
        except Exception as error:
            raise _wrong(
                f"onnxruntime does not run {self.path} on the net's inputs: {_told(error)}"
            ) from None
        found = [_joined(arrays, case.batch) for arrays in zip(*parts, strict=True)]
        own_names = [each.name for each in self._session.get_outputs()]
        outputs = _matched(own_names, list(graph.outputs), "outputs", self.path)
        traced = {}
        for own, array in zip(own_names, found, strict=True):
            name = outputs[own]
            shape = (case.batch, *graph.shape_of(graph.outputs[name]))
            if array.shape != shape:
                raise _wrong(
                    f"`{printable(own)}` of {self.path} has the shape {list(array.shape)}, and"
                    f" `{name}` of {graph.name} {list(shape)}"
                )
            if _are_probabilities(array) and not _gives_probabilities(graph, name):
                raise _wrong(
                    f"`{printable(own)}` of {self.path} holds probabilities, and `{name}` of"
                    f" {graph.name} scores: compare with a file that has no softmax at its end"
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

    def _as_they_were(self, graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return inputs as they were before they were normalised, if the file normalises them."""
        about = self._session.get_modelmeta().custom_metadata_map
        if about.get(NORMALIZES) != "true":
            return dict(inputs)
        by = normalization_from_json(about.get("netspec.normalization", ""))
        scales = input_scales(by, graph.inputs)
        return {
            name: x * scales[name].scale + scales[name].mean if name in scales else x
            for name, x in inputs.items()
        }


def _joined(arrays: tuple[Array, ...], batch: int) -> Array:
    """Return an output for a batch from what it was for each piece of it."""
    if len(arrays) == 1 and not arrays[0].ndim:
        return arrays[0]
    return np.concatenate([np.atleast_1d(array) for array in arrays])[:batch]


def _are_probabilities(array: Array) -> bool:
    """Return whether numbers along axis 1 are probabilities of several classes."""
    several = array.ndim > 1 and array.shape[1] > 1
    return several and bool((array >= 0).all() and np.allclose(array.sum(axis=1), 1, atol=1e-4))


def _gives_probabilities(graph: Graph, output: str) -> bool:
    node = graph.by_name.get(graph.outputs[output])
    return node is not None and node.op.is_distribution


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
