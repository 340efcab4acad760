"""onnxruntime, running the ONNX export of the generated PyTorch module."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import onnxruntime
import torch

from netspec.tools.bench.peers.pytorch import build, tensors
from netspec.tools.bench.workload import Runner, Workload


def prepare(case: Workload) -> Runner:
    """Return a session on the exported net; only inference."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = case.threads
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        torch.onnx.export(build(case), tuple(tensors(case)), path)
        session: Any = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
    names = [given.name for given in session.get_inputs()]
    feed = dict(zip(names, case.inputs().values(), strict=True))
    return Runner(
        lambda: session.run(None, feed)[case.output],
        lambda y: {"output": y},
        onnxruntime.__version__,
    )
