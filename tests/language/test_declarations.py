"""`parameter`, `buffer`, `constant`: their names, shapes and values, in files and in programs."""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import netspec
from netspec.compiler.fmt.formatter import format_source
from netspec.diagnostics import Source
from netspec.export.assemble import standalone_source
from netspec.runtime.weights.safetensors_file import save_weights
from netspec.runtime.weights.weights_file import load_weights
from netspec.testing.op_examples import (
    assert_equal_runs,
    random_inputs,
    random_output_gradients,
    random_parameters,
    run_program,
    run_reference,
)
from netspec.tools.verify.run import verify
from tests.conftest import ROOT
from tests.helpers.torch_cases import CASES


def net_of(*lines: str, shape: str = "[6, 4]") -> netspec.Net:
    return netspec.loads("\n".join(["net A(heads = 1) {", f"input x: {shape}", *lines, "}"]))


SHAPES = [
    ("[6, 4]", (6, 4), (6, 4)),
    ("[1, 6, 4]", (1, 6, 4), (6, 4)),
    ("[1, 1, 4]", (1, 1, 4), (1, 4)),
    ("[1]", (1,), (1,)),
    ("[heads, 6, 4]", (1, 6, 4), (1, 6, 4)),  # only a 1 that is written is the batch's axis
    ("x.shape", (6, 4), (6, 4)),
    ("([1] + x.shape)", (1, 6, 4), (1, 6, 4)),
]


@pytest.mark.parametrize(("written", "stored", "value"), SHAPES, ids=[s for s, *_ in SHAPES])
def test_the_shape_that_is_stored_and_that_of_the_value(
    written: str, stored: tuple[int, ...], value: tuple[int, ...]
) -> None:
    net = net_of(f"parameter w: {written} = zeros", "output w -> flatten -> linear(2)")
    assert net.graph.parameters["w"].shape == stored
    assert net.graph.shape_of("w") == value


def test_the_name_is_the_label_alone() -> None:
    net = netspec.loads("""
        block Scaled(c) x {
            parameter layer_scale: [c, 1, 1] = constant(1e-6)
            return x * layer_scale
        }
        net A {
            input image: [3, 4, 4]
            parameter class_token: [1, 1, 3] = zeros
            buffer index: [4] = [3, 2, 1, 0]
            constant mask: [2] = [0, 1]
            x = image -> features.1.0: Scaled(3) -> Scaled(3)
            output (class_token -> flatten) + global_avg_pool(x)
            output places = index
            output hidden = mask
        }""")
    found = {p.name: (p.shape, p.trainable, p.role) for p in net.graph.parameters.values()}
    assert found == {
        "class_token": ((1, 1, 3), True, "scale"),  # weight decay is for `weight` alone
        "index": ((4,), False, "statistic"),
        "mask": ((2,), False, "constant"),
        "features.1.0.layer_scale": ((3, 1, 1), True, "scale"),
        "scaled1.layer_scale": ((3, 1, 1), True, "scale"),
    }


def test_the_words_are_names_wherever_a_name_can_stand() -> None:
    text = """language 1

block ParameterOf(buffer) parameter {
    constant = parameter -> buffer: conv(buffer, 1, weight = constant(1))
    return constant -> constant: relu
}

net Old(parameter = 3) {
    input buffer: [3, 4, 4]

    x = buffer -> parameter: conv(parameter, 1) -> ParameterOf(buffer = 2)
    parameter, y = (x, x) -> Two
    buffer = parameter + y
    for parameter in range(2) {
        buffer = buffer -> relu
    }
    output parameter = buffer
}

block Two a, b {
    return a, b
}
"""
    net = netspec.loads(text)
    assert list(net.graph.outputs) == ["parameter"]
    assert format_source(Source("old.net", text)) == text


def test_the_formatter_writes_one_style() -> None:
    text = """net A {
input x:[4]
parameter  table :[1,4]=normal( 0.02 )
buffer   kept:[4]=[1,2,3,4] # as it is
constant   fixed:[4]=constant(2)
output x+table*kept*fixed }
"""
    assert (
        format_source(Source("a.net", text))
        == """net A {
    input x: [4]
    parameter table: [1, 4] = normal(0.02)
    buffer kept: [4] = [1, 2, 3, 4]  # as it is
    constant fixed: [4] = constant(2)

    output x + table * kept * fixed
}
"""
    )


def test_relative_positions_are_computed_as_swin_has_them() -> None:
    page = (ROOT / "docs/language.md").read_text("utf-8")
    text = page[page.index("net Window(") : page.index("```", page.index("net Window("))]
    net = netspec.loads(text, side=7, heads=3)
    at = np.stack(np.meshgrid(np.arange(7), np.arange(7), indexing="ij")).reshape(2, 49)
    down, right = at[:, :, None] - at[:, None, :] + 6
    model = net.compile("numpy", dtype="float64")
    index, table = "relative_position_index", "relative_position_bias_table"
    assert model.parameters[table].shape == (169, 3)
    assert model.parameters[index].tolist() == (13 * down + right).ravel().tolist()
    scores = np.random.default_rng(0).standard_normal((2, 3, 49, 49))
    bias = model.parameters[table][(13 * down + right).ravel()].reshape(49, 49, 3)
    wanted = np.exp(scores + bias.transpose(2, 0, 1))
    np.testing.assert_allclose(model.forward(scores), wanted / wanted.sum(3, keepdims=True))


