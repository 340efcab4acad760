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


def test_a_file_that_ends_in_probabilities_is_called_so(
    weights: Path, run: Any, write: Any
) -> None:
    path = written(weights, weights.with_name("a.onnx"), softmax=True)
    finished = run("verify", write(NET), "--weights", weights, "--against", path, "--no-torch")
    assert finished.code == 1
    assert "`output` of" in finished.err
    assert "holds probabilities, and `output` of A scores" in finished.err
    ends = NET.replace("linear(3)", "linear(3) -> softmax")
    options = ("--weights", weights, "--against", path, "--no-torch", "--steps", 0)
    assert run("verify", write(ends), *options).code == 0


def test_one_image_is_compared_in_evaluation_alone() -> None:
    net = netspec.loads("net A { input x: [4]\n output x -> linear(3) -> batch_norm }")
    report = verify(net, batch=1, torch=False)
    assert report.ok
    assert {run.training for run in report.runs} == {False}
    assert "training was left out: `batch_norm1` (batch_norm) needs a batch of" in str(report)
    assert report.to_dict()["left_out"] == report.left_out
    assert verify(net, batch=2, torch=False, steps=0).left_out == ""
