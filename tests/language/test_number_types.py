"""Inputs of whole numbers and of booleans: `input tokens: int[T]`, `input mask: bool[T, T]`."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest

import netspec
from netspec.compiler.analysis.costs_text import as_json
from netspec.compiler.analysis.diff import compare
from netspec.compiler.fmt.formatter import format_source
from netspec.diagnostics import NetspecError, Source
from netspec.export.assemble import standalone_source
from netspec.testing.op_examples import agreement

TEXT = """\
block Embed(vocabulary, width) tokens, mask {
    turned = tokens -> reshape([2, -1]) -> permute([2, 1]) -> flatten
    x = turned -> wte: embedding(vocabulary, width)
    return where(mask -> unsqueeze(2), x, 0)
}

net Bag(length = 6) {
    input tokens: int[length]
    input mask: bool[length]

    output Embed(tokens, mask, 11, 8) -> sum(1) -> linear(3)
}
"""
OPEN = """\
net Open {
    input tokens: int[T]
    input mask: bool[T, T]

    x = tokens -> embedding(11, 4)
    scores = where(mask, x -> matmul(x -> permute([2, 1])), 0)
    output matmul(scores, x)
}
"""


@pytest.fixture(name="torch")
def _torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed")


def batch(length=6):
    rng = np.random.default_rng(1)
    return {"tokens": rng.integers(11, size=(3, length)), "mask": rng.random((3, length)) < 0.6}


def test_the_graph_says_what_its_inputs_hold():
    graph = netspec.loads(TEXT).graph
    assert dict(graph.input_types) == {"tokens": "int", "mask": "bool"}
    assert [graph.holds(v) for v in ("embed1.permute1", "tokens", "embed1.unsqueeze1", "embed1.wte")] == [
        "int", "int", "bool", "real"
    ]  # fmt: skip
    assert "input %mask : bool[N, 6]" in str(graph)


def test_summaries_and_differences_say_so():
    net = netspec.loads(TEXT)
    summary = net.summary()
    assert "Bag (tokens: int[N, 6], mask: bool[N, 6])" in str(summary)
    assert json.loads(as_json(summary))["inputs"] == [
        {"name": "tokens", "shape": [6], "type": "int"},
        {"name": "mask", "shape": [6], "type": "bool"},
    ]
    untyped = netspec.loads(
        TEXT.replace("int[length]", "[length]").replace("bool[length]", "[length]")
    )
    changes = {change.name: change for change in compare(untyped.graph, net.graph).changes}
    assert all(changes[name].kind == "changed" for name in ("tokens", "mask"))
    assert "int[N, 6]" in str(changes["tokens"])


@pytest.mark.parametrize(
    ("text", "better"),
    [
        ("int [T]", "int[T]"),
        ("bool[ T,T ]", "bool[T, T]"),
        ("int[T,\n 2]", "int[T, 2]"),
    ],
)
def test_fmt(text, better):
    source = "net A {{\n    input x: {}\n\n    output x -> one_hot(2)\n}}\n"
    if "bool" in text:
        source = source.replace("x -> one_hot(2)", "y").replace("\n\n", "\n    input y: [T, T]\n\n")
    formatted = format_source(Source("a.net", source.format(text)))
    assert f"input x: {better}\n" in formatted
    assert format_source(Source("a.net", formatted)) == formatted


def test_names_and_indices_of_before_keep_their_meaning():
    net = netspec.loads(
        "net A(shapes = [[3, 8], [4, 8]]) {\n input x: shapes[0]\n n = int(2.0)\n"
        " output x -> linear(n)\n}"
    )
    assert net.graph.inputs["x"] == (3, 8)
    assert net.graph.input_types == {}


def test_numpy_takes_whole_numbers_and_booleans(torch):
    given = batch()
    models = [netspec.loads(TEXT).compile(target, dtype="float64") for target in ("numpy", "torch")]
    y, other = (model.forward(given) for model in models)
    assert agreement(y, other) <= 1e-12
    loose = {"tokens": given["tokens"].astype(float), "mask": given["mask"].astype(np.int64)}
    assert np.array_equal(models[0].forward(loose), y)
    weight = models[0].parameters["embed1.wte.weight"]
    turned = given["tokens"].reshape(3, 2, 3).swapaxes(1, 2).reshape(3, 6)
    summed = (weight[turned] * given["mask"][..., None]).sum(1)
    p = models[0].parameters
    assert agreement(y, summed @ p["linear1.weight"].T + p["linear1.bias"]) <= 1e-12


def test_the_module_takes_int64_and_bool(torch):
    net = netspec.loads(TEXT)
    model = net.compile("torch", dtype="float64")
    given = batch()
    tensors = [torch.tensor(given["tokens"]), torch.tensor(given["mask"])]
    with torch.no_grad():
        y = model.module.eval()(*tensors)
    assert agreement(y.numpy(), model.forward(given)) == 0
    exported = torch.export.export(model.module, tuple(tensors)).module()
    assert torch.equal(exported(*tensors), y)
    source = net.source("torch")
    assert "self.wte(turned)" in source
    assert "tokens: int[N, 6]" in source


def test_lengths_can_stay_open(torch):
    net = netspec.loads(OPEN)
    for length in (2, 5):
        rng = np.random.default_rng(length)
        given = {
            "tokens": rng.integers(11, size=(2, length)),
            "mask": rng.random((2, length, length)) < 0.5,
        }
        models = [net.compile(target, dtype="float64") for target in ("numpy", "torch")]
        assert agreement(*(model.forward(given) for model in models)) <= 1e-12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"tokens": np.array([[0, 1, 2, 3, 4, 11]])},
            "`tokens` holds 11 at [0, 5], and `embed1.wte` takes whole numbers from 0 to 10",
        ),
        (
            {"tokens": np.array([[0, 1, 0.5, 3, 4, 5]])},
            "`tokens` must hold whole numbers, and holds 0.5 at [0, 2]",
        ),
        (
            {"mask": np.array([[0, 1, 2, 1, 0, 1]])},
            "`mask` must hold booleans, and holds 2 at [0, 2]",
        ),
        (
            {"tokens": np.eye(11)[None, :6]},
            "`tokens` must be of shape [N, 6], not [1, 6, 11]",
        ),
        ({"mask": np.ones((1, 5), bool)}, "`mask` must be of shape [N, 6], not [1, 5]"),
    ],
)
def test_wrong_arrays(change, message):
    given = {"tokens": np.zeros((1, 6), int), "mask": np.ones((1, 6), bool)} | change
    model = netspec.loads(TEXT).compile()
    with pytest.raises(NetspecError) as caught:
        model.forward(given)
    (error,) = caught.value.diagnostics
    assert error.message == message
    if given["tokens"].ndim == 3:
        assert error.hints[0].text == "give the places of the ones: `tokens.argmax(-1)`"


@pytest.mark.parametrize("text", [TEXT, OPEN.replace("T", "5")])
def test_all_agree_and_gradients_are_slopes(torch, text):
    net = netspec.loads(text)
    assert netspec.verify(net).ok
    report = netspec.gradcheck(net, directions=2)
    assert report.ok
    assert not {"tokens", "mask"} & {row.name for row in report.rows}


def test_the_standalone_file(tmp_path, monkeypatch):
    net = netspec.loads(TEXT)
    given = batch()
    (tmp_path / "alone_with_tokens.py").write_text(standalone_source(net.graph), "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    alone = importlib.import_module("alone_with_tokens").Bag(dtype="float64")
    assert agreement(alone.forward(given), net.compile(dtype="float64").forward(given)) <= 1e-12
    for name, wrong, message in (
        ("tokens", 11, "tokens must hold whole numbers from 0 to 10, and holds 11 at [1, 2]"),
        ("mask", 2, "mask must hold whole numbers from 0 to 1, and holds 2 at [1, 2]"),
    ):
        bad = {n: a.astype(float) for n, a in given.items()}
        bad[name][1, 2] = wrong
        with pytest.raises(ValueError, match=message.replace("[", r"\[")):
            alone.forward(bad)


def test_open_lengths_cut_what_has_the_greatest_length():
    net = netspec.loads(
        "net A {\n input tokens: int[T]\n parameter positions: [5, 3] = normal(1)\n"
        " output embedding(tokens, 7, 3) + slice_as(positions, tokens)\n}"
    )
    model = net.compile(dtype="float64")
    positions = model.parameters["positions"]
    tokens = np.zeros((2, 4), int)
    row = model.parameters["embedding1.weight"][0]
    assert agreement(model.forward(tokens), np.stack([row + positions[:4]] * 2)) <= 1e-12
    with pytest.raises(NetspecError, match="has 5 places along axis 1, fewer than the 6"):
        model.forward(np.zeros((1, 6), int))
