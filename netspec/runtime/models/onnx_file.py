"""Writes a model as an ONNX file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph
from netspec.compiler.onnx_backend import OnnxModel, OnnxOptions, onnx_model
from netspec.runtime.data.input_normalization import InputNormalization, readable_json
from netspec.runtime.weights.atomic_write import told_plainly
from netspec.runtime.weights.data_facts import TrainedOn, stored_names
from netspec.runtime.weights.output_file import write_output


def about_model(
    arguments: Mapping[str, object],
    normalization: InputNormalization | None,
    class_names: Sequence[str],
) -> dict[str, str]:
    """Return what a model says of itself: the net's arguments, and what its weights say of the data."""
    about = {"netspec.arguments": json.dumps(dict(arguments), sort_keys=True)}
    if normalization is not None:
        about["netspec.normalization"] = readable_json(normalization)
    if class_names:
        about["netspec.class_names"] = json.dumps(list(class_names))
    return about


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
            `limit/layers`, `output/unwritable`, `output/disk-full`.
    """
    options = options or OnnxOptions()
    about = about_model(arguments or {}, None, ())
    if trained_on is not None:
        names = stored_names(trained_on.about)
        about = about_model(arguments or {}, trained_on.normalization, names)
    options = replace(options, metadata={**about, **options.metadata})
    write_model(Path(path), onnx_model(graph, state, options))


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
