"""`netspec.from_onnx`: an ONNX file as a checked net."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from netspec.net import Net


def from_onnx(
    path: str | os.PathLike[str],
    sizes: Mapping[str, tuple[int, ...]] | tuple[int, ...] | None = None,
    *,
    outputs: Sequence[str] = (),
    weights_out: str | os.PathLike[str] | None = None,
) -> Net:
    """Import an ONNX file, which is not trusted: its layers and names, proved in onnxruntime to compute
    the same.

    The text of the file is `net.written.module.source.text`.

    Args:
        path: the file.
        sizes: the shapes of inputs for one image, where the file leaves them open, by the file's
            names and with its order of axes; or that of its only input.
        outputs: the outputs of the file that the net has, by the file's names, without what only
            others need; without any all of them.
        weights_out: a safetensors file for the model's weights, which `netspec.load_weights` reads.

    Raises:
        NetspecError: `import/inexpressible`, one for each operator that no layer stands for;
            `import/differs`; `onnx/file`; `onnx/input`; `library/onnx`, `library/onnxruntime`;
            `output/unwritable`.
    """
    from netspec.imports.onnx.convert import import_onnx
    from netspec.imports.onnx.input_shapes import ONLY

    given = sizes if isinstance(sizes, Mapping) or sizes is None else {ONLY: tuple(sizes)}
    found = import_onnx(Path(path), given, [outputs] if isinstance(outputs, str) else outputs)
    if weights_out is not None:
        from netspec.runtime.weights.safetensors_file import save_weights

        save_weights(weights_out, found.state, found.normalization, found.about)
    return Net(found.net.graph, found.net.written, found.net.warnings)
