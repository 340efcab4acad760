"""The zoo's networks over sequences: names, sizes, values and gradients are those of the models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.testing.op_examples import agreement, run_program
from tests.helpers.errors import fails

ZOO = Path(__file__).parents[2] / "networks/zoo"
SMALL: dict[str, Any] = {"vocabulary": 19, "width": 12, "layers": 2, "heads": 3, "positions": 9}


def ours(**arguments: Any) -> netspec.Net:
    return netspec.load(ZOO / "bert_base.net", **arguments)


def batch(length: int) -> dict[str, np.ndarray]:
    """Return sequences of different lengths, filled up with the token 0."""
    rng = np.random.default_rng(1)
    mask = np.arange(length) < np.array([[length], [length - 2], [1]])
    return {
        "input_ids": np.where(mask, rng.integers(1, 19, (3, length)), 0),
        "token_type_ids": rng.integers(0, 2, (3, length)),
        "attention_mask": mask,
    }


@pytest.fixture
def pair(torch: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """The plain model in double precision, and its values."""
    from tests.helpers.plain_bert import Bert

    torch.manual_seed(0)
    model = Bert(**SMALL).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model, {name: t.detach().numpy().copy() for name, t in model.state_dict().items()}


def test_names_and_shapes_at_full_size(torch):
    from tests.helpers.plain_bert import Bert

    with torch.device("meta"):
        model = Bert(30522, 768, 12, 12, 512)
    net = ours()
    shapes = [(name, tuple(t.shape)) for name, t in model.state_dict().items()]
    assert sorted((p.name, p.shape) for p in net.graph.parameters.values()) == sorted(shapes)
    assert net.summary().parameters == 109_482_240
    assert net.warnings == ()


def test_values_and_gradients_are_the_models(torch, pair):
    model, parameters = pair
    graph = ours(**SMALL, drop=0, T=6).graph
    given, rng = batch(6), np.random.default_rng(2)
    dy = {n: rng.standard_normal((3, *graph.shape_of(v))) for n, v in graph.outputs.items()}
    numbers = {name: array.astype(float) for name, array in given.items()}
    run = run_program(graph, parameters, numbers, dy, training=True)
    found = model(*(torch.tensor(array) for array in given.values()))
    for key, value in found.items():
        assert agreement(run.outputs[key], value.detach().numpy()) <= 1e-10, key
    torch.autograd.backward(list(found.values()), [torch.tensor(dy[key]) for key in found])
    for name, parameter in model.named_parameters():
        assert agreement(run.gradients[name], parameter.grad.numpy()) <= 1e-9, name


def test_the_generated_module(torch, pair):
    """It has the model's values at any length, and PyTorch compiles and exports it."""
    model, parameters = pair
    net = ours(**SMALL)
    module = net.compile("torch", dtype="float64").module.eval()
    module.load_state_dict({name: torch.tensor(a) for name, a in parameters.items()})
    numpy = net.compile(dtype="float64")
    numpy.load_state_dict(parameters)
    for length in (9, 4):
        given = batch(length)
        tensors = tuple(torch.tensor(array) for array in given.values())
        with torch.no_grad():
            wanted = model(*tensors)
            mine = dict(zip(net.graph.outputs, module(*tensors), strict=True))
        found = numpy.forward(given)
        for key, value in wanted.items():
            assert agreement(mine[key].numpy(), value.numpy()) <= 1e-10, key
            assert agreement(found[key], value.numpy()) <= 1e-10, key
    with torch.no_grad():
        torch.compiler.reset()
        compiled = torch.compile(module, fullgraph=True, backend="eager")(*tensors)
        exported = torch.export.export(module, tensors).module()(*tensors)
    for several in (compiled, exported):
        for key, value in zip(wanted, several, strict=True):
            assert agreement(value.numpy(), wanted[key].numpy()) <= 1e-10, key


@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_a_sequence_longer_than_its_positions(torch, target):
    model = ours(**SMALL).compile(target)
    with fails("shape/slice", r"\[N, 9, 12\] has 9 places along axis 1, fewer than the 10"):
        model.forward(batch(10))


def test_all_agree(torch):
    net = ours(**SMALL | {"layers": 1}, T=5)
    assert netspec.verify(net).ok
    report = netspec.gradcheck(net, directions=1, whole=True, batch=3)
    assert report.ok, str(report)
