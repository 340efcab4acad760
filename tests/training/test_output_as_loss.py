"""Training with the loss `value`: the output of the net is its own loss."""

from __future__ import annotations

import json

import numpy as np
import pytest

import netspec
from netspec import NetspecError
from netspec.runtime.models.classifier_shape import scores_output
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
    ours, theirs = (trained(target, val=20) for target in ("numpy", "torch"))
    assert np.allclose(ours.loss_history, theirs.loss_history, rtol=1e-9, atol=0)
    assert ours.measures.keys() == theirs.measures.keys() == {"val_loss", "test_loss"}
    for name, values in ours.measures.items():
        assert values == pytest.approx(theirs.measures[name], rel=1e-9)


@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_the_loss_in_validation_chooses_the_best_epoch(target):
    if target == "torch":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    model = netspec.loads(AUTOENCODER).compile(target, dtype="float64")
    history = netspec.fit(
        model, small_digits(), loss="value", normalize="unit", epochs=8, batch=50, lr=0.5, val=0.2,
        monitor="val_loss", keep="best", early_stopping=2, schedule="constant",
    )  # fmt: skip
    losses = history.val_loss_history
    assert history.scores() == [-loss for loss in losses]
    assert history.kept_epoch == 1 + losses.index(min(losses)) < len(losses)
    _, x, _ = small_digits().split(0.2)
    outputs = model.forward(history.normalization.apply(x, model.dtype))
    values = outputs[scores_output(model.graph)]
    assert values.mean() == pytest.approx(min(losses), rel=1e-9)


def test_the_best_epoch_cannot_be_kept():
    with pytest.raises(NetspecError, match="a loss that is the output has none"):
        trained("numpy", keep="best", val=20)


def test_a_loss_of_pairs_is_not_measured():
    net = "net Pairs() {\n input x: [2, 4]\n output x -> linear(3)\n}\n"
    x = np.random.default_rng(0).standard_normal((24, 2, 4)).astype(np.float32)
    data = netspec.Dataset("pairs", x[:16], np.zeros(16, int), x[16:], np.zeros(8, int), 1)
    model = netspec.loads(net).compile()
    history = netspec.fit(model, data, loss="ntxent", epochs=1, batch=4, val=4)
    assert history.measures == {}
    with pytest.raises(NetspecError, match="nothing to monitor"):
        netspec.fit(model, data, loss="ntxent", epochs=1, val=4, monitor="val_loss")


def test_the_command_line_prints_the_loss(run, tmp_path):
    (tmp_path / "own.net").write_text(AUTOENCODER)
    done = run(
        "train", "numpy", tmp_path / "own.net", "--loss", "value", "--normalize", "unit",
        "--epochs", 2, "--train-limit", 100, "--val", 20, "--out", tmp_path / "run",
    )  # fmt: skip
    assert done.code == 0
    result = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[-1])
    assert done.out == f"test loss {result['test_loss']:.4f}\n"
    assert "accuracy" not in done.out
    (row,) = json.loads(run("runs", tmp_path / "run", "--format", "json").out)
    assert (row["best_by"], row["val"], row["val_loss"] > 0) == ("val_loss", None, True)
    assert f"val loss {row['val_loss']:.4f}" in (tmp_path / "run/log.txt").read_text()
    again = run("train", "--resume", tmp_path / "run", "--epochs", 3)
    assert again.code == 0, again.err
    found = json.loads(run("eval", tmp_path / "run", "--format", "json").out)
    result = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[-1])
    assert found["loss"] == pytest.approx(result["test_loss"], rel=1e-6)
