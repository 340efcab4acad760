"""The numbers that course notebooks publish, through the reference and the compiled program.

`course_notebooks.json` holds them with their sources. Two of its cases train on CIFAR-10: they run
where `NETSPEC_DATA_DIR` is a folder that has it, and the longer one if `NETSPEC_LONG` is set too.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.runtime.data.input_normalization import Normalization
from netspec.runtime.optim.losses import make_loss
from netspec.testing import check_layer
from netspec.testing.op_examples import graph_of, random_parameters, run_program, run_reference
from tests.helpers import course_layers

ROOT = Path(__file__).parents[2]
PUBLISHED = json.loads((Path(__file__).parent / "course_notebooks.json").read_text())
both_evaluators = pytest.mark.parametrize("evaluator", ["program", "reference"])


def array(value) -> np.ndarray:
    """Return an array of the file: nested lists, or the `linspace(a, b, shape)` of its preface."""
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


@both_evaluators
def test_batch_norm_in_evaluation_after_training(evaluator):
    graph = graph_of("batch_norm", ((4, 11, 12),))
    runner = run_program if evaluator == "program" else run_reference
    rng = np.random.default_rng(0)
    parameters = {name: np.zeros(p.shape) for name, p in graph.parameters.items()}
    parameters |= {"batch_norm1.weight": np.ones(4), "batch_norm1.running_var": np.ones(4)}
    dy = {"output": np.zeros((10, 4, 11, 12))}
    for _ in range(50):
        x = {"x0": 2.3 * rng.standard_normal((10, 4, 11, 12)) + 13}
        parameters = runner(graph, parameters, x, dy, training=True).parameters
    y = runner(graph, parameters, x, dy, training=False).outputs["output"]
    assert np.abs(y.mean(axis=(0, 2, 3))).max() < 0.1
    assert np.abs(y.std(axis=(0, 2, 3)) - 1).max() < 0.05


@both_evaluators
def test_spatial_group_norm(evaluator):
    x = 4 * np.random.default_rng(0).standard_normal((2, 6, 4, 5)) + 10
    unit = {"weight": np.ones(6), "bias": np.zeros(6)}
    y = run(evaluator, "group_norm(2)", x, parameters=unit, training=True).outputs["output"]
    groups = y.reshape(2, 2, -1)
    # The published mean is "below 1e-15": round-off, whose size depends on the order of the sums.
    assert np.abs(groups.mean(axis=2)).max() < 1e-14
    spread = np.sqrt(x.reshape(2, 2, -1).var(axis=2))
    np.testing.assert_allclose(groups.std(axis=2), spread / np.sqrt(spread**2 + 1e-5), rtol=1e-12)
    np.testing.assert_allclose(groups.std(axis=2), 0.9999996, atol=2e-7)


KNOWN_NETWORKS = {
    name: (count, PUBLISHED["parameter_counts_of_known_networks"]["macs"][name])
    for name, count in PUBLISHED["parameter_counts_of_known_networks"].items()
    if isinstance(count, int)
}


@pytest.mark.parametrize("name", KNOWN_NETWORKS)
def test_known_networks(name):
    summary = netspec.load(ROOT / f"networks/zoo/{name}.net").summary()
    assert (summary.parameters, summary.macs) == KNOWN_NETWORKS[name]


def three_layer(**arguments) -> netspec.Net:
    return netspec.load(ROOT / "networks/threelayer.net", **arguments)


def small_three_layer() -> netspec.Net:
    """A net with 3 filters of 3x3, hidden 7, inputs (3, 16, 16), weight_scale 0.1."""
    return three_layer(size=16, filters=3, kernel=3, hidden=7, weight_scale=0.1)


@pytest.fixture(scope="module")
def cifar10() -> netspec.Dataset:
    folder = Path(os.environ.get("NETSPEC_DATA_DIR", "."))
    if not (folder / "cifar-10-batches-py" / "data_batch_1").exists():
        pytest.skip("CIFAR-10 is not in NETSPEC_DATA_DIR")
    data = netspec.load_data("cifar10", folder)
    return replace(data, x_test=data.x_test[:100], y_test=data.y_test[:100])  # only trained on


class TestThreeLayer:
    """The sanity checks of the notebook's loss, and the trainings of the notebook."""

    def losses(self, evaluator: str, l2: float) -> float:
        model = three_layer().compile(dtype="float64", seed=1)
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal((20, 3, 32, 32)), rng.integers(0, 10, 20)
        if evaluator == "program":
            return model.loss(x, y, l2=l2)
        scores = {"output": np.zeros((20, 10))}
        run = run_reference(model.graph, model.parameters, {"image": x}, scores, training=True)
        weights = [model.parameters[p.name] for p in model.graph.trainable() if p.role == "weight"]
        penalty = 0.5 * l2 * sum(float((w**2).sum()) for w in weights)
        return make_loss("softmax").value(run.outputs["output"], y) + penalty

    def test_it_is_the_published_net(self):
        published = PUBLISHED["three_layer"]["defaults"]
        graph = three_layer(**published).graph
        assert three_layer().source() == three_layer(**published).source()
        kinds = [node.op.name for node in graph.nodes]
        assert kinds == "conv relu max_pool flatten linear relu linear".split()
        assert str(graph.nodes[0].op) == "conv(32, 7, pad = same)"
        assert str(graph.nodes[2].op) == "max_pool(2)"
        model = three_layer().compile(dtype="float64")
        for name, value in model.parameters.items():
            if name.endswith("bias"):
                assert not value.any()
            else:
                assert value.std() == pytest.approx(published["weight_scale"], rel=0.05)

    @both_evaluators
    def test_the_loss_without_regularization(self, evaluator):
        assert abs(self.losses(evaluator, 0.0) - math.log(10)) < 1e-3

    @both_evaluators
    @pytest.mark.parametrize(("l2", "published"), [(0.5, 2.509), (1.0, 2.714)])
    def test_the_loss_with_regularization(self, evaluator, l2, published):
        assert abs(self.losses(evaluator, l2) - published) < 3e-3

    @both_evaluators
    def test_the_gradient_of_the_notebook(self, evaluator):
        graph = small_three_layer().graph
        runner = run_program if evaluator == "program" else run_reference
        rng = np.random.default_rng(231)
        inputs, y = {"image": rng.standard_normal((2, 3, 16, 16))}, rng.integers(0, 10, 2)
        parameters = small_three_layer().compile(dtype="float64", seed=1).state_dict()
        loss, zeros = make_loss("softmax"), {"output": np.zeros((2, 10))}

        def value() -> float:
            outputs = runner(graph, parameters, inputs, zeros, training=True).outputs
            return loss.value(outputs["output"], y)

        scores = runner(graph, parameters, inputs, zeros, training=True).outputs["output"]
        dscores = np.empty_like(scores)
        loss.value_and_gradient(scores, y, dscores)
        found = runner(graph, parameters, inputs, {"output": dscores}, training=True).gradients
        step = 1e-4
        for name, gradient in found.items():
            array = parameters[name]
            for index in list(np.ndindex(*array.shape))[:: max(1, array.size // 12)]:
                kept, ends = array[index], []
                for moved in (kept + step, kept - step):
                    array[index] = moved
                    ends.append(value())
                array[index] = kept
                slope = (ends[0] - ends[1]) / (2 * step)
                # Published: 1.3e-9 or less with this step and scale.
                assert abs(slope - gradient[index]) < 1.3e-9, (name, index)

    # -- on CIFAR-10

    def test_overfitting_a_hundred_images(self, cifar10):
        model = three_layer(weight_scale=1e-2, hidden=100).compile(seed=0)
        history = netspec.fit(
            model, cifar10, epochs=15, batch=50, lr=1e-3, schedule="constant", train_limit=100,
            val=1000, normalize=Normalization.fit("mean-image", cifar10.x_train[:49_000]),
        )  # fmt: skip
        assert history.train_acc_history[-1] >= 0.95
        assert 0.15 < history.val_acc_history[-1] < 0.35

    @pytest.mark.skipif("NETSPEC_LONG" not in os.environ, reason="NETSPEC_LONG is not set")
    def test_one_epoch(self, cifar10):
        model = three_layer(hidden=500).compile(seed=0)
        history = netspec.fit(
            model, cifar10, epochs=1, batch=50, lr=1e-3, schedule="constant", l2=2e-3, val=1000,
            normalize="mean-image",
        )  # fmt: skip
        assert len(history.loss_history) == 980
        assert history.val_acc_history[-1] > 0.40


def last_sample_only(dout, cache):
    dx, dw, _ = course_layers.conv_backward(dout, cache)
    db = np.zeros(dout.shape[1])
    for n in range(len(dout)):
        for m in range(dout.shape[1]):
            db[m] = dout[n, m].sum()
    return dx, dw, db


def gamma_twice(dout, cache):
    dx, dgamma, dbeta = course_layers.batchnorm_backward(dout, cache)
    return dx * cache[2], dgamma, dbeta


def mask_of_maxima(dout, cache):
    x, param = cache
    size, stride = param["pool_height"], param["stride"]
    mask, spread = np.zeros(x.shape, bool), np.zeros_like(x)
    for i in range(dout.shape[2]):
        for j in range(dout.shape[3]):
            at = np.s_[:, :, i * stride : i * stride + size, j * stride : j * stride + size]
            mask[at] |= x[at] == x[at].max(axis=(2, 3), keepdims=True)
            spread[at] = dout[:, :, i, j, None, None]
    return mask * spread


# The layer with the fault, the wrong function, the argument that it gets wrong, and the hint.
KNOWN_FAULTS = {
    "a from-scratch Conv2d.backward that sets db[m] inside the loop over samples, so only the last"
    " sample counts": ("conv", last_sample_only, "db", "the last image alone"),
    "a batch-norm backward formula that multiplies by gamma although dL/dx_hat already holds it":
        ("batchnorm", gamma_twice, "dx", "`gamma` is multiplied in twice"),
    "a maximum pool that marks maxima in a boolean mask, wrong where windows overlap":
        ("max_pool", mask_of_maxima, "dx", ""),
}  # fmt: skip


def test_every_known_fault_is_tried():
    assert set(KNOWN_FAULTS) == set(PUBLISHED["known_faults_in_published_code"])


@pytest.mark.parametrize("fault", KNOWN_FAULTS)
def test_a_known_fault_is_found(fault):
    """The published mistake differs from netspec in the argument that it is about, and in no other."""
    like, backward, argument, hint = KNOWN_FAULTS[fault]
    report = check_layer(getattr(course_layers, f"{like}_forward"), backward, like=like)
    assert {c.name for c in report.differing} == {argument}
    assert all(any(hint in h for h in c.hints) for c in report.differing if hint), report


def test_a_mask_of_maxima_is_right_until_two_are_equal():
    """It is right if windows do not overlap and no two numbers are equal.

    Ties are tested separately.
    """
    forward = course_layers.max_pool_forward
    report = check_layer(forward, mask_of_maxima, like="max_pool", kernel=2)
    assert all(c.ok for case in report.cases for c in case.comparisons)
    assert not report.ok
    assert "np.argmax" in str(report)
    assert not check_layer(forward, mask_of_maxima, like="max_pool", kernel=3, stride=2).ok


@both_evaluators
@pytest.mark.parametrize("like", ["conv", "max_pool", "avg_pool"])
def test_the_course_s_own_loops(like, evaluator):
    """netspec gives the values and gradients that a notebook's naive loops give."""
    from netspec.kernels.course import naive

    calls = {"conv": "conv(4, 3, stride = 2, pad = 1)", "max_pool": "max_pool(3, stride = 2)",
             "avg_pool": "avg_pool(3, stride = 2)"}  # fmt: skip
    param = {"stride": 2, "pad": 1} if like == "conv" else {
        "pool_height": 3, "pool_width": 3, "stride": 2}  # fmt: skip
    graph = graph_of(calls[like], ((2, 7, 9),))
    values = {name.split(".")[1]: v for name, v in random_parameters(graph).items()}
    rng = np.random.default_rng(3)
    x = rng.standard_normal((3, 2, 7, 9))
    dy = rng.standard_normal((3, *graph.nodes[-1].shape))
    found = run(evaluator, calls[like], x, dy, values)
    out, cache = getattr(naive, f"{like}_forward")(x, *values.values(), param)
    gradients = getattr(naive, f"{like}_backward")(dy, cache)
    np.testing.assert_allclose(found.outputs["output"], out, atol=1e-12)
    ours = [found.input_gradients["x0"], *found.gradients.values()]
    theirs = gradients if isinstance(gradients, tuple) else (gradients,)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
