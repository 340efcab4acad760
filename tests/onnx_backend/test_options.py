"""The options of ONNX models: folded norms, half precision, functions, weights beside the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.compiler.onnx_backend import OnnxModel, OnnxOptions, onnx_model
from netspec.compiler.passes import layer_limit
from netspec.diagnostics import NetspecError
from netspec.runtime.models.onnx_file import write_onnx
from netspec.testing.op_examples import agreement, random_inputs, random_parameters
from tests.conftest import ROOT
from tests.helpers.errors import fails
from tests.helpers.onnx_support import check_model, onnx, run_session, session


def state_of(net: netspec.Net) -> dict[str, np.ndarray]:
    return {n: a.astype(np.float32) for n, a in random_parameters(net.graph).items()}


def difference(net: netspec.Net, given: Any, state: dict[str, np.ndarray]) -> float:
    """Return how far a model's first output is from that of the model without options."""
    plain = session(onnx_model(net.graph, state, OnnxOptions()).content())
    inputs = random_inputs(net.graph, 2)
    name = next(iter(net.graph.outputs))
    return agreement(run_session(plain, inputs)[name], run_session(given, inputs)[name])


def operators(model: OnnxModel) -> list[str]:
    return [node.op_type for node in model.proto.graph.node]


LAYERS = """
net A {
    input x: [4, 5, 5]
    a = x -> one: conv(6, 3, bias = false) -> batch_norm
    b = a -> two: conv(6, 1, groups = 2) -> batch_norm(affine = false) -> relu
    c = b -> three: conv_transpose(4, 2, groups = 2) -> batch_norm
    d = c -> flatten -> four: linear(3) -> batch_norm
    output d
}
"""


def test_inference_folds_every_norm_behind_a_layer() -> None:
    net = netspec.loads(LAYERS)
    state = state_of(net)
    model = onnx_model(net.graph, state, OnnxOptions(inference=True))
    check_model(model.proto)
    assert operators(model) == ["Conv", "Conv", "Relu", "ConvTranspose", "Flatten", "Gemm"]
    names = [
        f"{layer}.{kind}"
        for layer in ("one", "two", "three", "four")
        for kind in ("weight", "bias")
    ]
    assert sorted(held.name for held in model.proto.graph.initializer) == sorted(names)
    assert difference(net, session(model.content()), state) <= 1e-5


def test_a_norm_stays_where_the_layer_is_read_elsewhere_or_shared() -> None:
    net = netspec.loads(
        "net A { input x: [4, 5, 5]\n a = x -> conv(4, 1)\n b = a -> batch_norm\n"
        " layer c = conv(4, 1)\n output a + b + batch_norm(c(x)) + c(a) }"
    )
    state = state_of(net)
    model = onnx_model(net.graph, state, OnnxOptions(inference=True))
    assert operators(model).count("BatchNormalization") == 2
    assert difference(net, session(model.content()), state) == 0


def test_half_precision_halves_the_weights() -> None:
    net = netspec.load(ROOT / "networks/lenet.net")
    state = state_of(net)
    whole = onnx_model(net.graph, state, OnnxOptions())
    model = onnx_model(net.graph, state, OnnxOptions(half=True))
    check_model(model.proto)
    types = {held.data_type for held in model.proto.graph.initializer}
    assert types == {onnx.TensorProto.FLOAT16}
    assert [h.name for h in model.proto.graph.initializer] == list(state)
    assert len(model.content()) < 0.52 * len(whole.content())
    assert 0 < difference(net, session(model.content()), state) <= 5e-3


def test_a_weight_that_half_precision_cannot_hold_is_named() -> None:
    net = netspec.loads("net A { input x: [2]\n output x -> fc: linear(1) }")
    state = {**state_of(net), "fc.weight": np.array([[1.0, 7e4]], np.float32)}
    with pytest.raises(NetspecError, match=r"`fc.weight` holds 70000, which is too large"):
        onnx_model(net.graph, state, OnnxOptions(half=True))


