"""A first layer whose filters whiten the pictures of the data, on both backends."""

from __future__ import annotations

import numpy as np
import pytest

import netspec
from netspec.diagnostics import NetspecError
from netspec.runtime.data import Dataset
from netspec.runtime.training.whitening import LEAST_VARIANCE
from netspec.runtime.weights.safetensors_file import save_weights

NET = """
net Small(channels = 24, classes = 3) {
    input image: [3, 8, 8]
    output image -> whiten: conv(channels, 2) -> gelu -> flatten -> head: linear(classes)
}
"""


def correlated(count: int = 64) -> Dataset:
    """Return pictures whose neighbouring pixels and whose channels are alike."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 1, 9, 9)) + 0.3 * rng.normal(size=(count, 3, 9, 9))
    x = x[:, :, 1:, 1:] + x[:, :, :-1, :-1] + x[:, :, 1:, :-1]
    x = (60 * (x - x.min())).clip(0, 255).astype(np.uint8)
    y = rng.integers(0, 3, count)
    return Dataset("alike", x, y, x[:9], y[:9], 3)


def trained(target: str, net: str = NET, **options):
    data = correlated()
    model = netspec.loads(net).compile(target, dtype="float64")
    model.freeze({"whiten.weight"})
    history = netspec.fit(model, data, whiten="whiten", epochs=1, batch=16, lr=0.01, **options)
    return model, data, history


def by_torch(x: np.ndarray) -> np.ndarray:
    """Return the filters as a few lines of plain PyTorch give them, for normalized pictures."""
    torch = pytest.importorskip("torch")
    patches = torch.from_numpy(x).unfold(2, 2, 1).unfold(3, 2, 1)
    rows = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
    variances, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
    filters = (vectors / torch.sqrt(variances + LEAST_VARIANCE)).T.flip(0)
    return torch.cat([filters, -filters]).reshape(24, 3, 2, 2).numpy()


def test_answers_are_not_correlated_and_vary_alike():
    model, data, history = trained("numpy")
    x = history.normalization.apply(data.x_train, np.dtype("float64"))
    weight = model.state_dict()["whiten.weight"]
    seen = np.lib.stride_tricks.sliding_window_view(x, (2, 2), axis=(2, 3))
    rows = np.einsum("nchwij,ocij->nhwo", seen, weight).reshape(-1, 24)
    moment = rows[:, :12].T @ rows[:, :12] / len(rows)
    assert np.abs(moment - np.diag(np.diag(moment))).max() < 1e-9
    assert 0.98 < np.diag(moment).min() <= np.diag(moment).max() <= 1
    np.testing.assert_array_equal(weight[12:], -weight[:12])


def test_filters_are_those_of_plain_pytorch():
    model, data, history = trained("numpy")
    x = history.normalization.apply(data.x_train, np.dtype("float64"))
    ours, theirs = model.state_dict()["whiten.weight"], by_torch(x)
    signs = np.sign((ours * theirs).sum(axis=(1, 2, 3)))[:, None, None, None]
    np.testing.assert_allclose(ours, theirs * signs, rtol=0, atol=1e-9)


def test_both_backends_start_alike():
    pytest.importorskip("torch")
    (ours, _, first), (theirs, _, second) = trained("numpy"), trained("torch")
    np.testing.assert_array_equal(
        ours.state_dict()["whiten.weight"], theirs.state_dict()["whiten.weight"]
    )
    np.testing.assert_allclose(first.loss_history, second.loss_history, rtol=0, atol=1e-9)


@pytest.mark.parametrize("channels", [5, 30])
def test_another_number_of_filters(channels):
    """Fewer are those of the directions that vary most; more start as they would otherwise."""
    all_of_them, _, _ = trained("numpy")
    model, _, _ = trained("numpy", NET.replace("channels = 24", f"channels = {channels}"))
    filters = all_of_them.state_dict()["whiten.weight"]
    weight = model.state_dict()["whiten.weight"]
    np.testing.assert_array_equal(weight[:24], filters[: len(weight)])
    start = netspec.loads(NET, channels=channels).compile(dtype="float64").state_dict()
    np.testing.assert_array_equal(weight[24:], start["whiten.weight"][24:])


@pytest.mark.parametrize(
    ("layer", "words"),
    [("whitem", "did you mean `whiten`?"), ("head", "do not read those of the data")],
)
def test_what_whitens_nothing_says_so(layer, words):
    with pytest.raises(NetspecError) as caught:
        netspec.fit(netspec.loads(NET).compile(), correlated(), whiten=layer)
    (found,) = caught.value.diagnostics
    assert found.code == "train/bad-option"
    assert words in found.message + " ".join(hint.text for hint in found.hints)


def test_weights_that_are_given_stay(write, run, tmp_path):
    """`--weights` takes the place of a recipe's `whiten`; both on a command line are a mistake."""
    path, data = write(NET), correlated()
    np.savez(tmp_path / "alike.npz", x_train=data.x_train, y_train=data.y_train,
             x_test=data.x_test, y_test=data.y_test)  # fmt: skip
    recipe = path.with_suffix(".toml")
    recipe.write_text(f'data = "{tmp_path}/alike.npz"\nwhiten = "whiten"\nepochs = 1\n')
    first, again = tmp_path / "first.safetensors", tmp_path / "again.safetensors"
    freeze = ("--freeze", "whiten.weight", "--quiet")
    assert run("train", "numpy", path, *freeze, "--out", first).code == 0
    found = netspec.load_weights(first).tensors["whiten.weight"]
    assert np.array_equal(found[12:], -found[:12])
    start = {**netspec.load_weights(first).tensors, "whiten.weight": np.ones_like(found)}
    save_weights(tmp_path / "ones.safetensors", start)
    ones = ("--weights", tmp_path / "ones.safetensors")
    assert run("train", "numpy", path, *freeze, *ones, "--out", again).code == 0
    assert np.all(netspec.load_weights(again).tensors["whiten.weight"] == 1)
    both = run("train", "numpy", path, *ones, "--whiten", "whiten", "--out", "none")
    assert both.code != 0
    assert "give one or the other" in both.err
