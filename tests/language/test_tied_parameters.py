"""Layers that take a parameter of another layer: `linear(.., weight = wte.weight)`."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import netspec
from netspec.diagnostics import NetspecError
from netspec.export.assemble import standalone_source
from netspec.testing.op_examples import agreement

TEXT = """\
net Tied(vocabulary = 7, width = 4) {
    input tokens: int[T]

    x = tokens -> transformer.wte: embedding(vocabulary, width, padding = 2) -> layer_norm
    output x -> lm_head: linear(vocabulary, bias = false, weight = transformer.wte.weight)
}
"""
SHARED = """\
net Tied {
    input tokens: int[5]
    layer wte = embedding(7, 4)

    output tokens -> wte -> lm_head: linear(7, bias = false, weight = wte.weight)
}
"""
TOKENS = np.array([[0, 1, 2, 3, 6], [5, 5, 2, 4, 1]])


def test_there_is_one_parameter():
    graph = netspec.loads(TEXT).graph
    assert [p.name for p in graph.parameters.values()] == [
        "transformer.wte.weight", "layer_norm1.weight", "layer_norm1.bias",
    ]  # fmt: skip
    assert dict(graph.ties) == {"lm_head.weight": "transformer.wte.weight"}


@pytest.mark.parametrize("text", [TEXT, SHARED], ids=["label", "shared layer"])
def test_all_agree_and_gradients_are_slopes(text):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    net = netspec.loads(text, **({"T": 5} if "[T]" in text else {}))
    assert netspec.verify(net).ok
    report = netspec.gradcheck(net, directions=2)
    assert report.ok
    assert "lm_head.weight" not in {row.name for row in report.rows}


def test_values_and_gradients_are_pytorchs():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    model = netspec.loads(TEXT).compile("torch", dtype="float64")
    module = model.module
    assert module.lm_head.weight is module.transformer.wte.weight
    assert [name for name, _ in module.named_parameters()] == [
        "transformer.wte.weight", "layer_norm1.weight", "layer_norm1.bias",
    ]  # fmt: skip
    assert not module.transformer.wte.weight[2].any()
    tokens = torch.tensor(TOKENS)
    module(tokens).pow(2).sum().backward()
    weight = module.transformer.wte.weight.detach().clone().requires_grad_()
    x = torch.nn.functional.embedding(tokens, weight, padding_idx=2)
    y = torch.nn.functional.layer_norm(x, (4,)) @ weight.T
    y.pow(2).sum().backward()
    assert agreement(module.lm_head.weight.grad.numpy(), weight.grad.numpy()) <= 1e-12
    assert agreement(model.forward(TOKENS), y.detach().numpy()) <= 1e-12


@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_a_state_with_both_names_is_taken(target):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    net = netspec.loads(TEXT)
    state = net.compile("torch", seed=3).module.state_dict()
    assert set(state) >= {"lm_head.weight", "transformer.wte.weight"}
    model = net.compile(target)
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    model.load_state_dict(arrays)
    assert np.array_equal(model.state_dict()["transformer.wte.weight"], arrays["lm_head.weight"])
    assert "lm_head.weight" not in model.state_dict()
    alone = {n: a for n, a in arrays.items() if n != "transformer.wte.weight"}
    net.compile(target).load_state_dict(alone)
    with pytest.raises(NetspecError, match=r"lm_head\.weight"):
        model.load_state_dict(arrays | {"lm_head.weight": arrays["lm_head.weight"] + 1})


def test_the_standalone_file(tmp_path, monkeypatch):
    net = netspec.loads(TEXT, T=5)
    (tmp_path / "alone_and_tied.py").write_text(standalone_source(net.graph, training=False))
    monkeypatch.syspath_prepend(tmp_path)
    alone = importlib.import_module("alone_and_tied").Tied(dtype="float64")
    assert agreement(alone.forward(TOKENS), net.compile(dtype="float64").forward(TOKENS)) <= 1e-12


def test_in_a_loop_and_in_a_block():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    net = netspec.loads(
        "block Pair(n) x {\n y = x -> down: linear(n, bias = false)\n"
        " return y -> up: linear(n, bias = false, weight = down.weight)\n}\n"
        "net A {\n input x: [3]\n for i in range(2) { x = x -> h.{i}: Pair(3) }\n output x\n}"
    )
    assert dict(net.graph.ties) == {f"h.{i}.up.weight": f"h.{i}.down.weight" for i in range(2)}
    assert netspec.verify(net).ok
