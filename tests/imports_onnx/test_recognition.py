"""What netspec writes as ONNX is found again: layers, wires, and the names of the parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.compiler.ir.graph import Graph
from netspec.compiler.onnx_backend import OnnxOptions, onnx_model
from netspec.compiler.ops import registry
from netspec.imports.onnx.file_graph import file_graph
from netspec.imports.onnx.recognition import FoundLayer, FoundNet, found_net
from netspec.testing.op_examples import graph_of, random_parameters
from tests.conftest import ROOT
from tests.helpers.heavy import some_quick
from tests.helpers.onnx_support import onnx
from tests.helpers.zoo import FEW, WIDE

NETS = {
    str(path.relative_to(ROOT / "networks").with_suffix("")): path
    for path in sorted((ROOT / "networks").rglob("*.net"))
}
# Fewer layers where all are alike.
SMALL: dict[str, dict[str, Any]] = {
    **{f"zoo/{name}": dict(given) for name, given in (WIDE | FEW).items()},
    "zoo/vit_b_16": {"size": 48, "layers": 1},
}
QUICK = (
    "lenet", "resnet", "zoo/vae", "zoo/char_lstm", "zoo/mobilenet_v3_small", "zoo/gpt2",
    "zoo/llama", "zoo/transformer",
)  # fmt: skip


def exported(graph: Graph, opset: int = 20, **options: Any) -> onnx.ModelProto:
    state = {n: a.astype(np.float32) for n, a in random_parameters(graph).items()}
    return onnx_model(graph, state, OnnxOptions(opset, **options)).proto


def without_notes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model without all that is only said of it."""
    graph = model.graph
    nodes = [node for function in model.functions for node in function.node]
    values = [*graph.input, *graph.output, *graph.value_info, *graph.initializer]
    for part in (model, graph, *graph.node, *nodes, *model.functions, *values):
        del part.metadata_props[:]
        part.doc_string = ""
    return model


def found_in(model: onnx.ModelProto, graph: Graph) -> FoundNet:
    return found_net(file_graph(model, Path("nowhere")), graph.inputs, None)


def name_of(layer: FoundLayer) -> str:
    return layer.root.layer or layer.value.name


def wires(found: FoundNet) -> dict[str, tuple[str, ...]]:
    makers = {layer.value: name_of(layer) for layer in found.layers}
    return {
        name_of(layer): ()
        if layer.op.reads_batch_alone
        else tuple(makers.get(value, value.name) for value in layer.inputs)
        for layer in found.layers
    }


def parameters(found: FoundNet) -> dict[str, dict[str, str]]:
    return {
        name_of(layer): {own: held.value.name for own, held in layer.parameters.items()}
        for layer in found.layers
        if layer.parameters
    }


def assert_same_layers(found: FoundNet, graph: Graph, *, drops: bool = True) -> None:
    """Check layers, wires and parameters; `drops` says whether layers of drop_path are found too."""
    assert not found.missing
    kept = {n.name: n for n in graph.nodes if drops or n.op.name != "drop_path"}
    gone = {n.name: n.inputs[0] for n in graph.nodes if n.name not in kept}
    assert wires(found) == {
        name: () if node.op.reads_batch_alone else tuple(gone.get(v, v) for v in node.inputs)
        for name, node in kept.items()
    }
    saved = {n for n, p in graph.parameters.items() if p.role != "counter"}
    assert parameters(found) == {
        name: own
        for name, node in kept.items()
        if (own := {k: v for k, v in node.parameters.items() if v in saved})
    }


@pytest.mark.parametrize("name", some_quick(NETS, QUICK))
def test_the_layers_of_a_net_are_found_in_its_export(name: str) -> None:
    graph = netspec.load(NETS[name], **SMALL.get(name, {})).graph
    found = found_in(exported(graph), graph)
    assert_same_layers(found, graph)
    ops = {name_of(layer): str(layer.op) for layer in found.layers}
    assert ops == {node.name: str(node.op) for node in graph.nodes}


@pytest.mark.parametrize("name", some_quick(NETS, QUICK))
def test_without_notes_layers_wires_and_names_of_parameters_are_found(name: str) -> None:
    graph = netspec.load(NETS[name], **SMALL.get(name, {})).graph
    found = found_in(without_notes(exported(graph, opset=17)), graph)
    assert_same_layers(found, graph, drops=False)


@pytest.mark.parametrize("name", some_quick(("resnet", "zoo/googlenet"), ("resnet",)))
def test_the_layers_of_functions_are_found(name: str) -> None:
    graph = netspec.load(NETS[name], **SMALL.get(name, {})).graph
    found = found_in(exported(graph, functions=True), graph)
    assert_same_layers(found, graph)


# Examples whose ONNX form is also that of something simpler, or of several layers.
OTHERWISE = {
    "adaptive_avg_pool([1, 2, 3])": {"slice", "mean", "concat"},
    "adaptive_max_pool([1, 2, 3])": {"slice", "max", "concat"},
    "add": {"add"},  # of three values
    "mul": {"mul"},
    "conv_transpose(2, 2, dilation = 3, output_pad = 2)": {
        "conv_transpose",
        "pad",
        "parameter",
        "add",
    },
    "dropout(1)": set[str](),
    "pow(exponent = 3)": {"square", "mul"},
}
OTHER_OPS = {"slice_as": "slice"}  # the same where no size is open


@pytest.mark.parametrize("op", registry())
@pytest.mark.parametrize("opset", [17, 23])
def test_each_example_of_an_op_is_found_in_its_export(op: str, opset: int) -> None:
    for example in registry()[op].examples:
        graph = graph_of(example.call, example.inputs)
        found = found_in(exported(graph, opset), graph)
        lost = [missing.operator.operator for missing in found.missing]
        assert not lost, (
            f"in the ONNX form of `{example.call}` no `from_onnx` finds {', '.join(lost)}"
        )
        if opset < 20:  # without notes some have simpler attributes, such as `pad = 1` for `same`
            continue
        calls = [str(layer.op) for layer in found.layers]
        kinds = {layer.op.name for layer in found.layers}
        if example.call in OTHERWISE:
            assert kinds == OTHERWISE[example.call]
        elif op in OTHER_OPS:
            assert kinds == {OTHER_OPS[op]}
        else:
            expected = [str(node.op) for node in graph.nodes]
            assert calls == expected, (
                f"the ONNX form of `{example.call}` is found as {', '.join(calls)}: `{op}` needs"
                " `onnx_ends` and `from_onnx`, or `onnx_spellings`, that find what its `onnx` writes"
            )
