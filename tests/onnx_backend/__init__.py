"""Tests of ONNX models that netspec writes."""
