"""Training with the loss `value`: the output of the net is its own loss."""

from __future__ import annotations

import numpy as np
import pytest

import netspec
from netspec import NetspecError
from netspec.runtime.optim.losses import make_loss

AUTOENCODER = """
net Autoencoder {
    input image: [1, 8, 8]

    pixels = image -> flatten
    found = pixels -> linear(6) -> relu -> linear(64)
    output picture = found -> reshape([1, 8, 8])
    output mean((found - pixels) ** 2, 1, keep = true)
}
"""


def small_digits() -> netspec.Dataset:
    return netspec.load_data("digits").limit(200)


def trained(target: str, **options: object) -> netspec.History:
    model = netspec.loads(AUTOENCODER).compile(target, dtype="float64")
    return netspec.fit(
        model,
        small_digits(),
        loss="value",
        normalize="unit",
        epochs=3,
        batch=50,
        lr=0.02,
        **options,
    )


def test_the_loss_is_the_mean_of_the_output():
    values = np.array([[1.0], [2.0], [6.0]])
    gradient = np.empty_like(values)
    assert make_loss("value").value_and_gradient(values, np.zeros(3, int), gradient) == 3
    assert gradient.tolist() == [[1 / 3]] * 3


def test_a_net_learns_what_its_output_says():
    history = trained("numpy")
    assert len(history.loss_history) == 12
    assert history.loss_history[-1] < 0.8 * history.loss_history[0]
    assert history.train_acc_history == history.test_acc_history == []


def test_both_backends_take_the_same_steps():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    ours, theirs = (trained(target).loss_history for target in ("numpy", "torch"))
    assert np.allclose(ours, theirs, rtol=1e-9, atol=0)


def test_the_best_epoch_cannot_be_kept():
    with pytest.raises(NetspecError, match="a loss that is the output has none"):
        trained("numpy", keep="best", val=20)


def test_the_command_line_prints_the_loss(run, tmp_path):
    (tmp_path / "own.net").write_text(AUTOENCODER)
    done = run(
        "train", "numpy", tmp_path / "own.net", "--loss", "value", "--normalize", "unit",
        "--epochs", 1, "--train-limit", 100, "--out", tmp_path / "run",
    )  # fmt: skip
    assert done.code == 0
    assert done.out.startswith("loss 0.")
    assert "accuracy" not in done.out
