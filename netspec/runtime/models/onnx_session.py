"""A net's ONNX model in onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.compiler.ir.graph import Graph
from netspec.compiler.onnx_backend import OnnxOptions, onnx_model
from netspec.diagnostics import NetspecError

Array = NDArray[Any]

TYPES = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16,
    "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(int16)": np.int16,
    "tensor(int8)": np.int8, "tensor(uint8)": np.uint8, "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32, "tensor(uint64)": np.uint64, "tensor(bool)": np.bool_,
}  # fmt: skip
# What fails raises an error besides, which is told; the log would write a file's names to the terminal
# as they are.
_NOTHING_IS_LOGGED = 4


def require_onnxruntime() -> Any:
    """Import and return onnxruntime.

    Raises:
        NetspecError: `library/onnxruntime`.
    """
    try:
        import onnxruntime
    except ImportError:
        raise NetspecError.simple(
            codes.LIBRARY_ONNXRUNTIME, "onnxruntime is not installed", "pip install onnxruntime"
        ) from None
    return onnxruntime


def session_options(threads: int) -> Any:
    """Return the options of a session with so many threads, which logs nothing."""
    options = require_onnxruntime().SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _NOTHING_IS_LOGGED
    return options


class OnnxSession:
    """A net with its parameters in onnxruntime.

    Args:
        graph: the net.
        parameters: its parameters and buffers.
        threads: how many threads it may use.

    Raises:
        NetspecError: `library/onnxruntime`, `library/onnx`, `compile/no-onnx`.
    """

    def __init__(self, graph: Graph, parameters: Mapping[str, Array], threads: int = 1) -> None:
        runtime = require_onnxruntime()
        content = onnx_model(graph, parameters, OnnxOptions()).content()
        self._session = runtime.InferenceSession(
            content, session_options(threads), providers=["CPUExecutionProvider"]
        )

    def fed(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return a batch as the model takes it: its inputs in the types that it has."""
        wanted = self._session.get_inputs()
        return {w.name: np.ascontiguousarray(inputs[w.name], TYPES[w.type]) for w in wanted}

    def __call__(self, fed: Mapping[str, Array]) -> list[Array]:
        """Return the outputs, in the net's order, for what `fed` gives."""
        outputs: list[Array] = self._session.run(None, fed)
        return outputs
