"""The numbers that course notebooks publish, through the reference and the compiled program.

`course_notebooks.json` holds them with their sources.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import netspec
from tests.support import graph_of, run_program, run_reference

ROOT = Path(__file__).parents[1]
PUBLISHED = json.loads((Path(__file__).parent / "course_notebooks.json").read_text())
both_evaluators = pytest.mark.parametrize("evaluator", ["program", "reference"])


def array(value) -> np.ndarray:
    """An array of the file: nested lists, or the `linspace(a, b, shape)` of its preface."""
    if isinstance(value, str):
        start, stop, shape = value.removeprefix("linspace(").removesuffix(")").split(",", 2)
        shape = tuple(int(n) for n in shape.strip("() ,").split(",") if n)
        return np.linspace(float(start), float(stop), num=math.prod(shape)).reshape(shape)
    return np.array(value, dtype=np.float64)


def relative_error(a, b) -> float:
    return float(np.max(np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b))))


def run(evaluator, call, x, dy=None, parameters=None, training=False):
    graph = graph_of(call, (x.shape[1:],))
    values = {name: np.zeros(p.shape) for name, p in graph.parameters.items()}
    for name, value in (parameters or {}).items():
        values[f"{graph.nodes[0].name}.{name}"] = value
    shape = graph.nodes[-1].shape
    if dy is None:
        dy = np.zeros((len(x), *shape))
    runner = run_program if evaluator == "program" else run_reference
    return runner(graph, values, {"x0": x}, {"output": dy}, training=training)


def check_case(result, case, dx=True):
    if "rel_error_below" in case:
        assert relative_error(result.outputs["output"], array(case["y"])) < case["rel_error_below"]
    else:
        np.testing.assert_allclose(result.outputs["output"], array(case["y"]), atol=1e-12)
    if "dx" in case:
        np.testing.assert_allclose(result.input_gradients["x0"], array(case["dx"]), atol=1e-12)


@both_evaluators
@pytest.mark.parametrize("case", PUBLISHED["conv2d_forward"], ids=lambda c: c["name"])
def test_conv(case, evaluator):
    w = array(case["w"])
    kernel = w.shape[2]
    call = f"conv({len(w)}, {kernel}, stride = {case['stride']}, pad = {case['pad']})"
    dy = array(case["dy"]) if "dy" in case else None
    weights = {"weight": w, "bias": array(case["b"])}
    check_case(run(evaluator, call, array(case["x"]), dy, weights), case)


@both_evaluators
@pytest.mark.parametrize("kind", ["max_pool", "avg_pool"])
def test_pools(kind, evaluator):
    for case in PUBLISHED[f"{kind}2d"]:
        call = f"{kind}({case['kernel']}, stride = {case['stride']})"
        dy = array(case["dy"]) if "dy" in case else None
        check_case(run(evaluator, call, array(case["x"]), dy), case)


@both_evaluators
def test_flatten_is_row_major(evaluator):
    (case,) = PUBLISHED["flatten"]
    x = np.arange(float(math.prod(case["x_shape"]))).reshape(case["x_shape"])
    y = run(evaluator, "flatten", x).outputs["output"]
    assert list(y.shape) == case["y_shape"]
    assert (y.ravel() == np.arange(y.size)).all()


@pytest.mark.parametrize("case", PUBLISHED["output_size_and_parameters"])
def test_output_size_and_parameters(case):
    net = netspec.loads(
        f"net Size() {{ input x: {case['input']}\n output x -> conv({case['filters']},"
        f" {case['kernel']}, stride = {case['stride']}, pad = {case['pad']}) }}"
    )
    assert list(net.graph.nodes[-1].shape) == case["output"]
    assert sum(p.size for p in net.graph.trainable()) == case["parameters"]
    unread = [w for w in net.warnings if w.code == "shape/unread-rows"]
    if case["drops"] == [0, 0]:
        assert not unread
    else:
        rows = case["input"][1]
        assert f"row {rows - 1} and column {rows - 1}" in unread[0].message


def test_lenet_shapes():
    net = netspec.load(ROOT / "networks/lenet.net")
    published = PUBLISHED["lenet_shapes"]
    assert list(net.graph.inputs["image"]) == published["input"]
    shapes = [list(node.shape) for node in net.graph.nodes if node.op.name != "relu"]
    assert shapes == published["trace"]
    assert sum(p.size for p in net.graph.trainable()) == published["parameters"]


@pytest.mark.parametrize(
    ("depth", "parameters"),
    [(int(d), n) for d, n in PUBLISHED["resnet_cifar"]["parameters"].items()],
)
def test_resnet_parameters(depth, parameters):
    net = netspec.load(ROOT / "networks/resnet.net", depth=depth)
    assert sum(p.size for p in net.graph.trainable()) == parameters


@both_evaluators
def test_spatial_batch_norm(evaluator):
    x = 4 * np.random.default_rng(0).standard_normal((2, 3, 4, 5)) + 10
    unit = {"weight": np.ones(3), "bias": np.zeros(3)}
    y = run(evaluator, "batch_norm", x, parameters=unit, training=True).outputs["output"]
    assert np.abs(y.mean(axis=(0, 2, 3))).max() < 1e-14
    np.testing.assert_allclose(y.std(axis=(0, 2, 3)), 1, atol=1e-6)
    shifted = {"weight": np.array([3.0, 4, 5]), "bias": np.array([6.0, 7, 8])}
    y = run(evaluator, "batch_norm", x, parameters=shifted, training=True).outputs["output"]
    np.testing.assert_allclose(y.mean(axis=(0, 2, 3)), [6, 7, 8], atol=1e-5)
    np.testing.assert_allclose(y.std(axis=(0, 2, 3)), [3, 4, 5], atol=1e-5)


def test_batch_norm_in_evaluation_after_training():
    net = netspec.loads("net Norm() { input x: [4, 11, 12]\n output x -> batch_norm -> flatten }")
    model = net.compile(dtype="float64")
    rng = np.random.default_rng(0)
    for _ in range(50):
        x = 2.3 * rng.standard_normal((10, 4, 11, 12)) + 13
        model.loss_and_grads(x, np.zeros(10, np.int64))
    y = model.forward(x).reshape(10, 4, -1)
    assert np.abs(y.mean(axis=(0, 2))).max() < 0.1
    assert np.abs(y.std(axis=(0, 2)) - 1).max() < 0.05


class TestThreeLayer:
    """The sanity checks of the notebook's loss."""

    def losses(self, l2: float) -> float:
        model = netspec.load(ROOT / "networks/threelayer.net").compile(dtype="float64", seed=1)
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal((50, 3, 32, 32)), rng.integers(0, 10, 50)
        return model.loss(x, y, l2=l2)

    def test_without_regularization(self):
        assert abs(self.losses(0.0) - math.log(10)) < 1e-3

    @pytest.mark.parametrize(("l2", "published"), [(0.5, 2.509), (1.0, 2.714)])
    def test_with_regularization(self, l2, published):
        assert abs(self.losses(l2) - published) < 3e-3

    def test_the_gradient_of_the_notebook(self):
        """Float64, 2 inputs of (3, 16, 16), 3 filters of 3x3, hidden 7, weight_scale 0.1."""
        text = (ROOT / "networks/threelayer.net").read_text().replace("32, 32", "16, 16")
        net = netspec.loads(text, filters=3, kernel=3, hidden=7, weight_scale=0.1)
        model = net.compile(dtype="float64", seed=1)
        rng = np.random.default_rng(231)
        x, y = rng.standard_normal((2, 3, 16, 16)), rng.integers(0, 10, 2)
        _, grads = model.loss_and_grads(x, y)
        step = 1e-4
        for name, gradient in grads.items():
            value = model.parameters[name]
            for index in list(np.ndindex(*value.shape))[:: max(1, value.size // 12)]:
                kept = value[index]
                value[index] = kept + step
                up = model.loss(x, y, training=True)
                value[index] = kept - step
                down = model.loss(x, y, training=True)
                value[index] = kept
                slope = (up - down) / (2 * step)
                assert abs(slope - gradient[index]) < 1e-7, (name, index)
