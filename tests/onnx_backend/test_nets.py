"""Whole nets as ONNX models: those of `networks/`, and nets with open sizes, at several sizes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.compiler.onnx_backend import OnnxOptions, onnx_model
from netspec.compiler.passes.bind_sizes import open_sizes, specialize
from netspec.diagnostics import NetspecError
from netspec.runtime.data.input_normalization import Normalization, normalization_from_json
from netspec.runtime.engine.reference import Reference
from netspec.testing.op_examples import (
    agreement,
    random_inputs,
    random_parameters,
    run_reference,
)
from tests.conftest import ROOT
from tests.helpers.heavy import some_quick
from tests.helpers.onnx_support import check_model, onnx, run_session, session
from tests.helpers.open_examples import open_net, opened
from tests.helpers.zoo import FEW, WIDE

NETS = {
    str(path.relative_to(ROOT / "networks").with_suffix("")): path
    for path in sorted((ROOT / "networks").rglob("*.net"))
}
# Smaller forms of those that are slow, and what random parameters make too large to compare.
SMALL: dict[str, dict[str, Any]] = {
    f"zoo/{name}": dict(given) for name, given in (WIDE | FEW).items()
}
QUICK = ("lenet", "zoo/vae")
WITH_OPTIONS = OnnxOptions(17, functions=True, inference=True)
TOLERANCE = 1e-4  # of single precision, through many layers


def state_of(net: netspec.Net) -> dict[str, np.ndarray]:
    """Return the initial values and the constants of a net, in single precision."""
    return net.compile("numpy").every_array()


def differences(
    net: netspec.Net,
    content: bytes,
    state: Mapping[str, np.ndarray],
    given: Mapping[str, np.ndarray],
) -> float:
    """Return the largest difference between a model and the NumPy program."""
    model = net.compile("numpy")
    model.load_state_dict({name: state[name] for name in model.state_dict()})
    inputs = {n: x.astype(np.float32) for n, x in given.items()}
    expected = model.forward(inputs)
    if not isinstance(expected, dict):
        expected = {next(iter(net.graph.outputs)): expected}
    found = run_session(session(content), inputs)
    assert found.keys() == expected.keys()
    return max(agreement(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize("name", some_quick(NETS, QUICK))
def test_a_net_of_the_folder_is_equal_in_onnxruntime(name: str) -> None:
    given = {k: v for k, v in SMALL.get(name, {}).items() if k not in ("H", "W")}
    net = netspec.load(NETS[name], **given)
    state, names = state_of(net), sorted(open_sizes(net.graph))
    # A net with open sizes is one model for pictures of several sizes.
    sizes = ((32, 48), (64, 64), (48, 16)) if names else ((),)
    for options, batch in ((OnnxOptions(), 1), (WITH_OPTIONS, 3)):
        model = onnx_model(net.graph, state, options)
        check_model(model.proto)
        for numbers in sizes:
            fixed = specialize(net.graph, dict(zip(names, numbers[: len(names)], strict=True)))
            inputs = random_inputs(fixed, batch)
            assert differences(net, model.content(), state, inputs) <= TOLERANCE


OPENED = {f"{call} of {inputs}": (call, inputs) for call, inputs in opened()}
FIRST = [
    next(k for k in OPENED if k.startswith(n)) for n in {re.split(r"\W", k)[0] for k in OPENED}
]


@pytest.mark.parametrize("name", some_quick(OPENED, FIRST))
@pytest.mark.parametrize("opset", some_quick((17, 20, 23), [20]))
def test_an_open_example_is_equal_at_three_sizes(name: str, opset: int) -> None:
    call, inputs = OPENED[name]
    graph = netspec.loads(open_net(call, inputs)).graph
    parameters = {n: a.astype(np.float32) for n, a in random_parameters(graph).items()}
    model = onnx_model(graph, parameters, OnnxOptions(opset=opset))
    check_model(model.proto)
    given, checked = session(model.content()), 0
    for more in (0, 1, 4):
        sizes = {
            str(size): number + more
            for shape, numbers in zip(graph.inputs.values(), inputs, strict=True)
            for size, number in zip(shape[1:], numbers[1:], strict=True)
        }
        try:
            fixed = specialize(graph, sizes)
        except NetspecError:
            continue
        checked += 1
        drawn = {n: x.astype(np.float32) for n, x in random_inputs(fixed, 2).items()}
        dy = {n: np.ones((2, *fixed.shape_of(v))) for n, v in fixed.outputs.items()}
        exact = {n: a.astype(np.float64) for n, a in parameters.items()}
        wide = {n: x.astype(np.float64) for n, x in drawn.items()}
        expected = run_reference(fixed, exact, wide, dy, training=False).outputs["output"]
        assert agreement(expected, run_session(given, drawn)["output"]) <= 2e-5, sizes
    assert checked


def test_the_sizes_of_a_net_are_written_as_names_and_formulas() -> None:
    net = netspec.loads("net A { input x: [2, H, W]\n y = x -> conv(3, 3, 2)\n output y -> relu }")
    model = onnx_model(net.graph, state_of(net), OnnxOptions()).proto
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.value_info, *model.graph.output)
    }
    assert shapes == {
        "x": ["N", 2, "H", "W"],
        "conv1": ["N", 3, "floor((H + 1)/2) - 1", "floor((W + 1)/2) - 1"],
        "output": ["N", 3, "floor((H + 1)/2) - 1", "floor((W + 1)/2) - 1"],
    }


def test_an_output_that_is_an_input_or_has_the_name_of_a_layer_is_an_identity() -> None:
    net = netspec.loads(
        "net A { input x: [4]\n y = x -> a: linear(3)\n b = y -> b: relu\n"
        " output a = b\n output c = x\n output d = b }"
    )
    state = state_of(net)
    model = onnx_model(net.graph, state, OnnxOptions())
    check_model(model.proto)
    kinds = [node.op_type for node in model.proto.graph.node]
    assert kinds == ["Gemm", "Relu", "Identity", "Identity"]
    assert [value.name for value in model.proto.graph.output] == ["a", "c", "d"]
    assert differences(net, model.content(), state, random_inputs(net.graph, 2)) <= TOLERANCE


def test_every_value_between_layers_has_a_shape() -> None:
    net = netspec.loads(
        "net A { input x: [6, H, W]\n y = x -> group_norm(3) -> channel_shuffle(2)\n"
        " t = y -> adaptive_avg_pool(2) -> reshape([6, 4]) -> permute([2, 1])\n"
        " z = multihead_attention(t, t, t, 2) -> lstm(4)\n"
        " output z -> mean(1) }"
    )
    model = onnx_model(net.graph, state_of(net), OnnxOptions()).proto
    known = {v.name for v in (*model.graph.value_info, *model.graph.output)}
    assert {name for node in model.graph.node for name in node.output} == known


def test_equal_nets_are_equal_bytes() -> None:
    def content() -> bytes:
        net = netspec.load(ROOT / "networks/lenet.net")
        return onnx_model(
            net.graph, state_of(net), OnnxOptions(metadata={"b": "", "a": ""})
        ).content()

    assert content() == content()


def test_the_metadata_of_a_layer_are_those_that_pytorch_writes() -> None:
    net = netspec.load(ROOT / "networks/zoo/resnet18.net", size=32, width=0.25)
    model = onnx_model(net.graph, state_of(net), OnnxOptions()).proto
    (node,) = (n for n in model.graph.node if n.name == "layer2.0.downsample.1")
    line = next(
        number
        for number, text in enumerate(net.graph.span.source.text.split("\n"), 1)
        if "downsample.1: batch_norm" in text
    )
    assert {entry.key: entry.value for entry in node.metadata_props} == {
        "namespace": ": ResNet18/layer2.0: BasicBlock/layer2.0.downsample.1: batch_norm",
        "netspec.layer": "batch_norm",
        "netspec.location": f"resnet18.net:{line}",
        "pkg.torch.onnx.class_hierarchy": "['ResNet18', 'BasicBlock', 'batch_norm']",
        "pkg.torch.onnx.name_scopes": "['', 'layer2.0', 'layer2.0.downsample.1']",
    }


def test_below_opset_20_the_format_is_old_and_layers_have_no_metadata() -> None:
    net = netspec.load(ROOT / "networks/lenet.net")
    formats = {}
    for opset in range(17, 24):
        model = onnx_model(net.graph, state_of(net), OnnxOptions(opset=opset)).proto
        formats[opset] = model.ir_version, bool(model.graph.node[0].metadata_props)
    old = dict.fromkeys((17, 18, 19), (8, False))
    assert formats == {**old, 20: (10, True), 21: (10, True), 22: (10, True), 23: (10, True)}


def test_softmax_ends_in_probabilities_once() -> None:
    net = netspec.loads(
        "net A { input x: [4]\n output a = x -> linear(3)\n output b = a -> softmax }"
    )
    model = onnx_model(net.graph, state_of(net), OnnxOptions(softmax=True))
    check_model(model.proto)
    found = run_session(session(model.content()), {"x": np.ones((2, 4))})
    assert np.allclose(found["a"], found["b"])
    assert [n.op_type for n in model.proto.graph.node].count("Softmax") == 2


def test_tokens_are_whole_numbers() -> None:
    net = netspec.loads("net A { input x: [5]\n y = x -> embedding(7, 3)\n output y -> mean(1) }")
    model = onnx_model(net.graph, state_of(net), OnnxOptions())
    check_model(model.proto)
    assert model.proto.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.INT64
    assert (
        differences(net, model.content(), state_of(net), random_inputs(net.graph, 2)) <= TOLERANCE
    )


def test_whole_numbers_and_booleans_are_moved_as_they_are() -> None:
    net = netspec.loads(
        "net A { input tokens: int[4]\n input more: int[2]\n input mask: bool[6]\n"
        " ids = concat(tokens, more)\n x = ids -> embedding(9, 4)\n"
        " shown = mask -> reshape([2, 3]) -> flatten\n"
        " output multihead_attention(x, x, x, shown, 2) }"
    )
    state = state_of(net)
    model = onnx_model(net.graph, state, OnnxOptions())
    check_model(model.proto)
    types = onnx.TensorProto
    found = {v.name: v.type.tensor_type.elem_type for v in model.proto.graph.input}
    assert found == {"tokens": types.INT64, "more": types.INT64, "mask": types.BOOL}
    moved = {v.name: v.type.tensor_type.elem_type for v in model.proto.graph.value_info}
    names = ("concat1", "reshape1", "flatten1")
    assert [moved[name] for name in names] == [types.INT64, types.BOOL, types.BOOL]
    given = {
        "tokens": np.array([[1, 2, 3, 4], [0, 8, 8, 1]]),
        "more": np.array([[5, 6], [7, 7]]),
        "mask": np.array([[True, False, True, True, True, False], [False] * 6]),
    }
    outputs = run_session(session(model.content()), given)
    exact = {n: a.astype(np.float64) for n, a in state.items()}
    reference = Reference(net.graph, exact, training=False)
    expected = reference.forward({n: x.astype(np.float64) for n, x in given.items()})
    for name, y in expected.items():
        assert agreement(y, outputs[name]) <= TOLERANCE, name


OPS = '''
from netspec.compiler.ir.contract import *


@register
class Twice(Op):
    """Twice the value."""

    name = "twice"

    def forward(self, run, *x):
        return x[0] * 2

    def backward(self, run, dy, *x):
        return (2 * dy,)

    def lower(self, to):
        to.elementwise(to.out, 2 * Var("x"), x=to.x[0])

    def lower_backward(self, to):
        to.gradient(0, to.dy)


@register
class Half(ElementwiseOp):
    """Half of the value."""

    name = "half"

    def value(self, *x):
        return x[0] / 2

    def derivatives(self, y, *x):
        return (Const(0.5),)
'''


def test_ops_of_ones_own_have_a_form_if_they_are_formulas(tmp_path: Path) -> None:
    path = tmp_path / "onnx_ops.py"
    path.write_text(OPS)
    netspec.load_ops(path)
    head = 'use "onnx_ops.py"\n'
    net = netspec.loads(f"{head}net A {{ input x: [4]\n output x -> half }}")
    model = onnx_model(net.graph, {}, OnnxOptions())
    assert np.all(run_session(session(model.content()), {"x": np.ones((1, 4))})["output"] == 0.5)
    text = f"{head}net A {{ input x: [4]\n y = x -> twice\n output y -> twice }}"
    with pytest.raises(NetspecError) as error:
        onnx_model(netspec.loads(text).graph, {}, OnnxOptions())
    assert [(d.code, d.span.line) for d in error.value.diagnostics] == [
        ("compile/no-onnx", 3), ("compile/no-onnx", 4),
    ]  # fmt: skip


def test_a_model_writes_itself(tmp_path: Path) -> None:
    model = netspec.load(ROOT / "networks/lenet.net").compile(seed=3)
    model.to_onnx(tmp_path / "a.onnx")
    x = np.random.default_rng(0).standard_normal((2, 1, 28, 28)).astype(np.float32)
    found = run_session(session(str(tmp_path / "a.onnx")), {"image": x})
    assert agreement(model(x), found["output"]) <= TOLERANCE


@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_a_model_says_its_arguments_and_what_it_was_trained_on(target: str, tmp_path: Path) -> None:
    model = netspec.load(ROOT / "networks/threelayer.net", classes=3).compile(target)
    names = json.dumps(["a", "b", "c"])
    normalization = Normalization("imagenet", np.zeros((3, 1, 1)), np.ones((3, 1, 1)))
    netspec.save_weights(
        tmp_path / "w", model.state_dict(), normalization, metadata={"class_names": names}
    )
    model.load_state_dict(netspec.load_weights(tmp_path / "w"))
    model.to_onnx(tmp_path / "net.onnx", OnnxOptions(metadata={"own": "text"}))
    said = {each.key: each.value for each in onnx.load(tmp_path / "net.onnx").metadata_props}
    assert json.loads(said["netspec.arguments"]) == {"classes": 3}
    assert json.loads(said["netspec.class_names"]) == ["a", "b", "c"]
    assert normalization_from_json(said["netspec.normalization"]).kind == "imagenet"
    assert said["own"] == "text"


def test_the_command_writes_the_weights_and_what_they_say(tmp_path: Path, run: Any) -> None:
    model = netspec.load(ROOT / "networks/lenet.net").compile(seed=5)
    names = [f"number {i}" for i in range(10)]
    weights = tmp_path / "w.safetensors"
    netspec.save_weights(weights, model.state_dict(), metadata={"class_names": json.dumps(names)})
    out = tmp_path / "lenet.onnx"
    command = (
        "compile",
        "networks/lenet.net",
        "--target",
        "onnx",
        "--set",
        "classes=10",
        "-o",
        str(out),
    )
    first = run(*command, "--weights", str(weights), "--opset", "17")
    assert (first.code, first.out, first.err) == (0, "", "")
    written = onnx.load(out)
    held = {entry.key: entry.value for entry in written.metadata_props}
    assert json.loads(held["netspec.class_names"]) == names
    assert json.loads(held["netspec.arguments"]) == {"classes": 10}
    assert len(held["netspec.source_sha256"]) == 64
    assert written.opset_import[0].version == 17
    x = np.random.default_rng(0).standard_normal((2, 1, 28, 28)).astype(np.float32)
    assert agreement(model(x), run_session(session(str(out)), {"image": x})["output"]) <= TOLERANCE
    assert run(*command, "--weights", str(weights), "--opset", "17", "--check").code == 0
    assert run(*command, "--weights", str(weights), "--check").code == 1
    assert run(*command, "--weights", str(weights)).code == 0  # netspec made it, so it is replaced
    out.write_bytes(b"mine")
    assert "output/not-generated" in run(*command).err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--target", "onnx"), "--target onnx writes a file: name it with -o OUT"),
        (("--target", "torch", "--opset", "17"), "--opset: for --target onnx alone"),
        (("--target", "onnx", "-o", "a.onnx", "--plain"), "--plain: for --target numpy alone"),
        (("--target", "onnx", "-o", "a.onnx", "--opset", "12"), "opset 12 is not written"),
    ],
)
def test_options_that_do_not_fit_the_target_are_refused(given: Any, message: str, run: Any) -> None:
    found = run("compile", "networks/lenet.net", *given)
    assert found.code != 0
    assert message in found.err


def test_without_torch_the_package_onnx_is_enough_and_the_error_names_the_extra(
    tmp_path: Path,
) -> None:
    target = str(tmp_path / "a.onnx")
    code = f"""
import sys
for name in {{"torch", "onnxruntime", *sys.argv[1:]}}:
    sys.modules[name] = None
from netspec import cli
sys.exit(cli.main("compile networks/lenet.net --target onnx -o".split() + [{target!r}]))
"""

    def started(*missing: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *missing]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert started().returncode == 0
    without = started("onnx")
    assert without.returncode != 0
    assert "pip install 'netspec-dsl[onnx]'" in without.stderr
