"""What a model says of images and data: classes, an evaluation, the values of its layers."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.compiler.ops import registry
from netspec.runtime.data import Dataset
from netspec.runtime.engine.reference import Reference
from netspec.runtime.models.evaluation import evaluate
from netspec.runtime.models.numpy_model import Model
from netspec.testing.op_examples import agreement, graph_of, random_inputs
from tests.conftest import ROOT
from tests.helpers.heavy import some_quick

NET = netspec.loads(
    "net Small { input image: [1, 4, 4]\n output image -> conv(3, 3) -> batch_norm -> relu"
    " -> dropout(0.5) -> flatten -> linear(3) }"
)
RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (50, 1, 4, 4)).astype(np.uint8)
Y = np.arange(50) % 3
DATA = Dataset("mine", X, Y, X[:20], Y[:20], 3, ("cat", "bird", "dog"))


@pytest.fixture(params=["numpy", "torch"])
def model(request: pytest.FixtureRequest) -> Any:
    if request.param == "torch":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    return NET.compile(request.param, seed=1)


def test_both_backends_have_the_loss_and_its_gradients() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    text = NET.text.replace(" -> dropout(0.5)", "")
    ours, theirs = (
        netspec.loads(text).compile(t, dtype="float64", seed=1) for t in ("numpy", "torch")
    )
    x = RNG.standard_normal((6, 1, 4, 4))
    assert np.allclose(ours.scores(x), theirs.scores(x))
    for options in ({}, {"l2": 0.3}, {"loss": "svm"}, {"training": True}):
        assert np.isclose(ours.loss(x, Y[:6], **options), theirs.loss(x, Y[:6], **options))
        value, grads = ours.loss_and_grads(x, Y[:6], **options)
        found, others = theirs.loss_and_grads(x, Y[:6], **options)
        assert np.isclose(value, found)
        assert grads.keys() == others.keys()
        assert all(np.allclose(grads[name], others[name]) for name in grads)
    theirs.parameters["linear1.bias"][...] += 1
    assert np.allclose(theirs.scores(x), ours.scores(x) + 1)
    assert theirs.parameters.keys() == ours.parameters.keys()


def test_a_trained_model_knows_how_its_images_were_normalized(model: Any, tmp_path: Path) -> None:
    history = netspec.fit(model, DATA, epochs=2, batch=10, out=tmp_path / "w.safetensors")
    assert model.history is history
    found = model.evaluate(DATA)
    theirs = evaluate(model, X[:20], Y[:20], history.normalization, DATA.class_names)
    assert (found.accuracy, found.loss, found.names) == (
        history.test_acc_history[-1],
        theirs.loss,
        DATA.class_names,
    )
    best = model.forward(history.normalization.apply(X, model.dtype)).argmax(axis=1)
    np.testing.assert_array_equal(model.predict(X), best)
    assert model.evaluate(DATA, "train").accuracy == (best == Y).mean()
    again = NET.compile("numpy")
    again.load_state_dict(netspec.load_weights(tmp_path / "w.safetensors"))
    np.testing.assert_array_equal(again.predict(X), best)
    other = Dataset("other", X, (Y + 1) % 3, X[:20], (Y[:20] + 1) % 3, 3, ("dog", "cat", "bird"))
    assert again.evaluate(other).accuracy == found.accuracy  # classes are matched by their names
    for each in (copy.copy(again), pickle.loads(pickle.dumps(again))):
        np.testing.assert_array_equal(each.predict(X), best)


def test_a_model_that_nobody_told_says_so(model: Any) -> None:
    for call in (lambda: model.predict(X), lambda: model.evaluate(DATA)):
        with pytest.raises(netspec.NetspecError, match="weights/no-normalization"):
            call()
    x = X.astype(model.dtype)
    best = model.forward(x).argmax(axis=1)
    np.testing.assert_array_equal(model.predict(x, normalize="none"), best)
    assert model.evaluate(DATA, "train", normalize="none").accuracy == (best == Y).mean()
    model.load_state_dict(model.state_dict())  # a plain dict says nothing
    with pytest.raises(netspec.NetspecError, match="weights/no-normalization"):
        model.predict(X)


@pytest.mark.parametrize(
    ("images", "code"),
    [
        (X[:, :, :3], "model/input-shape"),
        (X[0], "model/input-shape"),
        (np.zeros((0, 1, 4, 4)), "model/input-shape"),
        (np.full((1, 1, 4, 4), "a"), "model/input-type"),
        (np.full((1, 1, 4, 4), np.nan), "model/not-finite"),
    ],
)
def test_images_that_are_none_are_refused(images: Any, code: str) -> None:
    with pytest.raises(netspec.NetspecError, match=code):
        NET.compile().predict(images, normalize="none")


def test_bytes_are_refused_where_other_numbers_were_trained_on() -> None:
    model = NET.compile()
    shares = X / 255
    netspec.fit(model, Dataset("shares", shares, Y, shares, Y, 3), epochs=1)
    with pytest.raises(netspec.NetspecError, match="pixels from 0 to 255"):
        model.predict(X)


def test_a_part_must_exist() -> None:
    model = NET.compile()
    netspec.fit(model, DATA, epochs=1)
    with pytest.raises(netspec.NetspecError, match="there is no part"):
        model.evaluate(DATA, "val")
    with pytest.raises(netspec.NetspecError, match="has no test images"):
        model.evaluate(Dataset("none", X, Y, X[:0], Y[:0], 3))
    with pytest.raises(netspec.NetspecError, match="there is no loss"):
        model.evaluate(DATA, loss="ctc")


def test_an_interrupted_training_keeps_its_history(model: Any) -> None:
    def interrupt(epoch: int, _: Any) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        netspec.fit(model, DATA, epochs=5, batch=10, on_epoch=interrupt)
    assert len(model.history.loss_history) == 10
    assert model.predict(X).shape == (50,)


def test_a_pass_in_training_mode_updates_the_buffers(model: Any) -> None:
    x = X.astype(model.dtype)
    before, answer = model.state_dict(), model.forward(x)
    first, second = model.forward(x, training=True), model.forward(x, training=True)
    assert not np.array_equal(first, second)  # dropout
    after = model.state_dict()
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {
        "batch_norm1.running_mean",
        "batch_norm1.running_var",
        "batch_norm1.num_batches_tracked",
    }
    model.load_state_dict(before)
    np.testing.assert_allclose(model.forward(x), answer, rtol=1e-6)
    one_pixel = netspec.loads("net B { input x: [2, 1, 1]\n output x -> batch_norm }")
    with pytest.raises(netspec.NetspecError, match="model/batch"):
        one_pixel.compile("numpy").forward(np.zeros((1, 2, 1, 1)), training=True)


OPS = [cls for cls in registry().values() if cls.examples]


@pytest.mark.parametrize("op", some_quick(OPS, OPS[::4]))
def test_every_layer_has_a_value(op: Any) -> None:
    example = op.examples[0]
    model = Model(graph_of(example.call, example.inputs), seed=1)
    x = random_inputs(model.graph, 2, 3)
    values = model.activations(x)
    assert {name: value.shape[1:] for name, value in values.items()} == {
        node.name: node.shape for node in model.graph.nodes
    }
    outputs = model.forward(x)
    named = outputs if isinstance(outputs, dict) else {next(iter(model.graph.outputs)): outputs}
    for name, value in model.graph.outputs.items():
        if value in values:
            assert agreement(values[value], named[name]) < 1e-4


def test_values_of_a_net_are_those_of_its_definition() -> None:
    net = netspec.load(ROOT / "networks/resnet.net", depth=8, width=4)
    model = net.compile("numpy", dtype="float64", seed=2)
    x = RNG.standard_normal((2, 3, 32, 32))
    values = model.activations(x)
    reference = Reference(net.graph, model.parameters, training=False)
    reference.forward({next(iter(net.graph.inputs)): x})
    assert list(values) == [node.name for node in net.graph.nodes]
    for name, value in values.items():
        np.testing.assert_allclose(value, reference.values[name], atol=1e-10)


def test_a_history_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    history = netspec.fit(NET.compile(), DATA, epochs=2, batch=10, val=10)
    history.plot(tmp_path / "curves.svg", log=True)
    history.plot(tmp_path / "both.svg", history)
    assert "history 2" in (tmp_path / "both.svg").read_text()
    assert (tmp_path / "curves.svg").read_text("utf-8").lstrip().startswith("<?xml")
    with pytest.raises(netspec.NetspecError, match="usage/picture"):
        history.plot(tmp_path / "curves.txt")
    history.loss_history.clear()
    with pytest.raises(netspec.NetspecError, match="plot/nothing"):
        history.plot(tmp_path / "curves.png")


def test_check_returns_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.net").write_text("net A { input x: [3]\n output x -> linaer(2) }\n", "utf-8")
    report = netspec.check(tmp_path / "a.net")
    assert not report
    assert "linaer" in str(report)
    assert repr(report) == "<netspec.CheckReport: 1 error, 0 warnings>"
    assert netspec.check("lenet", classes=3)
    assert not netspec.check("lenet", colours=3)


def test_check_takes_what_a_task_asks() -> None:
    asked = netspec.check(
        "lenet", classes=3, asserts=["params <= 1_000"], forbid=["max_pool", "lstm"],
        inputs=["1,28,28"], outputs=["10"],
    )  # fmt: skip
    assert {str(d.code) for d in asked.errors} == {
        "require/assert", "require/layer", "require/output",
    }  # fmt: skip
    assert netspec.check("lenet", asserts=["params <= 100_000"], inputs=["_,h,w"], outputs=["k"])
    with pytest.raises(netspec.NetspecError, match="require/op"):
        netspec.check("lenet", forbid=["max_pol"])
    assert netspec.check("lenet", require=["conv", "linear"])
    (lacking,) = netspec.check("lenet", require=["conv", "dropout"]).errors
    assert "LeNet has no `dropout`" in lacking.message