def test_blocks_are_functions_that_equal_uses_share() -> None:
    net = netspec.load(ROOT / "networks/zoo/resnet18.net", size=32, width=0.25)
    state = net.compile("numpy").state_dict()
    model = onnx_model(net.graph, state, OnnxOptions(functions=True))
    check_model(model.proto)
    # Without a shortcut (of four widths), and with one (of three).
    calls = [n for n in model.proto.graph.node if n.domain]
    assert [call.name for call in calls] == [f"layer{i}.{j}" for i in (1, 2, 3, 4) for j in (0, 1)]
    shared = {f.name: sum(c.op_type == f.name for c in calls) for f in model.proto.functions}
    assert shared == {"BasicBlock": 5, "BasicBlock_2": 3}
    first = model.proto.functions[0]
    assert list(first.input)[:2] == ["x", "conv1.weight"]
    assert [node.name for node in first.node][:3] == ["conv1", "bn1", "relu1"]
    assert {e.key: e.value for e in calls[2].metadata_props}["namespace"] == (
        ": ResNet18/layer2.0: BasicBlock"
    )
    assert difference(net, session(model.content()), state) <= 1e-5


def test_blocks_in_blocks_are_functions_that_call_functions() -> None:
    net = netspec.loads(
        "block Inner(c) x { return x -> fc: linear(c) -> relu }\n"
        "block Outer(c) x { y = x -> a: Inner(c)\n return y + (y -> b: Inner(c)) }\n"
        "net A { input x: [3]\n output x -> first: Outer(3) -> second: Outer(3) }"
    )
    state = state_of(net)
    for opset in (17, 20):
        model = onnx_model(net.graph, state, OnnxOptions(functions=True, opset=opset))
        check_model(model.proto)
        assert [f.name for f in model.proto.functions] == ["Inner", "Outer"]
        assert operators(model) == ["Outer", "Outer"]
        assert difference(net, session(model.content()), state) <= 1e-6


def test_all_options_go_together() -> None:
    net = netspec.load(ROOT / "networks/zoo/resnet18.net", size=32, width=0.25)
    state = net.compile("numpy").state_dict()
    chosen = OnnxOptions(17, softmax=True, inference=True, half=True, functions=True)
    model = onnx_model(net.graph, state, chosen)
    check_model(model.proto)
    found = run_session(session(model.content()), random_inputs(net.graph, 2))["output"]
    assert np.allclose(found.sum(axis=1), 1, atol=1e-5)


def test_large_weights_lie_beside_the_model(tmp_path: Path) -> None:
    net = netspec.load(ROOT / "networks/lenet.net")
    state = state_of(net)
    path = tmp_path / "net.onnx"
    write_onnx(path, net.graph, state, OnnxOptions(most_inside=1000))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.onnx", "net.onnx.data"]
    onnx.checker.check_model(str(path), full_check=True)
    held = onnx.load(path).graph.initializer
    assert all(np.array_equal(onnx.numpy_helper.to_array(t), state[t.name]) for t in held)
    assert path.stat().st_size < 20_000
    assert difference(net, session(str(path)), state) == 0


def test_the_options_of_the_command_are_those_of_the_model(tmp_path: Path, run: Any) -> None:
    out = tmp_path / "net.onnx"
    given = ("--functions", "--fp16", "--softmax", "--inference", "--opset", "21")
    found = run(
        "compile", "zoo/resnet18", "--set", "width=0.25", "--target", "onnx", *given, "-o", str(out)
    )
    assert found.code == 0, found.err
    model = onnx.load(out)
    assert {o.domain: o.version for o in model.opset_import} == {"": 21, "netspec": 1}
    assert model.graph.node[-1].op_type == "Softmax"
    assert {t.data_type for t in model.graph.initializer} == {onnx.TensorProto.FLOAT16}
    kinds = {node.op_type for function in model.functions for node in function.node}
    assert "Conv" in kinds
    assert "BatchNormalization" not in kinds


@pytest.mark.parametrize("layer", ["adaptive_avg_pool([4, 8000])", "local_response_norm(8000000)"])
def test_a_layer_of_very_many_operators_is_refused_before_they_are_made(layer: str) -> None:
    net = netspec.loads(f"net A {{ input x: [3, 8, 16007]\n output x -> {layer} }}")
    with fails("limit/layers", "brings the model to at least 20,001 ONNX operators"):
        onnx_model(net.graph, {}, OnnxOptions())


def test_operators_of_all_layers_count_and_get_names_in_proportion(monkeypatch: Any) -> None:
    net = netspec.loads(
        "net A { input x: [3, 8, 8]\n"
        " for i in range(3) { x = x -> local_response_norm(400) }\n output x }"
    )
    model = onnx_model(net.graph, {}, OnnxOptions())
    names = [node.name for node in model.proto.graph.node]
    assert len(names) == len(set(names)) > 3_000
    monkeypatch.setattr(layer_limit, "MOST_OPERATORS", len(names) - 1)
    with fails("limit/layers", "`local_response_norm3`"):
        onnx_model(net.graph, {}, OnnxOptions())
