"""Files of models that are given where a `.net` file, or another file, is meant."""

from __future__ import annotations

import shlex
from pathlib import PurePath

_ONNX, _PROGRAM = ".onnx", ".pt2"
_WEIGHTS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
# Weights, or images and labels.
_ARRAYS = ".npz"


def is_onnx(name: str) -> bool:
    """Whether a file is an ONNX model, by its name."""
    return PurePath(name).suffix.lower() == _ONNX


def is_model(name: str) -> bool:
    """Whether a file holds a model or weights, by its name."""
    return PurePath(name).suffix.lower() in (_ONNX, _PROGRAM, _ARRAYS, *_WEIGHTS)


def what_to_do(name: str) -> str | None:
    """Return what such a file is, and the command that takes it; None for any other file."""
    suffix, stem = PurePath(name).suffix.lower(), PurePath(name).stem
    file, net = shlex.quote(name), shlex.quote(f"{stem}.net")
    if suffix == _ONNX:
        weights = shlex.quote(f"{stem}.safetensors")
        return f"an ONNX model: `netspec import onnx {file} -o {net} --weights-out {weights}`"
    if suffix == _PROGRAM:
        return f"a program of torch.export: `netspec import torch {file} -o {net}`"
    if suffix == _ARRAYS:
        return (
            f"weights or a data set: give the .net file that it is for, and --weights {file} or"
            f" `train --data {file}`; `netspec data info {file}` looks through data"
        )
    if suffix in _WEIGHTS:
        return f"weights: give the .net file that they are for, and --weights {file}"
    return None
