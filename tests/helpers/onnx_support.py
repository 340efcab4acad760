"""Runs ONNX models with onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(bool)": np.bool_}


def session(model: bytes | str) -> Any:
    """Return onnxruntime's session of a model, given as bytes or by its path."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run_session(given: Any, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the outputs by name, for inputs of the types that the model asks for."""
    feed = {each.name: inputs[each.name].astype(TYPES[each.type]) for each in given.get_inputs()}
    names = [each.name for each in given.get_outputs()]
    return dict(zip(names, given.run(names, feed), strict=True))


def check_model(model: Any) -> None:
    """Check a model as the package onnx does, with all its shapes."""
    onnx.checker.check_model(model, full_check=True)
