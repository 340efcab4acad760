"""The zoo's nets that write: names, sizes, values and gradients are those of plain PyTorch modules."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.export import standalone_source
from netspec.runtime.models.generation import Sampling
from netspec.testing.op_examples import agreement, random_parameters, run_program
from tests.helpers.heavy import some_heavy
from tests.helpers.zoo import WRITERS

ROOT = Path(__file__).parents[2]
CLASSES = {"gpt2": "Gpt2", "char_lstm": "CharLstm", "llama": "Llama"}
FULL: dict[str, dict[str, Any]] = {
    "gpt2": {"vocabulary": 50257, "width": 768, "layers": 12, "heads": 12, "positions": 1024},
    "char_lstm": {"vocabulary": 128, "width": 128, "layers": 2},
    "llama": {
        "vocabulary": 32000,
        "width": 2048,
        "layers": 22,
        "heads": 32,
        "shared": 4,
        "hidden": 5632,
    },
}
SMALL: dict[str, dict[str, Any]] = {
    "gpt2": {"vocabulary": 13, "width": 12, "layers": 2, "heads": 3, "positions": 7},
    "char_lstm": {"vocabulary": 13, "width": 6, "layers": 2},
    "llama": {
        "vocabulary": 13,
        "width": 16,
        "layers": 2,
        "heads": 4,
        "shared": 2,
        "hidden": 24,
    },
}
TOKENS = np.random.default_rng(1).integers(0, 13, (3, 6))
each_net = pytest.mark.parametrize("name", CLASSES)
# What llama takes seconds for, and the others do as well.
small_nets = pytest.mark.parametrize("name", some_heavy(CLASSES, ["llama"]))


def test_every_net_is_tested() -> None:
    assert set(CLASSES) == set(WRITERS)


def ours(name: str, **arguments: Any) -> netspec.Net:
    return netspec.load(ROOT / f"networks/zoo/{name}.net", **arguments)


def plain(torch: Any, name: str) -> tuple[Any, dict[str, np.ndarray]]:
    """Return the plain module in double precision, and its parameters under the names of ours."""
    module = importlib.import_module("tests.helpers.plain_writers")
    torch.manual_seed(0)
    model = getattr(module, CLASSES[name])(**SMALL[name]).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model, {key: p.detach().numpy().copy() for key, p in model.named_parameters()}


@each_net
def test_names_and_shapes_at_full_size(torch, name):
    module = importlib.import_module("tests.helpers.plain_writers")
    with torch.device("meta"):
        model = getattr(module, CLASSES[name])(**FULL[name])
    net = ours(name)
    shapes = [(key, tuple(p.shape)) for key, p in model.named_parameters()]
    found = [(p.name, p.shape) for p in net.graph.parameters.values() if p.is_saved]
    assert sorted(found) == sorted(shapes)
    assert net.warnings == ()
    small = ours(name, **SMALL[name]).compile("torch").module
    assert small.state_dict().keys() == plain(torch, name)[0].state_dict().keys()


def test_gpt2_has_the_initial_values_of_nanogpt():
    parameters = ours("gpt2", **SMALL["gpt2"] | {"width": 96}).compile().parameters
    assert np.std(parameters["transformer.wte.weight"]) == pytest.approx(0.02, rel=0.1)
    assert np.std(parameters["transformer.h.0.attn.c_proj.weight"]) == pytest.approx(0.01, rel=0.1)
    assert not parameters["transformer.h.1.mlp.c_fc.bias"].any()


def test_gpt2_is_short():
    assert len((ROOT / "networks/zoo/gpt2.net").read_text().splitlines()) <= 45


@each_net
def test_values_and_gradients_are_the_plain_modules(torch, name):
    model, parameters = plain(torch, name)
    graph = ours(name, **SMALL[name], T=6).graph
    dy = np.random.default_rng(2).standard_normal((3, 6, 13))
    given = {"tokens": TOKENS.astype(float)}
    values = random_parameters(graph) | parameters
    run = run_program(graph, values, given, {"output": dy}, training=True)
    found = model(torch.tensor(TOKENS))
    assert agreement(run.outputs["output"], found.detach().numpy()) <= 1e-10
    found.backward(torch.tensor(dy))
    for key, parameter in model.named_parameters():
        assert agreement(run.gradients[key], parameter.grad.numpy()) <= 1e-9, key


@small_nets
def test_the_generated_module_at_any_length(torch, name):
    """PyTorch's compiler takes recurrent layers only if `allow_rnn` is set."""
    import torch._dynamo

    model, parameters = plain(torch, name)
    net = ours(name, **SMALL[name])
    theirs = net.compile("torch", dtype="float64")
    theirs.module.load_state_dict(model.state_dict())
    module = theirs.module.eval()
    numpy = net.compile(dtype="float64")
    numpy.load_state_dict(parameters)
    for length in (6, 4):
        tokens = TOKENS[:, :length]
        with torch.no_grad():
            wanted = model(torch.tensor(tokens)).numpy()
            assert agreement(module(torch.tensor(tokens)).numpy(), wanted) <= 1e-10
        assert agreement(numpy.forward(tokens), wanted) <= 1e-10
    given = torch.tensor(tokens)
    with torch.no_grad(), torch._dynamo.config.patch(allow_rnn=True):
        torch.compiler.reset()
        compiled = torch.compile(module, fullgraph=True, backend="eager")(given)
        exported = torch.export.export(module, (given,)).module()(given)
    assert agreement(compiled.numpy(), wanted) <= 1e-10
    assert agreement(exported.numpy(), wanted) <= 1e-10


