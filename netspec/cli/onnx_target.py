"""`netspec compile FILE --target onnx`: its options, and the file that it writes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from netspec.cli import FAILED, OK
from netspec.cli.common import natural, tell
from netspec.cli.normalized_files import required_normalization, say_inputs
from netspec.cli.output_place import check_beside, compiled_before, net_sources, say_out_of_date
from netspec.cli.trained_net import explained_mismatch, say_matches, stored_weights

if TYPE_CHECKING:
    from netspec.cli.trained_net import Stored
    from netspec.compiler.onnx_backend import OnnxOptions
    from netspec.net import Net
    from netspec.runtime.models.numpy_model import Model


def add_onnx_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that only ONNX models have."""
    group = parser.add_argument_group("the ONNX model")
    group.add_argument("--opset", type=natural, metavar="N",
                       help="onnx: the version of ONNX's operators, 17 to 23 (default 20); below 20"
                       " the file also has an older format, for older runtimes")  # fmt: skip
    group.add_argument("--softmax", action="store_true", help="onnx: end in probabilities")
    group.add_argument("--functions", action="store_true",
                       help="onnx: make each block a function")  # fmt: skip
    group.add_argument("--fp16", action="store_true",
                       help="onnx: store the weights in half precision; the arithmetic stays in"
                       " float32")  # fmt: skip


def chosen_onnx_options(options: argparse.Namespace) -> list[str]:
    """Return the options for ONNX models alone that are given."""
    given = {
        "--opset": options.opset is not None,
        "--softmax": options.softmax,
        "--functions": options.functions,
        "--fp16": options.fp16,
    }
    return [option for option, on in given.items() if on]


def compile_model(net: Net, options: argparse.Namespace) -> int:
    """Write the model, or compare it with an existing file.

    Raises:
        NetspecError: for the net and the weights, and as `write_onnx` does.
    """
    from netspec.compiler.onnx_backend import onnx_model
    from netspec.compiler.passes.layer_limit import require_few_layers
    from netspec.runtime.data.input_scales import input_scales
    from netspec.runtime.models.onnx_file import data_file, write_model

    require_few_layers(net.graph)  # before a value is drawn for each
    stored = stored_weights(options)
    held = _with_weights(net, stored, options)
    scales = {}
    if options.normalize_input:
        scales = input_scales(required_normalization(stored), net.graph.inputs)
    else:
        say_inputs(stored, tuple(net.graph.inputs))
    model = onnx_model(net.graph, held.parameters, _options(net, stored, options), scales)
    beside = data_file(options.output)
    if options.check:
        found = _check(options.output, model.content(beside.name))
        return max(found, _check(beside, model.data())) if model.beside else found
    if model.beside:
        check_beside([beside], options.output, net_sources(net), force=options.force)
        tell(f"{beside} belongs to it")
    write_model(options.output, model)
    return OK


def _with_weights(net: Net, stored: Stored | None, options: argparse.Namespace) -> Model:
    """Return the net with its weights, or with initial values, which is said."""
    model = net.compile("numpy")
    if stored is not None:
        with explained_mismatch(options, stored.run):
            model.load_state_dict(stored.weights.tensors)
        say_matches(stored.weights, stored.path, model)
    elif net.graph.parameters:
        tell("note: no --weights: the model has the initial values of seed 0")
    return model


def _options(net: Net, stored: Stored | None, options: argparse.Namespace) -> OnnxOptions:
    """Return how the model is written."""
    from netspec.compiler.onnx_backend import OnnxOptions
    from netspec.compiler.onnx_backend.model import DEFAULT_OPSET
    from netspec.runtime.models.onnx_file import about_model

    weights = None if stored is None else stored.weights
    about = about_model(
        net.written.arguments, tuple(net.graph.inputs),
        None if weights is None else weights.normalization,
        {} if weights is None else weights.metadata, normalizes=options.normalize_input,
    )  # fmt: skip
    return OnnxOptions(
        opset=DEFAULT_OPSET if options.opset is None else options.opset,
        softmax=options.softmax,
        inference=options.inference,
        half=options.fp16,
        functions=options.functions,
        normalize=options.normalize_input,
        metadata=about,
    )


def _check(path: Path, content: bytes) -> int:
    """Return OK if a file holds these bytes.

    Raises:
        NetspecError: `file/unreadable`.
    """
    held = compiled_before(path, len(content))
    if held is not None and held != content:
        say_out_of_date(path)
    return OK if held == content else FAILED