def test_what_an_undecided_condition_declares_is_known_behind_it() -> None:
    with pytest.raises(netspec.NetspecError) as error:
        net_of("if nobody { parameter w: [1, 6, 4] = zeros }", "output x * w")
    assert [d.code for d in error.value.diagnostics] == ["name/undefined"]


@pytest.mark.parametrize("training", [True, False])
def test_the_program_computes_what_the_reference_does(training: bool) -> None:
    graph = netspec.loads(CASES["parameters and buffers"]).graph
    values, given = random_parameters(graph), random_inputs(graph, 3)
    dy = random_output_gradients(graph, 3)
    ours = run_program(graph, values, given, dy, training=training)
    assert_equal_runs(run_reference(graph, values, given, dy, training=training), ours, 1e-12)


def test_both_backends_and_every_optimizer_agree() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    net = net_of("parameter w: [1, 6, 4] = normal(1)", "output flatten(x * w) -> linear(2)")
    assert verify(net, steps=1, dtypes=("float64",)).ok


def test_a_list_gives_the_values_and_training_changes_parameters_alone(tmp_path: Path) -> None:
    net = net_of(
        "parameter w: [1, 4] = [[1, 2, 3, 4]]",
        "buffer kept: [6, 1] = [[1], [2], [3], [4], [5], [6]]",
        "constant counted: [4] = range(6, 2, -1)",
        "output flatten(x * kept) -> linear(4) -> add(w) -> add(counted)",
    )
    model = net.compile("numpy")
    assert model.parameters["w"].tolist() == [[1, 2, 3, 4]]
    assert model.parameters["kept"].ravel().tolist() == [1, 2, 3, 4, 5, 6]
    assert model.parameters["counted"].tolist() == [6, 5, 4, 3]
    x, y = np.random.default_rng(0).standard_normal((5, 6, 4)), np.array([0, 1, 2, 3, 0])
    _, gradients = model.loss_and_grads(x, y)
    assert gradients.keys() == {"w", "linear1.weight", "linear1.bias"}
    assert np.abs(gradients["w"]).min() > 0
    save_weights(tmp_path / "w.safetensors", model.state_dict())
    other = net.compile("numpy", seed=1)
    other.load_state_dict({**other.state_dict(), "w": np.zeros((1, 4))})
    other.load_state_dict(load_weights(tmp_path / "w.safetensors").tensors)
    assert other.parameters["w"].tolist() == [[1, 2, 3, 4]]


def test_the_state_dict_has_names_and_shapes_as_declared() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    net = netspec.loads(CASES["parameters and buffers"])
    state = net.compile("torch").module.state_dict()
    declared = {p.name: p.shape for p in net.graph.saved().values()}
    assert {name: tuple(value.shape) for name, value in state.items()} == declared
    assert state["kept"].tolist() == [[1, 2], [3, 4.5]]


CONSTANTS = """
block Scaled(c) x {
    constant kept: [c, 1, 1] = constant(2)
    return x * kept -> conv(c, 1)
}
net A(n = 2) {
    input image: [3, 4, 4]
    constant index: [3, 1, 1] = [[[1]], [[2]], [[3]]]
    x = image * index
    for i in range(n) { x = x -> b.{i}: Scaled(3) }
    output global_avg_pool(x)
}"""


def test_constants_are_neither_learned_nor_saved_in_numpy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = netspec.loads(CONSTANTS)
    model = net.compile("numpy", dtype="float64")
    saved = {f"b.{i}.conv1.{name}" for i in range(2) for name in ("weight", "bias")}
    assert model.state_dict().keys() == saved
    assert model.parameters["index"].ravel().tolist() == [1, 2, 3]
    assert net.summary().buffers == 0
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    y = model.forward(x)
    model.freeze(["b.0.conv1.weight"])
    for other in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.forward(x), y)
    np.testing.assert_allclose(model.predictor()(x), y)
    module = ModuleType("standalone")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(standalone_source(net.graph), "<standalone>", "exec"), module.__dict__)
    network = module.A(seed=7, dtype="float64")
    save_weights(tmp_path / "w.safetensors", model.state_dict())
    network.load_weights(tmp_path / "w.safetensors")
    np.testing.assert_allclose(network.forward(x), y, rtol=1e-6)
    network.save_weights(tmp_path / "again.safetensors")
    assert load_weights(tmp_path / "again.safetensors").tensors.keys() == saved


def test_constants_are_buffers_that_pytorch_does_not_save() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    net = netspec.loads(CONSTANTS)
    assert net.source("torch").count("persistent=False") == 2
    ours, theirs = net.compile("numpy", dtype="float64"), net.compile("torch", dtype="float64")
    theirs.load_state_dict(ours.state_dict())
    assert theirs.state_dict().keys() == ours.state_dict().keys()
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    np.testing.assert_allclose(theirs.forward(x), ours.forward(x))
    assert verify(net, steps=1, dtypes=("float64",)).ok
    assert netspec.gradcheck(net, directions=1).ok


def test_a_constant_has_no_random_values() -> None:
    with pytest.raises(netspec.NetspecError) as error:
        net_of("constant w: [1, 6, 4] = normal(1)", "output x * w")
    (found,) = error.value.diagnostics
    assert found.code == "init/rule"
    assert "not saved" in found.message
