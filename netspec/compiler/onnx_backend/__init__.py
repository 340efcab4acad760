"""The ONNX backend: writes a net with its weights as an ONNX model.

Each op gives its form as data (`Op.onnx`); `lower` puts these together and names them, passes over
the operators fold and convert (`fold_batch_norm`, `half_weights`), and `proto` writes the model with
the package onnx, which nothing else here imports.
"""

from netspec.compiler.onnx_backend.model import NORMALIZES, OnnxOptions, onnx_model
from netspec.compiler.onnx_backend.normalized_inputs import NORMALIZE
from netspec.compiler.onnx_backend.proto import OnnxModel, require_onnx

__all__ = ["NORMALIZE", "NORMALIZES", "OnnxModel", "OnnxOptions", "onnx_model", "require_onnx"]
