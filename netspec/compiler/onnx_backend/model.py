"""From a graph and its parameters to an ONNX model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

import numpy as np

from netspec import codes
from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.input_scale import InputScale
from netspec.compiler.onnx_backend.fold_batch_norm import fold_batch_norm
from netspec.compiler.onnx_backend.functions import OnnxFunction, with_functions
from netspec.compiler.onnx_backend.half_weights import half_weights
from netspec.compiler.onnx_backend.lower import lower
from netspec.compiler.onnx_backend.metadata import source_hash
from netspec.compiler.onnx_backend.names import named
from netspec.compiler.onnx_backend.program import Array
from netspec.compiler.onnx_backend.proto import OnnxModel, require_onnx, written
from netspec.compiler.passes.layer_limit import require_few_layers
from netspec.diagnostics import NetspecError
from netspec.records import record

OPSETS = range(17, 24)
DEFAULT_OPSET = 20
# The key of the metadata that says whether a model normalises its inputs by itself.
NORMALIZES = "netspec.normalizes"


@record
class OnnxOptions:
    """How a net is written.

    Attributes:
        opset: the version of ONNX's operators, 17 to 23.
        softmax: whether outputs become probabilities, where they are not.
        inference: whether batch norms are folded into the layers before them.
        half: whether weights are stored in half precision.
        functions: whether each block is a function.
        normalize: whether the model takes inputs as they were before training normalised them, and
            normalises them as the weights say.
        most_inside: the bytes of weights above which these are a file beside the model; one file
            holds 2 GB at most.
        metadata: texts that the model holds beside those of its source.
    """

    opset: int = DEFAULT_OPSET
    softmax: bool = False
    inference: bool = False
    half: bool = False
    functions: bool = False
    normalize: bool = False
    most_inside: int = 1_800_000_000
    metadata: Mapping[str, str] = field(default_factory=dict)


def onnx_model(
    graph: Graph,
    parameters: Mapping[str, Array],
    options: OnnxOptions,
    scales: Mapping[str, InputScale] | None = None,
) -> OnnxModel:
    """Return a net, in evaluation, as an ONNX model. Equal arguments give equal bytes.

    Inputs and outputs are float32 with the batch `N` in front; inputs that hold tokens are int64.

    Args:
        graph: the net.
        parameters: the values of its parameters and buffers, by name.
        options: how it is written.
        scales: how each input is normalised, for a model that does it.

    Raises:
        NetspecError: `compile/no-onnx` for layers without an ONNX form, `compile/opset`,
            `compile/half`, `library/onnx`, `limit/layers`.
    """
    if options.opset not in OPSETS:
        raise NetspecError.simple(
            codes.COMPILE_OPSET,
            f"opset {options.opset} is not written",
            f"opsets {OPSETS[0]} to {OPSETS[-1]}",
        )
    require_few_layers(graph)
    state = {n: a if a.dtype.kind == "i" else a.astype(np.float32) for n, a in parameters.items()}
    program = lower(graph, state, options.opset, softmax=options.softmax, scales=scales)
    if options.inference:
        program = fold_batch_norm(program)
    if options.half:
        program = half_weights(program)
    program = named(program)
    functions: tuple[OnnxFunction, ...] = ()
    if options.functions:
        program, functions = with_functions(program)
    require_onnx()
    metadata = {**options.metadata, "netspec.source_sha256": source_hash(graph)}
    return written(program, functions, options.opset, metadata, options.most_inside)
