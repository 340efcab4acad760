"""The zoo's networks over sequences: names, sizes, values and gradients are those of the models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.testing.op_examples import agreement, random_parameters, run_program
from tests.helpers.errors import fails
from tests.helpers.heavy import some_heavy
from tests.helpers.zoo import ENCODERS

ZOO = Path(__file__).parents[2] / "networks/zoo"
Batch = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A network: the parameters of its full size, arguments of a small one, and what it takes.

    `module` and `name` are those of the plain model. `lengths` are two that it takes, and `beyond`
    one that is too long for its positions; `fixed` sets other lengths.
    """

    module: str
    name: str
    count: int
    full: Mapping[str, int]
    small: Mapping[str, int]
    still: Mapping[str, Any]
    batch: Callable[[int], Batch]
    lengths: tuple[int, int]
    beyond: int
    axis: str = "T"
    fixed: Mapping[str, int] = field(default_factory=dict)

    def sized(self, length: int) -> dict[str, int]:
        """Return the arguments that set every length."""
        return {self.axis: length, **self.fixed}

    def plain(self, **arguments: int) -> Any:
        """The plain PyTorch model."""
        import importlib

        return getattr(importlib.import_module(f"tests.helpers.{self.module}"), self.name)(
            **arguments
        )


def sentences(length: int) -> Batch:
    """Return sequences of different lengths, filled up with the token 0."""
    rng = np.random.default_rng(1)
    mask = np.arange(length) < np.array([[length], [length - 2], [1]])
    return {
        "input_ids": np.where(mask, rng.integers(1, 19, (3, length)), 0),
        "token_type_ids": rng.integers(0, 2, (3, length)),
        "attention_mask": mask,
    }


def spectrograms(length: int) -> Batch:
    return {"input_features": np.random.default_rng(1).standard_normal((3, 5, length))}


def pairs_of_sentences(length: int) -> Batch:
    """Return a source of `length` tokens, and a target of five."""
    rng = np.random.default_rng(1)
    masks = [np.arange(size) < np.array([[size], [size - 2], [1]]) for size in (length, 5)]
    tokens = [np.where(mask, rng.integers(1, 11, mask.shape), 0) for mask in masks]
    return dict(
        zip(("source", "target", "source_mask", "target_mask"), (*tokens, *masks), strict=True)
    )


CASES = {
    "bert_base": Case(
        "plain_bert", "Bert", 109_482_240,
        {"vocabulary": 30522, "width": 768, "layers": 12, "heads": 12, "positions": 512},
        {"vocabulary": 19, "width": 12, "layers": 2, "heads": 3, "positions": 9},
        {"drop": 0}, sentences, (9, 4), 10,
    ),
    "transformer": Case(
        "plain_transformer", "Transformer", 101_009_544,
        {"source_vocabulary": 37000, "target_vocabulary": 37000, "width": 512, "layers": 6, "heads": 8,
         "hidden": 2048, "positions": 512},
        {"source_vocabulary": 11, "target_vocabulary": 13, "width": 12, "layers": 2, "heads": 3,
         "hidden": 20, "positions": 9},
        {"drop": 0}, pairs_of_sentences, (9, 4), 10, "S", {"T": 5},
    ),
    "whisper_tiny_encoder": Case(
        "plain_whisper", "Whisper", 8_208_384,
        {"mels": 80, "width": 384, "blocks": 4, "heads": 6, "positions": 1500},
        {"mels": 5, "width": 12, "blocks": 2, "heads": 3, "positions": 9},
        {}, spectrograms, (18, 7), 19,
    ),
}  # fmt: skip
every_net = pytest.mark.parametrize("name", CASES)


def ours(name: str, **arguments: Any) -> netspec.Net:
    return netspec.load(ZOO / f"{name}.net", **arguments)


def small_pair(torch: Any, case: Case) -> tuple[Any, dict[str, np.ndarray]]:
    """Return the plain model in double precision, and its values."""
    torch.manual_seed(0)
    model = case.plain(**case.small).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model, {name: t.detach().numpy().copy() for name, t in model.state_dict().items()}


