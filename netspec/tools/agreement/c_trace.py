"""Runs the C file of a net, compiled with the compiler of this machine."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Literal, cast

import numpy as np

from netspec import codes
from netspec.compiler.c_backend.emit import COptions, CSource, c_source
from netspec.compiler.ir.graph import Graph
from netspec.diagnostics import NetspecError
from netspec.tools.agreement.case import Trial
from netspec.tools.agreement.quantities import Array, Item, Trace

COMPILERS = ("cc", "gcc", "clang")


def require_compiler() -> str:
    """Return a C compiler: what the environment variable `CC` names, or one that is found.

    Raises:
        NetspecError: `compile/no-compiler`.
    """
    names = [os.environ["CC"]] if os.environ.get("CC") else COMPILERS
    for name in names:
        if (found := shutil.which(name)) is not None:
            return found
    raise NetspecError.simple(
        codes.COMPILE_NO_COMPILER,
        f"there is no C compiler ({', '.join(names)})",
        "install gcc or clang, or name one: CC=...",
    )


def trace_c(graph: Graph, case: Trial, dtype: str) -> Trace:
    """Compile a net's C file, and return the outputs for a batch, in evaluation.

    Args:
        graph: the net.
        case: the batch.
        dtype: `float64` or `float32`.

    Raises:
        NetspecError: `compile/no-compiler`, `compile/no-c`; `compile/c-failed` if the compiler
            refuses the file.
    """
    precision = cast(Literal["float32", "float64"], dtype)
    source = c_source(graph, case.parameters, COptions(dtype=precision))
    with tempfile.TemporaryDirectory(prefix="netspec-c-", ignore_cleanup_errors=True) as folder:
        library = ctypes.CDLL(str(_built(source, Path(folder))))
        outputs = _outputs(library, graph, case, source, np.dtype(dtype))
    return {Item("output", name): array for name, array in outputs.items()}


def _built(source: CSource, folder: Path) -> Path:
    """Compile a C file to a shared library."""
    text, library = folder / "net.c", folder / "net.so"
    text.write_text(source.text, "ascii")
    command = [require_compiler(), "-std=c99", "-O1", "-shared", "-fPIC", str(text)]
    done = subprocess.run(
        [*command, "-o", str(library), "-lm"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()
        message = f"the C compiler refuses the file: {said[0] if said else done.returncode}"
        raise NetspecError.simple(codes.COMPILE_C_FAILED, message, "please report it")
    return library


def _outputs(
    library: ctypes.CDLL, graph: Graph, case: Trial, source: CSource, dtype: np.dtype[np.floating]
) -> dict[str, Array]:
    """Call the function of the file for a batch."""
    weights = np.frombuffer(source.weights or b"", dtype.newbyteorder("<")).astype(dtype)
    if source.weights is not None:
        getattr(library, f"{source.name}_use_weights")(ctypes.c_void_p(weights.ctypes.data))
    inputs = [np.ascontiguousarray(case.inputs[name], dtype) for name in graph.inputs]
    outputs: dict[str, Array] = {
        name: np.full((case.batch, *graph.shape_of(value)), np.nan, dtype)
        for name, value in graph.outputs.items()
    }
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (*inputs, *outputs.values())]
    getattr(library, f"{source.name}_predict_batch")(case.batch, *pointers)
    return outputs
