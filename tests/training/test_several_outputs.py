"""Outputs that are trained together, each with its loss and weight, such as auxiliary heads."""

from __future__ import annotations

import numpy as np
import pytest

import netspec
from netspec import NetspecError
from netspec.runtime.optim.losses import MeanSquaredError, OutputLoss, SoftmaxCrossEntropy

HEADS = """
net Heads {
    input image: [1, 8, 8]

    x = image -> flatten -> body: linear(16) -> relu
    output aux = x -> aux: linear(10)
    output size = mean(x ** 2, 1, keep = true)
    output x -> more: linear(16) -> relu -> main: linear(10)
}
"""
ALSO = ("aux=mse*0.4", "size=value*0.01")


def trained(target: str, also: tuple[str, ...] = ALSO) -> tuple[object, netspec.History]:
    model = netspec.loads(HEADS).compile(target, dtype="float64")
    data = netspec.load_data("digits").limit(200)
    return model, netspec.fit(model, data, also=also, epochs=2, batch=50)


def test_losses_and_gradients_are_added():
    model = netspec.loads(HEADS).compile("numpy", dtype="float64")
    x, y = np.random.default_rng(0).standard_normal((5, 1, 8, 8)), np.arange(5)
    softmax, term = SoftmaxCrossEntropy(), OutputLoss("aux", MeanSquaredError(), 0.4)
    alone = model.gradients_(x, y, loss=softmax, training=False)
    before = {name: g.copy() for name, g in model.gradients.items()}
    whole = model.gradients_(x, y, loss=softmax, training=False, also=[term])
    scores = model.forward(x)["aux"]
    slope = np.empty_like(scores)
    assert whole == pytest.approx(alone + 0.4 * term.loss.value_and_gradient(scores, y, slope))
    assert not before["aux.bias"].any()
    assert model.gradients["aux.bias"] == pytest.approx(0.4 * slope.sum(axis=0))
    assert model.gradients["main.bias"] == pytest.approx(before["main.bias"])
    assert abs(model.gradients["body.weight"] - before["body.weight"]).max() > 0


def test_both_backends_take_the_same_steps():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    (ours, history), (theirs, other) = (trained(target) for target in ("numpy", "torch"))
    assert np.allclose(history.loss_history, other.loss_history, rtol=1e-9, atol=0)
    for name, array in ours.state_dict().items():
        assert np.allclose(array, theirs.state_dict()[name], rtol=0, atol=1e-9), name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("aux", "says no output with a weight"),
        ("aux=1e", "says no output with a weight"),
        ("aux=mse*", "says no output with a weight"),
        ("aux=hinge*1", "there is no loss `hinge`"),
        ("other=1", "no further output 'other': there are aux, size"),
        ("output=1", "no further output 'output'"),
        ("size=1", "10 classes"),
    ],
)
def test_mistakes(text, message):
    with pytest.raises(NetspecError, match=message):
        trained("numpy", (text,))


def test_an_output_is_named_once():
    with pytest.raises(NetspecError, match="named twice"):
        trained("numpy", ("aux=1", "aux=2"))


def test_a_recipe_says_them(run, tmp_path):
    (tmp_path / "heads.net").write_text(HEADS)
    (tmp_path / "heads.toml").write_text('epochs = 1\ntrain-limit = 100\nalso = ["aux=0.4"]\n')
    done = run("train", "numpy", tmp_path / "heads.net", "--out", tmp_path / "run")
    assert done.code == 0, done.err
    assert "aux=0.4" in (tmp_path / "run" / "recipe.toml").read_text()
    wrong = run("train", "numpy", tmp_path / "heads.net", "--also", "aux", "--out", tmp_path / "b")
    assert wrong.code in (1, 2)
    assert "says no output with a weight" in wrong.err
