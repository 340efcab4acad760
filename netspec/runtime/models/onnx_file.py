"""Writes a model as an ONNX file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from netspec import codes
from netspec.compiler.ir.graph import Graph
from netspec.compiler.onnx_backend import NORMALIZES, OnnxModel, OnnxOptions, onnx_model
from netspec.diagnostics import NetspecError
from netspec.runtime.data.input_normalization import InputNormalization, readable_json
from netspec.runtime.data.input_scales import input_scales
from netspec.runtime.data.normalization_text import inputs_text
from netspec.runtime.weights.atomic_write import told_plainly
from netspec.runtime.weights.data_facts import TrainedOn, image_type, stored_names
from netspec.runtime.weights.output_file import write_output


def about_model(
    arguments: Mapping[str, object],
    inputs: Sequence[str],
    normalization: InputNormalization | None,
    about: Mapping[str, str],
    *,
    normalizes: bool = False,
) -> dict[str, str]:
    """Return what a model says of itself: the net's arguments, and what its weights say of the data.

    Args:
        arguments: those of the net.
        inputs: the names of its inputs.
        normalization: of these, if it is known.
        about: the metadata of the weights file.
        normalizes: whether the model normalises by itself.
    """
    said = {"netspec.arguments": json.dumps(dict(arguments), sort_keys=True)}
    if normalization is not None:
        of_bytes = image_type(about) == "uint8"
        lines = inputs_text(normalization, tuple(inputs), of_bytes=of_bytes, normalizes=normalizes)
        said["netspec.inputs"] = "\n".join(lines)
        said["netspec.normalization"] = readable_json(normalization)
        said[NORMALIZES] = json.dumps(normalizes)
    if types := image_type(about):
        said["netspec.image_type"] = types
    if names := stored_names(about):
        said["netspec.class_names"] = json.dumps(names)
    return said


def write_onnx(
    path: str | os.PathLike[str],
    graph: Graph,
    state: Mapping[str, NDArray[Any]],
    options: OnnxOptions | None = None,
    arguments: Mapping[str, object] | None = None,
    trained_on: TrainedOn | None = None,
) -> None:
    """Write a net with its parameters as an ONNX file, completely or not at all.

    Weights of more than 1.8 GB are written beside it, to a file with `.data` behind its name.

    Args:
        path: the file.
        graph: the net.
        state: its parameters and buffers by name.
        options: how it is written, by default as `OnnxOptions()` says.
        arguments: those that the net was made with, which the file says.
        trained_on: what is known of the data, which the file says too.

    Raises:
        NetspecError: `compile/no-onnx`, `compile/opset`, `compile/half`, `library/onnx`,
            `limit/layers`, `output/unwritable`, `output/disk-full`; `weights/no-normalization` if the
            model is to normalise and does not know how.
    """
    options = options or OnnxOptions()
    by = None if trained_on is None else trained_on.normalization
    if options.normalize and by is None:
        raise NetspecError.simple(
            codes.WEIGHTS_NO_NORMALIZATION,
            "normalize=True, and the model does not know how its inputs were normalised",
            "model.load_state_dict(netspec.load_weights(path)) tells it, or a training",
        )
    about = about_model(
        arguments or {}, tuple(graph.inputs), by, {} if trained_on is None else trained_on.about,
        normalizes=options.normalize,
    )  # fmt: skip
    scales = input_scales(by, graph.inputs) if options.normalize and by is not None else {}
    options = replace(options, metadata={**about, **options.metadata})
    write_model(Path(path), onnx_model(graph, state, options, scales))


def write_model(path: Path, model: OnnxModel) -> None:
    """Write the files of a model, that with the model last.

    Raises:
        NetspecError: `output/unwritable`, `output/disk-full`.
    """
    beside = data_file(path)
    if model.beside:
        with told_plainly(beside):
            write_output(beside, model.data())
    with told_plainly(path):
        write_output(path, model.content(beside.name))


def data_file(path: Path) -> Path:
    """Return the file for weights that lies beside a model."""
    return path.with_name(f"{path.name}.data")
