"""The plain form of the NumPy program: read to learn from, and it computes what the program does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.compiler.ir.expression import (
    Const,
    Expression,
    Var,
    erf,
    evaluate,
    exp,
    logical_and,
    maximum,
    where,
)
from netspec.compiler.ir.graph import Graph
from netspec.compiler.numpy_backend.plain_formulas import numpy_formula
from netspec.compiler.ops import registry
from netspec.kernels import erf as erf_kernels
from netspec.testing.op_examples import graph_of
from tests.conftest import ROOT, Run
from tests.helpers.golden import check_golden
from tests.helpers.program_runs import program_run
from tests.helpers.random_nets import random_net

ZOO: dict[str, dict[str, Any]] = {
    "lenet": {}, "threelayer": {}, "resnet": {"width": 4, "depth": 8},
    "zoo/alexnet": {"width": 0.125, "size": 64, "classes": 5},
    "zoo/densenet121": {"width": 0.25, "size": 32, "classes": 5, "layers": [2, 3, 2, 2]},
    "zoo/fully_connected": {"hidden": [20, 10], "size": 8, "norm": True, "drop": 0.5},
    "zoo/mobilenet_v2": {"width": 0.25, "size": 32, "classes": 5},
    "zoo/resnet18": {"width": 0.125, "size": 32, "classes": 5},
    "zoo/resnet50": {"width": 0.125, "size": 32, "classes": 5},
    "zoo/squeezenet1_0": {"width": 0.25, "size": 64, "classes": 5},
    "zoo/vgg16": {"width": 0.0625, "size": 32, "classes": 5},
}  # fmt: skip


def assert_plain_is_the_same(graph: Graph) -> None:
    ours, theirs = program_run(graph, plain=True), program_run(graph)
    assert ours.keys() == theirs.keys()
    for name in theirs:
        scale = max(1.0, float(np.nan_to_num(np.abs(theirs[name])).max(initial=0)))
        np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=1e-10 * scale)


@pytest.mark.parametrize("name", ZOO)
def test_the_numbers_are_those_of_the_program(name: str) -> None:
    assert_plain_is_the_same(netspec.load(ROOT / f"networks/{name}.net", **ZOO[name]).graph)


@pytest.mark.parametrize("op", registry().values(), ids=registry())
def test_the_numbers_of_every_op_are_those_of_the_program(op: Any) -> None:
    for example in op.examples:
        assert_plain_is_the_same(graph_of(example.call, example.inputs))


@pytest.mark.parametrize("seed", range(5))
def test_the_numbers_of_random_nets_are_those_of_the_program(seed: int) -> None:
    graph = _random_graph(seed)
    if graph is not None:
        assert_plain_is_the_same(graph)


def _random_graph(seed: int) -> Graph | None:
    try:
        return netspec.loads(random_net(seed)).graph
    except netspec.NetspecError:
        return None


def test_the_plain_program_of_three_layers() -> None:
    net = netspec.load(ROOT / "networks/threelayer.net")
    golden = Path(__file__).parent / "golden/threelayer_plain.py"
    check_golden(golden, net.source("numpy", plain=True))


@pytest.mark.parametrize("name", ["lenet", "threelayer"])
def test_the_backward_pass_has_the_layers_in_mirror_order(name: str) -> None:
    text = netspec.load(ROOT / f"networks/{name}.net").source("numpy", plain=True)
    forward, backward = text.split("def backward")
    layers = list(map(_layers, (forward, backward)))
    assert layers[0] == layers[1][::-1]
    assert len(layers[0]) == len(set(layers[0])) > 5
    assert not re.search(r"tiled|grad\(", text)


def _layers(text: str) -> list[str]:
    """Return the layers that comments name, in order."""
    comments = re.sub(r"\([^()]*\)", "", "\n".join(re.findall(r"# line \d+: (.*)", text)))
    return [each.partition(" = ")[0] for each in re.split(r", |\n", comments)]


X, Y = Var("x"), Var("y")
FORMULAS: dict[str, Expression] = {
    "x - (y - 2)": X - (Y - 2),
    "x - y - 2": X - Y - 2,
    "(x + y) * x / (y * 2.5)": (X + Y) * X / (Y * 2.5),
    "-x * y": -X * Y,
    "-(x * y)": -(X * Y),
    "-x ** 2": -(X**2),
    "(-x) ** 2": (-X) ** 2,
    "(x ** 2) ** y": (X**2) ** Y,
    "x ** y ** 2": X ** (Y**2),
    "x ** (-2)": X ** Const(-2.0),
    "x - -3": X - Const(-3.0),
    "1 / (1 + np.exp(-x))": 1 / (1 + exp(-X)),
    "np.where(np.logical_and(x > 0, y < 1), x, 0)": where(logical_and(X > 0, Y < 1), X, 0),
    'np.maximum(x, float("-inf"))': maximum(X, -np.inf),
    "x * (1 + erf.erf(x / 2))": X * (1 + erf(X / 2)),
}


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_are_written_as_a_person_would(text: str) -> None:
    """With brackets only where they are needed, and with the value that the formula has."""
    formula = FORMULAS[text]
    assert numpy_formula(formula, {"x": "x", "y": "y"}) == text
    values = {"x": np.array([0.3, 1.5, 2.0]), "y": np.array([0.7, 2.0, -1.5])}
    known = {"np": np, "erf": erf_kernels, **values}
    np.testing.assert_array_equal(eval(text, known), evaluate(formula, values))


def test_the_command_prints_it(run: Run) -> None:
    net = str(ROOT / "networks/threelayer.net")
    printed = run("compile", net, "--target", "numpy", "--plain")
    assert printed.out == (Path(__file__).parent / "golden/threelayer_plain.py").read_text("utf-8")
    forward = run("compile", net, "--target", "numpy", "--plain", "--inference")
    assert "np.maximum(" in forward.out
    assert "def backward" not in forward.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--target", "torch", "--plain"), "--plain: for --target numpy alone"),
        (
            ("--target", "numpy", "--plain", "--standalone"),
            "--plain is a program to read, and --standalone a file to run",
        ),
        (
            ("--target", "numpy", "--plain", "--explain-plan"),
            "--explain-plan shows what the passes make of a net, and --plain has none",
        ),
    ],
)
def test_what_it_cannot_be_combined_with(run: Run, options: tuple[str, ...], said: str) -> None:
    finished = run("compile", str(ROOT / "networks/lenet.net"), *options)
    assert finished.code == 2
    assert said in finished.err