def test_every_net_is_tested():
    assert set(CASES) == set(ENCODERS)


@every_net
def test_names_and_shapes_at_full_size(torch, name):
    case = CASES[name]
    with torch.device("meta"):
        model = case.plain(**case.full)
    net = ours(name)
    shapes = [(key, tuple(t.shape)) for key, t in model.state_dict().items()]
    found = [(p.name, p.shape) for p in net.graph.parameters.values() if p.is_saved]
    assert sorted(found) == sorted(shapes)
    assert net.summary().parameters == case.count
    assert net.warnings == ()


@every_net
def test_values_and_gradients_are_the_models(torch, name):
    case = CASES[name]
    model, parameters = small_pair(torch, case)
    length = case.lengths[1]
    graph = ours(name, **case.small, **case.still, **case.sized(length)).graph
    given, rng = case.batch(length), np.random.default_rng(2)
    dy = {n: rng.standard_normal((3, *graph.shape_of(v))) for n, v in graph.outputs.items()}
    numbers = {key: array.astype(float) for key, array in given.items()}
    values = random_parameters(graph) | parameters
    run = run_program(graph, values, numbers, dy, training=True)
    found = model(*(torch.tensor(array) for array in given.values()))
    for key, value in found.items():
        assert agreement(run.outputs[key], value.detach().numpy()) <= 1e-10, key
    torch.autograd.backward(list(found.values()), [torch.tensor(dy[key]) for key in found])
    for key, parameter in model.named_parameters():
        assert agreement(run.gradients[key], parameter.grad.numpy()) <= 1e-9, key


@pytest.mark.parametrize("name", some_heavy(CASES, ["transformer"]))
def test_the_generated_module(torch, name):
    """It has the model's values at any length, and PyTorch compiles and exports it."""
    case = CASES[name]
    model, parameters = small_pair(torch, case)
    net = ours(name, **case.small)
    module = net.compile("torch", dtype="float64").module.eval()
    module.load_state_dict({key: torch.tensor(a) for key, a in parameters.items()})
    numpy = net.compile(dtype="float64")
    numpy.load_state_dict(parameters)

    def by_name(result: Any) -> dict[str, np.ndarray]:
        values = result if isinstance(result, tuple) else (result,)
        return {k: v.numpy() for k, v in zip(net.graph.outputs, values, strict=True)}

    for length in case.lengths:
        given = case.batch(length)
        tensors = tuple(torch.tensor(array) for array in given.values())
        with torch.no_grad():
            wanted = {key: value.numpy() for key, value in model(*tensors).items()}
            found = [by_name(module(*tensors))]
        y = numpy.forward(given)
        found.append(y if isinstance(y, dict) else {"output": y})
        if length == case.lengths[1]:
            with torch.no_grad():
                torch.compiler.reset()
                compiled = torch.compile(module, fullgraph=True, backend="eager")
                exported = torch.export.export(module, tensors).module()
                found += [by_name(compiled(*tensors)), by_name(exported(*tensors))]
        for each in found:
            for key, value in wanted.items():
                assert agreement(each[key], value) <= 1e-10, (length, key)


@pytest.mark.parametrize("target", ["numpy", "torch"])
@every_net
def test_a_sequence_longer_than_its_positions(torch, name, target):
    case = CASES[name]
    model = ours(name, **case.small).compile(target)
    with fails("shape/slice", r"\[N, 9(, 12)?\] has 9 places along axis 1, fewer than the 10"):
        model.forward(case.batch(case.beyond))


@pytest.mark.parametrize("name", some_heavy(CASES, ["transformer"]))
def test_all_agree(torch, name):
    case = CASES[name]
    fewer = {key: 1 if key in ("layers", "blocks") else value for key, value in case.small.items()}
    net = ours(name, **fewer, **case.sized(5))
    assert netspec.verify(net).ok
    report = netspec.gradcheck(net, directions=1, whole=True, batch=3)
    assert report.ok, str(report)
