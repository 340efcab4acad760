"""Whether an ONNX file stores numbers in half precision, which onnxruntime does not tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def stores_half(path: Path) -> bool:
    """Return whether a file that onnxruntime has read stores numbers in half precision, as weights or in
    operators; False where the package onnx, which reads it, is not installed.
    """
    try:
        import onnx
    except ImportError:
        return False
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except Exception:  # of google.protobuf, for a file in another format of onnxruntime
        return False
    half = onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16
    return any(tensor.data_type in half for tensor in _stored(model))


def _stored(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield the tensors that a model holds, those of its operators too."""
    yield from model.graph.initializer
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        for node in nodes:
            yield from (each.t for each in node.attribute if each.HasField("t"))