@each_net
def test_the_standalone_file_trains_alike(name, tmp_path, monkeypatch):
    net = ours(name, **SMALL[name], T=6)
    (tmp_path / f"own_{name}.py").write_text(standalone_source(net.graph))
    monkeypatch.syspath_prepend(tmp_path)
    file = getattr(importlib.import_module(f"own_{name}"), CLASSES[name])(dtype="float64")
    model = net.compile(dtype="float64")
    for key, parameter in model.parameters.items():
        file.parameters[key][...] = parameter
    value, gradients = file.loss_and_grads(TOKENS, (TOKENS + 1) % 13)
    expected, wanted = model.loss_and_grads(TOKENS, (TOKENS + 1) % 13)
    assert value == pytest.approx(expected, rel=1e-12)
    for key, gradient in wanted.items():
        assert agreement(gradients[key], gradient) <= 1e-10, key


@small_nets
def test_all_agree(torch, name):
    net = ours(name, **SMALL[name] | {"layers": 1}, T=5)
    assert netspec.verify(net).ok
    report = netspec.gradcheck(net, directions=1, whole=True, batch=3)
    assert report.ok, str(report)


@small_nets
def test_both_backends_learn_and_write_the_same(torch, name):
    rng = np.random.default_rng(0)
    x = (rng.integers(0, 13, (80, 1)) + np.arange(7)) % 13
    data = netspec.Dataset("counts", x[:64, :6], x[:64, 1:], x[64:, :6], x[64:, 1:], 13)
    histories, written = [], []
    for target in ("numpy", "torch"):
        model = ours(name, **SMALL[name], T=6).compile(target)
        options: dict[str, Any] = {"epochs": 10, "batch": 16, "lr": 0.04, "progress": False}
        histories.append(netspec.fit(model, data, optimizer="adamw", clip_norm=1.0, **options))
        written.append([*model.generate([5, 6], 30, Sampling(temperature=0.5))])
    ours_, theirs = histories
    assert np.allclose(ours_.loss_history, theirs.loss_history, rtol=0, atol=1e-4)
    assert ours_.loss_history[-1] < 0.8 * ours_.loss_history[0]
    assert written[0] == written[1]
