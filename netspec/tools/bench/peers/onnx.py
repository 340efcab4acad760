"""onnxruntime, running the ONNX model of the net."""

from __future__ import annotations

from netspec.runtime.models.onnx_session import OnnxSession, require_onnxruntime
from netspec.tools.bench.workload import Runner, Workload


def prepare(case: Workload) -> Runner:
    """Return a session on the net's model; only inference."""
    session = OnnxSession(case.graph, case.start(), case.threads)
    fed = session.fed(case.inputs())
    version: str = require_onnxruntime().__version__
    return Runner(lambda: session(fed)[case.output], lambda y: {"output": y}, version)
