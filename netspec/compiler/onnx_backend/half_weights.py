"""Stores weights in half precision; operators read them as float32, so nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from netspec import codes
from netspec.compiler.ir.onnx_form import ONNX_TYPES, OnnxNode, OnnxValue
from netspec.compiler.onnx_backend.program import OnnxProgram
from netspec.diagnostics import NetspecError


def half_weights(program: OnnxProgram) -> OnnxProgram:
    """Return a program whose parameters of float32 are stored as float16, each behind a `Cast`.

    Raises:
        NetspecError: `compile/half` for a number that is too large.
    """
    parameters, casts = dict(program.parameters), list[OnnxNode]()
    for name, (value, array) in program.parameters.items():
        if array.dtype != np.float32:
            continue
        with np.errstate(over="ignore"):
            half = array.astype(np.float16)
        if np.any(np.isinf(half) & np.isfinite(array)):
            raise NetspecError.simple(
                codes.COMPILE_HALF,
                f"`{name}` holds {np.abs(array).max():g}, which is too large for half precision",
                "leave out --fp16: its largest number is 65504",
            )
        stored = OnnxValue()
        parameters[name] = stored, half
        to = ONNX_TYPES["float32"]
        casts.append(OnnxNode("Cast", (stored,), (value,), {"to": to}, name=f"{name}/float32"))
    return replace(program, nodes=(*casts, *program.nodes), parameters=parameters)
