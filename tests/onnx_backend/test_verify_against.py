"""`netspec verify --weights W --against M.onnx`: given weights, and a file of any origin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.compiler.onnx_backend import OnnxOptions
from netspec.runtime.data.input_normalization import Normalization
from netspec.tools.verify import verify
from tests.helpers.onnx_support import onnx

NET = (
    "net A { input x: [2, 4, 4]\n y = x -> conv(3, 3) -> relu\n output y -> flatten -> linear(3) }"
)
BY = Normalization("channel", np.full((2, 1, 1), 110, "f"), np.full((2, 1, 1), 60, "f"))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "w.safetensors"
    netspec.save_weights(path, netspec.loads(NET).compile(seed=7).state_dict(), BY)
    return path


def test_tiny_outputs_of_other_weights_differ(tmp_path: Path) -> None:
    """They are closer than 1e-5 whatever the file computes."""
    net = netspec.loads("net A { input x: [4]\n output x -> linear(3, weight = normal(1e-8)) }")
    one, other = net.compile(seed=1), net.compile(seed=2)
    for model in (one, other):
        model.parameters["linear1.bias"][...] = 0
    path = tmp_path / "other.onnx"
    for model, agree in ((one, True), (other, False)):
        model.to_onnx(path)
        report = verify(net, weights=one.state_dict(), against=path, torch=False, steps=0)
        assert report.ok == agree, str(report)


def written(weights: Path, path: Path, **options: Any) -> Path:
    model = netspec.loads(NET).compile()
    model.load_state_dict(netspec.load_weights(weights))
    model.to_onnx(path, OnnxOptions(**options))
    return path


@pytest.mark.parametrize(
    "options", [{}, {"normalize": True}, {"opset": 17, "inference": True}], ids=str
)
@pytest.mark.parametrize("renamed", [False, True])
def test_a_file_of_the_same_weights_agrees(
    options: dict[str, Any], renamed: bool, weights: Path, run: Any, write: Any
) -> None:
    path = written(weights, weights.with_name("a.onnx"), **options)
    if renamed:  # as other exporters call them
        model = onnx.load(path)
        for node in model.graph.node:
            node.input[:] = ["pixels" if name == "x" else name for name in node.input]
        model.graph.input[0].name = "pixels"
        onnx.save(model, path)
    command = (
        "verify",
        write(NET),
        "--weights",
        weights,
        "--against",
        path,
        "--no-torch",
        "--steps",
        0,
    )
    finished = run(*command)
    assert finished.code == 0, finished.err
    assert finished.out.count("reference | given") == 1  # in evaluation and float32


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_a_file_with_a_fixed_batch_gets_the_batch_in_pieces(
    batch: int, weights: Path, run: Any, write: Any
) -> None:
    path = written(weights, weights.with_name("a.onnx"))
    model = onnx.load(path)
    for each in (*model.graph.input, *model.graph.output):
        each.type.tensor_type.shape.dim[0].dim_value = batch
    onnx.save(model, path)
    options = ("--weights", weights, "--against", path, "--no-torch", "--steps", 0, "--batch", 5)
    finished = run("verify", write(NET), *options)
    assert finished.code == 0, finished.err
    other = weights.with_name("other.safetensors")
    netspec.save_weights(other, netspec.loads(NET).compile(seed=8).state_dict())
    assert run("verify", write(NET), *options, "--weights", other).code == 1


def test_what_onnxruntime_says_is_told_whole(weights: Path, run: Any, write: Any) -> None:
    path = written(weights, weights.with_name("a.onnx"))
    model = onnx.load(path)
    axes = model.graph.input[0].type.tensor_type.shape.dim
    del axes[1:]
    axes.extend(model.graph.output[0].type.tensor_type.shape.dim[:1] * 3)
    held = next(each for each in model.graph.initializer if each.dims[:2] == [3, 2])
    grown = np.concatenate([onnx.numpy_helper.to_array(held)] * 2, axis=1)
    held.CopyFrom(onnx.numpy_helper.from_array(grown, held.name))
    onnx.save(model, path)
    options = ("--weights", weights, "--against", path, "--no-torch", "--steps", 0)
    finished = run("verify", write(NET), *options, "--dtype", "float32")
    assert "does not run" in finished.err
    assert "channels" in finished.err


def test_other_weights_differ(weights: Path, run: Any, write: Any) -> None:
    path = written(weights, weights.with_name("a.onnx"))
    other = weights.with_name("other.safetensors")
    netspec.save_weights(other, netspec.loads(NET).compile(seed=8).state_dict())
    command = ("verify", write(NET), "--against", path, "--no-torch", "--steps", 0, "--weights")
    finished = run(*command, other)
    assert finished.code == 1
    assert "the reference and the given ONNX file differ at the output `output`" in finished.err
    again = run(*command, weights, "--format", "json")
    assert json.loads(again.out)["ok"] is True


def test_weights_are_named_in_python_too(weights: Path) -> None:
    net = netspec.loads(NET)
    held = netspec.load_weights(weights)
    assert verify(net, weights=held, torch=False, steps=0, dtypes=("float64",)).ok
    with pytest.raises(netspec.NetspecError, match="weights"):
        verify(net, weights={"other": np.zeros(3)}, torch=False, steps=0)


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (None, "onnx/file", "there is no such file"),
        ("no model", "onnx/file", "onnxruntime does not read"),
        ("net B { input x: [2, 4, 4]\n output x -> flatten -> linear(4) }", "onnx/file", "[3, 4]"),
        (
            "net B { input x: [2, 5, 4]\n output x -> flatten -> linear(3) }",
            "onnx/file",
            "is [N, 2, 5, 4], and `x` of A [N, 2, 4, 4]",
        ),
        (
            "net B { input x: [3]\n input y: [3]\n output x + y }",
            "onnx/file",
            "has 2 inputs (x, y)",
        ),
    ],
)
def test_a_file_of_another_net_is_refused(
    text: str | None, code: str, said: str, weights: Path, run: Any, write: Any
) -> None:
    path = weights.with_name("b.onnx")
    if text is not None and text.startswith("net"):
        netspec.loads(text).compile().to_onnx(path)
    elif text is not None:
        path.write_text(text)
    command = (
        "verify",
        write(NET),
        "--weights",
        weights,
        "--against",
        path,
        "--no-torch",
        "--steps",
        0,
    )
    finished = run(*command)
    assert finished.code != 0
    assert code in finished.err
    assert said in finished.err


def test_it_needs_weights_and_single_precision(weights: Path, run: Any, write: Any) -> None:
    path = written(weights, weights.with_name("a.onnx"))
    command = ("verify", write(NET), "--against", path, "--no-torch")
    assert "--against needs the weights of the net" in run(*command).err
    double = run(*command, "--weights", weights, "--dtype", "float64")
    assert "ONNX models compute in float32" in double.err


def test_a_file_that_ends_in_a_softmax_is_compared_with_the_probabilities_of_scores(
    weights: Path, run: Any, write: Any
) -> None:
    path = written(weights, weights.with_name("a.onnx"), softmax=True)
    options = ("--against", path, "--no-torch", "--steps", 0, "--weights")
    finished = run("verify", write(NET), *options, weights)
    assert finished.code == 0, finished.err
    assert "the given ONNX file ends in a softmax" in finished.out
    ends = NET.replace("linear(3)", "linear(3) -> softmax")
    assert "ends in a softmax" not in run("verify", write(ends), *options, weights).out
    other = weights.with_name("other.safetensors")
    netspec.save_weights(other, netspec.loads(NET).compile(seed=8).state_dict())
    wrong = run("verify", write(NET), *options, other)
    assert wrong.code == 1
    assert "the file ends in a softmax: compared are the probabilities" in wrong.err
    assert "the NumPy program has" not in wrong.err  # which has scores there


@pytest.mark.parametrize("form", ["double", "half"])
def test_a_file_gets_the_numbers_that_it_takes(
    form: str, tmp_path: Path, run: Any, write: Any
) -> None:
    net = write("net A { input x: [4]\n output x -> linear(5) -> relu -> linear(3) }")
    one, other = (netspec.load(net).compile(seed=seed) for seed in (1, 2))
    path, right, wrong = (tmp_path / name for name in ("a.onnx", "r.safetensors", "w.safetensors"))
    one.to_onnx(path)
    for model, file in ((one, right), (other, wrong)):
        netspec.save_weights(file, model.state_dict())
    kind = {"double": onnx.TensorProto.DOUBLE, "half": onnx.TensorProto.FLOAT16}[form]
    made = onnx.load(path)
    for each in made.graph.initializer:
        array = onnx.numpy_helper.to_array(each).astype({"double": "f8", "half": "f2"}[form])
        each.CopyFrom(onnx.numpy_helper.from_array(array, each.name))
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.elem_type = kind
    del made.graph.value_info[:]
    onnx.save(made, path)
    options = ("--against", path, "--no-torch", "--steps", 0, "--weights")
    finished = run("verify", net, *options, right)
    assert finished.code == 0, finished.err
    assert run("verify", net, *options, wrong).code == 1


@pytest.mark.parametrize("options", [{}, {"softmax": True}, {"functions": True}], ids=str)
def test_weights_of_half_precision_are_judged_as_that(
    options: dict[str, Any], tmp_path: Path, run: Any, write: Any
) -> None:
    """What computes in float32 with them was told to differ."""
    layers = " -> relu -> ".join(["conv(16, 3)"] * 3)
    net = write(f"net A {{ input x: [3, 12, 12]\n output x -> {layers} -> flatten -> linear(10) }}")
    one, other = (netspec.load(net).compile(seed=seed) for seed in (1, 2))
    path, right, wrong = (tmp_path / name for name in ("a.onnx", "r.safetensors", "w.safetensors"))
    one.to_onnx(path, OnnxOptions(half=True, **options))
    for model, file in ((one, right), (other, wrong)):
        netspec.save_weights(file, model.state_dict())
    given = ("--against", path, "--outputs-only", "--weights")
    finished = run("verify", net, *given, right)
    assert finished.code == 0, finished.err
    assert "stores numbers in half precision: its outputs are compared to 0.01" in finished.out
    assert json.loads(run("verify", net, *given, right, "--format", "json").out)["half"]
    assert run("verify", net, *given, wrong).code == 1
    one.to_onnx(path, OnnxOptions(**options))
    assert "half precision" not in run("verify", net, *given, right).out


def test_one_image_is_compared_in_evaluation_alone() -> None:
    net = netspec.loads("net A { input x: [4]\n output x -> linear(3) -> batch_norm }")
    report = verify(net, batch=1, torch=False)
    assert report.ok
    assert {run.training for run in report.runs} == {False}
    assert "training was left out: `batch_norm1` (batch_norm) needs a batch of" in str(report)
    assert report.to_dict()["left_out"] == report.left_out
    assert verify(net, batch=2, torch=False, steps=0).left_out == ""


def normalising(path: Path, divisor: int, *, last: bool) -> None:
    """Write an ONNX file that itself normalises pixels as `BY` does, of bytes divided by a number."""
    model = onnx.load(path)
    graph, helper = model.graph, onnx.helper
    mean, scale = (a.reshape(1, 2, 1, 1) / np.float32(divisor) for a in (BY.mean, BY.scale))
    for name, array in (("mean", mean), ("scale", scale)):
        graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    first = [helper.make_node("Sub", ["x", "mean"], ["a"]),
             helper.make_node("Div", ["a", "scale"], ["b"])]  # fmt: skip
    for node in graph.node:
        node.input[:] = ["b" if name == "x" else name for name in node.input]
    if last:
        first[0].input[0] = "t"
        first.insert(0, helper.make_node("Transpose", ["x"], ["t"], perm=(0, 3, 1, 2)))
        dims = [each.dim_value for each in graph.input[0].type.tensor_type.shape.dim[1:]]
        sizes = ["N", *dims[1:], dims[0]]
        graph.input[0].CopyFrom(helper.make_tensor_value_info("x", 1, sizes))
    nodes = [*first, *graph.node]
    del graph.node[:], graph.value_info[:], model.metadata_props[:]
    graph.node.extend(nodes)
    model.producer_name = "other"
    onnx.save(model, path)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("divisor", "said"), [(1, "numbers as they are stored"), (255, "pixels from 0 to 1")]
)
def test_a_file_that_normalises_by_itself_agrees(
    divisor: int, said: str, last: bool, weights: Path, run: Any, write: Any
) -> None:
    path = written(weights, weights.with_name("a.onnx"))
    normalising(path, divisor, last=last)
    command = ("verify", write(NET), "--against", path, "--no-torch", "--steps", 0, "--weights")
    finished = run(*command, weights)
    assert finished.code == 0, finished.err
    assert f"normalises its inputs, and got {said}" in finished.out
    other = weights.with_name("other.safetensors")
    netspec.save_weights(other, netspec.loads(NET).compile(seed=8).state_dict(), BY)
    assert run(*command, other).code == 1
    unknown = weights.with_name("unknown.safetensors")
    netspec.save_weights(unknown, netspec.load_weights(weights).tensors)
    assert run(*command, unknown).code == 1  # the net takes what the file takes


def test_a_file_that_normalises_otherwise_differs(weights: Path, run: Any, write: Any) -> None:
    path = written(weights, weights.with_name("a.onnx"))
    normalising(path, 2, last=False)
    options = ("--weights", weights, "--against", path, "--no-torch", "--steps", 0)
    assert run("verify", write(NET), *options).code == 1


def test_an_imported_net_agrees_with_its_file(tmp_path: Path, run: Any) -> None:
    """Pictures with the channels last, also in an output, and one number for each image."""
    helper = onnx.helper
    x = helper.make_tensor_value_info("x", 1, ["N", 5, 6, 3])
    outputs = [helper.make_tensor_value_info(name, 1, None) for name in ("picture", "number")]
    weight = np.random.default_rng(0).standard_normal((2, 3, 1, 1)).astype("f")
    held = [onnx.numpy_helper.from_array(weight, "w"),
            onnx.numpy_helper.from_array(np.ones((2, 1), "f"), "v"),
            onnx.numpy_helper.from_array(np.array([1]), "axes")]  # fmt: skip
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=(0, 3, 1, 2)),
             helper.make_node("Conv", ["t", "w"], ["c"]),
             helper.make_node("Transpose", ["c"], ["picture"], perm=(0, 2, 3, 1)),
             helper.make_node("GlobalAveragePool", ["c"], ["p"]),
             helper.make_node("Flatten", ["p"], ["f"]),
             helper.make_node("Gemm", ["f", "v"], ["g"]),
             helper.make_node("Squeeze", ["g", "axes"], ["number"])]  # fmt: skip
    graph = helper.make_graph(nodes, "g", [x], outputs, held)
    path, net, weights = (tmp_path / name for name in ("m.onnx", "m.net", "m.safetensors"))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    imported = run("import", "onnx", path, "-o", net, "--weights-out", weights)
    assert imported.code == 0, imported.err
    options = ("--weights", weights, "--against", path, "--no-torch", "--steps", 0)
    finished = run("verify", net, *options)
    assert finished.code == 0, finished.err


def test_a_normalisation_of_other_images_is_left_alone(weights: Path, run: Any, write: Any) -> None:
    path = written(weights, weights.with_name("a.onnx"))
    by = Normalization("channel", np.full((3, 1, 1), 110, "f"), np.full((3, 1, 1), 60, "f"))
    other = weights.with_name("other.safetensors")
    netspec.save_weights(other, netspec.loads(NET).compile(seed=8).state_dict(), by)
    options = ("--weights", other, "--against", path, "--no-torch", "--steps", 0)
    finished = run("verify", write(NET), *options)
    assert finished.code == 1
    assert "differ at the output" in finished.err


MOVED = (
    "net A { input x: [2, 9]\n buffer mu: [2, 1] = zeros\n buffer sd: [2, 1] = ones\n"
    " output (x - mu) / sd -> conv(3, 3) -> relu -> max(2) -> linear(3) -> softmax }"
)


def test_a_net_that_normalises_by_itself_is_compared_where_its_inputs_are(tmp_path: Path) -> None:
    """At standard normal numbers its outputs are the same whatever the kernel is turned round to."""
    net = netspec.loads(MOVED)
    model = net.compile(seed=4)
    own = {"mu": np.full((2, 1), 5000, "f"), "sd": np.full((2, 1), 50, "f")}
    state = {**model.state_dict(), **own}
    model.load_state_dict(state)
    path = tmp_path / "a.onnx"
    model.to_onnx(path)
    options: dict[str, Any] = {"against": path, "torch": False, "steps": 0, "dtypes": ("float32",)}
    report = verify(net, weights=state, **options)
    assert report.ok
    assert not report.says_little
    turned = {**state, "conv1.weight": state["conv1.weight"][..., ::-1].copy()}
    assert not verify(net, weights=turned, **options).ok


def test_differences_are_judged_by_the_spread_of_outputs(tmp_path: Path) -> None:
    """Outputs near 5000 agree to 1e-5 of that, whatever the inputs do to them."""
    net = netspec.loads("net A { input x: [4]\n output (x -> linear(3, bias = false)) / 5 + 5000 }")
    one, other = net.compile(seed=1), net.compile(seed=2)
    path = tmp_path / "other.onnx"
    for model, agree in ((one, True), (other, False)):
        model.to_onnx(path)
        report = verify(net, weights=one.state_dict(), against=path, torch=False, steps=0)
        assert report.ok == agree, str(report)
        assert report.says_little


def test_outputs_that_do_not_depend_on_the_inputs_are_said_so(
    tmp_path: Path, run: Any, write: Any
) -> None:
    text = "net A { input x: [4]\n output x * 0.0 -> linear(3) }"
    path, weights = tmp_path / "a.onnx", tmp_path / "w.safetensors"
    model = netspec.loads(text).compile(seed=1)
    model.parameters["linear1.bias"][...] = 1
    model.to_onnx(path)
    netspec.save_weights(weights, model.state_dict())
    options = ("--weights", weights, "--against", path, "--no-torch", "--steps", 0)
    finished = run("verify", write(text), *options)
    assert finished.code == 0, finished.err
    assert "the outputs are nearly the same for all images of this batch" in finished.out
    assert json.loads(run("verify", write(text), *options, "--format", "json").out)["varies"] == 0
    assert "nearly the same" not in run("verify", write(text), "--no-torch", "--steps", 0).out


def test_the_outputs_alone_are_compared(weights: Path, run: Any, write: Any) -> None:
    path = written(weights, weights.with_name("a.onnx"))
    options = ("--against", path, "--outputs-only", "--weights")
    finished = run("verify", write(NET), *options, weights)
    assert finished.code == 0, finished.err
    rows = [line.split()[0] for line in finished.out.splitlines() if "e-0" in line][1:]
    assert rows == ["outputs"]
    assert "PyTorch" not in finished.out
    assert "training" not in finished.out
    other = weights.with_name("other.safetensors")
    netspec.save_weights(other, netspec.loads(NET).compile(seed=8).state_dict())
    assert run("verify", write(NET), *options, other).code == 1
    double = run("verify", write(NET), *options, weights, "--dtype", "float64")
    assert "--outputs-only compares in float32" in double.err
    found = json.loads(run("verify", write(NET), *options, weights, "--format", "json").out)
    assert [list(pair["largest"]) for pair in found["runs"][0]["comparisons"]] == [["outputs"]] * 2


def test_a_batch_of_ones_own_shows_what_random_numbers_hide(
    tmp_path: Path, run: Any, write: Any
) -> None:
    """Behind a threshold of 50, that no layer subtracts, random numbers are all the same."""
    text = "net A { input x: [4]\n output x -> softshrink(50) -> linear(3) }"
    one, other = (netspec.loads(text).compile(seed=seed) for seed in (1, 2))
    path, right, wrong, data = (
        tmp_path / name for name in ("a.onnx", "r.safetensors", "w.safetensors", "d.npz")
    )
    other.parameters["linear1.bias"][...] = one.parameters["linear1.bias"]
    one.to_onnx(path)
    by = Normalization("none", np.zeros(1, "f"), np.ones(1, "f"))
    for model, file in ((one, right), (other, wrong)):
        netspec.save_weights(file, model.state_dict(), by)
    x = np.random.default_rng(0).normal(0, 100, (40, 4)).astype("f")
    np.savez(data, x_test=x, y_test=np.arange(40) % 3)
    options = ("--against", path, "--outputs-only", "--weights")
    unseen = run("verify", write(text), *options, wrong)
    assert unseen.code == 0
    assert "compare on data of your own, with --data" in unseen.out
    own = (*options, wrong, "--data", data)
    assert run("verify", write(text), *own).code == 1
    agreed = run("verify", write(text), *options, right, "--data", data, "--batch", 7)
    assert agreed.code == 0, agreed.err
    assert agreed.out.startswith("A: x [7, 4]")
    unknown = tmp_path / "u.safetensors"
    netspec.save_weights(unknown, one.state_dict())
    assert "the numbers of" in run("verify", write(text), *options, unknown, "--data", data).err


def test_a_batch_is_given_in_python_too() -> None:
    net = netspec.loads("net A { input a: [4]\n input b: [4]\n output a + b -> linear(3) }")
    x = {"a": np.ones((5, 4)), "b": np.zeros((5, 4))}
    report = verify(net, x=x, torch=False, steps=0)
    assert report.ok
    assert report.batch == 5
    with pytest.raises(netspec.NetspecError, match="has the inputs a, b"):
        verify(net, x=np.ones((5, 4)), torch=False, steps=0)
