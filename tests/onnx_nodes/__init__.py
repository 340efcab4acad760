"""ONNX's node tests, written as nets."""
