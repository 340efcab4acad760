"""Runs the ONNX model of a net with onnxruntime."""

from __future__ import annotations

from netspec.compiler.ir.graph import Graph
from netspec.runtime.models.onnx_session import OnnxSession
from netspec.tools.agreement.case import Trial
from netspec.tools.agreement.quantities import Item, Trace

DTYPE = "float32"  # what models are written in


def trace_onnx(graph: Graph, case: Trial) -> Trace:
    """Return the outputs of a net's ONNX model for a batch, in evaluation.

    Raises:
        NetspecError: as `OnnxSession` does.
    """
    session = OnnxSession(graph, case.parameters)
    outputs = session(session.fed(case.inputs))
    return {Item("output", n): y for n, y in zip(graph.outputs, outputs, strict=True)}
