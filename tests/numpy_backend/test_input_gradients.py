"""`loss_and_grads(inputs=True)`: gradients by the inputs, against finite differences and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import netspec
from tests.helpers.errors import fails

NET = netspec.loads(
    "net A { input image: [2, 6, 6]\n output image -> conv(3, 3, pad = 1) -> batch_norm -> tanh"
    " -> avg_pool(2) -> flatten -> linear(4) }"
)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(5, 2, 6, 6)), np.array([0, 3, 1, 2, 2])


@pytest.mark.parametrize("training", [False, True])
def test_they_are_the_slopes_of_the_loss(training: bool) -> None:
    model = NET.compile("numpy", dtype="float64")
    model.parameters["batch_norm1.running_mean"] += 0.3
    found = model.loss_and_grads(X, Y, training=training, inputs=True)[1]["image"]
    assert found.shape == X.shape
    for at in [(0, 0, 0, 0), (2, 1, 3, 5), (4, 0, 5, 2)]:
        moved = np.zeros_like(X)
        moved[at] = 1e-5
        above, below = (model.loss(X + s * moved, Y, training=training) for s in (1, -1))
        assert found[at] == pytest.approx((above - below) / 2e-5, rel=1e-6, abs=1e-10)


def test_the_others_are_as_without() -> None:
    model = NET.compile("numpy", dtype="float64")
    value, plain = model.loss_and_grads(X, Y, training=False, l2=0.1)
    again, found = model.loss_and_grads(X, Y, training=False, l2=0.1, inputs=True)
    assert list(found) == [*plain, "image"]
    assert again == value
    for name, gradient in plain.items():
        np.testing.assert_array_equal(gradient, found[name])
    model.freeze(list(NET.graph.parameters))
    frozen = model.loss_and_grads(X, Y, training=False, inputs=True)[1]
    np.testing.assert_array_equal(frozen["image"], found["image"])
    assert list(frozen) == ["image"]


def test_pytorch_has_the_same() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    ours, theirs = (NET.compile(target, dtype="float64") for target in ("numpy", "torch"))
    theirs.load_state_dict(ours.state_dict())
    for training in (False, True):
        found, wanted = (
            m.loss_and_grads(X, Y, training=training, inputs=True)[1]["image"]
            for m in (ours, theirs)
        )
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def test_machine_code_has_the_same() -> None:
    ours, theirs = (NET.compile(target, dtype="float64") for target in ("numpy", "c"))
    theirs.load_state_dict(ours.state_dict())
    found, wanted = (
        m.loss_and_grads(X, Y, training=False, inputs=True)[1]["image"] for m in (theirs, ours)
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_whole_numbers_have_none(target: str) -> None:
    if target == "torch":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    both = netspec.loads(
        "net B { input tokens: int[3]\n input x: [4]\n"
        " output concat(tokens -> embedding(5, 2) -> flatten, x) -> linear(3) }"
    ).compile(target)
    given = {"tokens": np.array([[0, 4, 2]]), "x": np.ones((1, 4))}
    found = both.loss_and_grads(given, np.array([1]), inputs=True)[1]
    assert "tokens" not in found
    assert found["x"].shape == (1, 4)
    alone = netspec.loads(
        "net C { input tokens: int[3]\n output tokens -> embedding(5, 2) -> flatten -> linear(3) }"
    ).compile(target)
    with fails("model/input-type", "hold whole numbers, which have no gradients"):
        alone.loss_and_grads(given["tokens"], np.array([1]), inputs=True)
