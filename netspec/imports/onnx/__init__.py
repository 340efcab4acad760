"""Reads ONNX files as nets."""
