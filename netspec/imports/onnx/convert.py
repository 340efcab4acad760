"""An ONNX file as the text of a `.net` file, proved to compute the same in onnxruntime."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from netspec.compiler.ir.graph import Graph, Shape
from netspec.compiler.onnx_backend import NORMALIZES
from netspec.diagnostics import Diagnostic, NetspecError
from netspec.imports.imported_text import ImportedText
from netspec.imports.onnx.front import OnnxImport, read_onnx
from netspec.imports.onnx.proto_file import Array, shown_name, wrong
from netspec.imports.problems import told
from netspec.imports.proof import BATCHES, TOLERANCE, compared, require_same_names
from netspec.imports.sound_text import sound_text
from netspec.runtime.data.input_normalization import (
    InputNormalization,
    no_normalization,
    normalization_from_json,
)
from netspec.runtime.models.onnx_session import TYPES, require_onnxruntime, session_options

_NOWHERE = "an operator without a name"
_LONGEST_REASON = 400
_HALF_TOLERANCE = 1e-2
_SAYS_LITTLE = (
    "the outputs are the same for all inputs that were tried, so the proof says little: try others, with"
    " netspec verify NET --weights W --against FILE --data FILE.npz"
)
# onnxruntime computes a sigmoid near 0 to some digits of 1, and not to some of its own.
_SMALLEST = 1e-2
# What a file of netspec says of the data, by its name in weights files.
_OF_DATA = {"netspec.class_names": "class_names", "netspec.image_type": "image_type"}
_TYPES: Mapping[str, Any] = {**TYPES, "tensor(string)": np.str_}


def import_onnx(
    path: Path, sizes: Mapping[str, Shape] | None = None, outputs: Sequence[str] = ()
) -> ImportedText:
    """Import a file, which is not trusted: see `read_onnx`.

    Args:
        path: the file.
        sizes: the shapes of inputs for one image, see `input_shapes`.
        outputs: the outputs that are wanted, in this order; without any all of them.

    Raises:
        NetspecError: `import/inexpressible`, one for each operator that no layer stands for;
            `import/differs`; `onnx/file`; `onnx/input`; `library/onnx`, `library/onnxruntime`.
    """
    require_onnxruntime()
    imported = read_onnx(path, sizes, outputs)
    if imported.problems:
        raise NetspecError(_inexpressible(imported))
    text, checked, notes = sound_text(path.name, imported.net, nowhere=_NOWHERE)
    require_same_names(checked, imported.state)
    batches = BATCHES if imported.batch is None else (imported.batch,) * 2
    run = _runner(path, imported)
    tolerance = _HALF_TOLERANCE if imported.is_half else TOLERANCE
    proof = compared(checked, imported.state, run, batches, _SMALLEST, tolerance)
    if not proof.tells_apart:
        notes = (*notes, _SAYS_LITTLE)
    if proof.difference > tolerance:
        notes = (
            *notes,
            f"the outputs are at most {proof.peak:.1e} here, which rounding is a part of",
        )
    return ImportedText(
        text, checked, imported.state, proof.difference, (*imported.notes, *notes),
        _normalization(imported, checked.graph),
        {name: text for key, text in imported.metadata.items() if (name := _OF_DATA.get(key))},
        normalised=imported.normalised,
    )  # fmt: skip


def _normalization(imported: OnnxImport, net: Graph) -> InputNormalization | None:
    """Return the normalisation that the file says or does; none where the net does it by its layers."""
    found = [each for each in imported.borders.inputs.values() if not each.is_normal]
    if imported.metadata.get(NORMALIZES) == "true" and not found:
        return None  # the net itself does it
    kept = imported.metadata.get("netspec.normalization")
    if kept is not None:
        return normalization_from_json(kept)
    if found:
        return found[0].normalization()
    does_all = bool(imported.normalised) and set(net.real_inputs) <= set(imported.normalised)
    return no_normalization(net.inputs) if does_all else None


def _inexpressible(imported: OnnxImport) -> list[Diagnostic]:
    """Return an error for each cause."""
    named = [replace(p, path=f"`{p.path}`") if p.path else p for p in imported.problems]
    return told(named, nowhere=_NOWHERE)


def _runner(path: Path, imported: OnnxImport) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    """Return what computes the outputs of a file, by the names of the net's.

    Raises:
        NetspecError: `onnx/file` if onnxruntime does not read it.
    """
    runtime = require_onnxruntime()
    options = session_options(os.cpu_count() or 1)
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class for each of its errors
        raise wrong(f"onnxruntime does not read {path}: {_first_line(error)}") from None
    types: dict[str, Any] = {each.name: _TYPES.get(each.type) for each in session.get_inputs()}
    unread = [each for each in session.get_inputs() if each.name not in imported.inputs.values()]

    def run(given: Mapping[str, Array]) -> dict[str, Array]:
        count = len(next(iter(given.values()), ()))
        fed: dict[str, Any] = {each.name: _nothing(each, count) for each in unread}
        for name, value in given.items():
            own = imported.inputs[name]
            border = imported.borders.inputs.get(own)
            outside = value if border is None else border.outside(value)
            fed[own] = outside.astype(types[own] or np.float32)
        try:
            found = session.run(list(imported.outputs.values()), fed)
        except Exception as error:
            raise wrong(f"onnxruntime does not run the file: {_first_line(error)}") from None
        return {
            name: imported.borders.output(own, value)
            for (name, own), value in zip(imported.outputs.items(), found, strict=True)
        }

    return run


def _nothing(given: Any, count: int) -> Any:
    """Return what onnxruntime is given for an input that only other outputs need: zeros, empty texts, an
    empty sequence.
    """
    if given.type.startswith("seq"):
        return []
    sizes = [
        size if isinstance(size, int) else 1 if at else count for at, size in enumerate(given.shape)
    ]
    return np.zeros(sizes, _TYPES.get(given.type, np.float32))


def _first_line(error: Exception) -> str:
    return shown_name(str(error).strip().partition("\n")[0], _LONGEST_REASON)
