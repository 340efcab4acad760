"""The contrastive loss of two views of each image: its values, its gradients, and training with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import netspec
from netspec.diagnostics import NetspecError
from netspec.runtime.optim.losses import make_loss
from netspec.testing.op_examples import agreement
from tests.conftest import ROOT

NET = ROOT / "docs/course/pairs.net"


def by_hand(z: np.ndarray, temperature: float) -> float:
    """Return the loss by its definition, one view after the other."""
    rows = [row / np.linalg.norm(row) for pair in z for row in pair]
    losses = []
    for i, own in enumerate(rows):
        shares = {k: np.exp(own @ row / temperature) for k, row in enumerate(rows) if k != i}
        losses.append(-np.log(shares[i ^ 1] / sum(shares.values())))
    return float(np.mean(losses))


@pytest.mark.parametrize(("count", "temperature"), [(1, 0.5), (4, 0.5), (5, 0.1)])
def test_the_loss_of_pairs_and_its_gradient(count: int, temperature: float) -> None:
    torch = pytest.importorskip("torch")
    z = np.random.default_rng(0).standard_normal((count, 2, 3))
    loss = make_loss("ntxent", temperature=temperature)
    slope = z.copy()
    value = loss.value_and_gradient(slope, np.zeros(count, np.int64), slope)
    assert value == pytest.approx(by_hand(z, temperature), abs=1e-12)
    tensor = torch.tensor(z, requires_grad=True)
    theirs = loss.in_torch(tensor, torch.zeros(count))
    theirs.backward()
    assert theirs.item() == pytest.approx(value, abs=1e-12)
    assert agreement(slope, tensor.grad.numpy()) <= 1e-10


def test_what_is_no_pair_is_refused() -> None:
    loss = make_loss("ntxent")
    for shape in ((4, 3), (4, 3, 2), (4, 2, 3, 3)):
        with pytest.raises(NetspecError, match="needs a vector for each of two views"):
            loss.value(np.ones(shape), np.zeros(4, np.int64))
    with pytest.raises(NetspecError, match="temperature must be above 0"):
        make_loss("ntxent", temperature=0)


def test_both_backends_learn_from_pairs(tmp_path: Any, run: Any) -> None:
    pytest.importorskip("torch")
    digits = netspec.load_data("digits").fit_to((1, 8, 8))
    rng = np.random.default_rng(0)

    def views(x: np.ndarray) -> np.ndarray:
        both = np.repeat(x, 2, axis=1) / x.max()
        return (both + rng.normal(0, 0.1, both.shape)).astype("f4")

    arrays = {"x_train": views(digits.x_train[:160]), "y_train": digits.y_train[:160],
              "x_test": views(digits.x_test[:20]), "y_test": digits.y_test[:20]}  # fmt: skip
    np.savez(tmp_path / "pairs.npz", **arrays)
    said = []
    for target in ("numpy", "torch"):
        done = run(
            "train", target, NET, "--data", tmp_path / "pairs.npz", "--loss",
            "ntxent", "--temperature", "0.2", "--epochs", 4, "--batch", 32, "--lr", "0.01",
            "--dtype", "float64", "--quiet", "--out", tmp_path / target,
        )  # fmt: skip
        assert done.code == 0, done.err
        said.append(float(done.out.split("loss ")[1]))
    assert said[0] == said[1] < 2
