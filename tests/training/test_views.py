"""Scores averaged over mirrored and shifted copies of a picture, on both backends and in `eval`."""

from __future__ import annotations

import re

import numpy as np
import pytest

import netspec
from netspec.diagnostics import NetspecError
from netspec.runtime.data import Dataset
from netspec.runtime.data.views import View, mean_scores, seen, views
from tests.helpers.labelled_pictures import NET, picture

BOTH = ("flip", "shift")


def made(count: int = 48) -> Dataset:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, count)
    x = np.stack([picture(label, rng) for label in np.arange(count) % 3])
    return Dataset("made", x, y, x[:30], y[:30], 3)


def written_out(score, x: np.ndarray) -> np.ndarray:
    """Return what the six views of a picture give, as its source writes them."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), "reflect")

    def both(x: np.ndarray) -> np.ndarray:
        return 0.5 * score(x) + 0.5 * score(x[..., ::-1])

    moved = both(padded[:, :, :-2, :-2]), both(padded[:, :, 2:, 2:])
    return 0.5 * both(x) + 0.25 * moved[0] + 0.25 * moved[1]


def test_views_are_those_of_their_source():
    x = np.random.default_rng(0).normal(size=(5, 3, 6, 7))
    weights = np.random.default_rng(1).normal(size=(3, 6, 7, 4))

    def score(x: np.ndarray) -> np.ndarray:
        return np.einsum("nchw,chwk->nk", x, weights)

    class Same:
        def apply(self, x, dtype):
            return x.astype(dtype)

    found = mean_scores(score, x, Same(), x.dtype, views(BOTH))
    np.testing.assert_allclose(found, written_out(score, x), atol=1e-12)
    flipped = mean_scores(score, x, Same(), x.dtype, views(["flip"]))
    np.testing.assert_allclose(flipped, (score(x) + score(x[..., ::-1])) / 2, atol=1e-12)
    assert np.array_equal(mean_scores(score, x, Same(), x.dtype), score(x))
    for kinds in ((), ("flip",), ("shift",), BOTH):
        assert sum(view.weight for view in views(kinds)) == 1


def test_a_picture_among_other_inputs_is_looked_at():
    x = np.zeros(4, [("image", "u1", (1, 3, 3)), ("age", "f4", (2,))])
    x["image"] = np.arange(36).reshape(4, 1, 3, 3)
    found = seen(x, View(1.0, flipped=True))
    assert np.array_equal(found["image"], x["image"][..., ::-1])
    assert np.array_equal(found["age"], x["age"])
    assert x["image"][0, 0, 0].tolist() == [0, 1, 2]  # the samples themselves are what they were


@pytest.mark.parametrize("kinds", [("flip",), ("shift",), BOTH], ids="+".join)
def test_both_backends_measure_with_the_mean_scores(kinds):
    pytest.importorskip("torch")
    data, histories = made(), []
    options = {"epochs": 1, "batch": 12, "lr": 0.01, "val": 12, "tta": kinds}
    for target in ("numpy", "torch"):
        model = netspec.loads(NET).compile(target, dtype="float64")
        histories.append(netspec.fit(model, data, **options))
        known = histories[-1].normalization

        def score(x, model=model, known=known):
            return model.forward(known.apply(x, np.dtype("float64")))

        dtype = np.dtype("float64")
        means = mean_scores(model.forward, data.x_test, known, dtype, views(kinds))
        if kinds == BOTH:
            np.testing.assert_allclose(means, written_out(score, data.x_test), atol=1e-9)
        right = (means.argmax(axis=1) == data.y_test).mean()
        assert histories[-1].test_acc_history[-1] == right
        assert model.evaluate(data, tta=kinds).accuracy == right
        # The training images are looked at as they are.
        alone = (score(data.x_train[:36]).argmax(axis=1) == data.y_train[:36]).mean()
        assert histories[-1].train_acc_history[-1] == alone
    assert histories[0].val_acc_history == histories[1].val_acc_history


def test_a_run_is_evaluated_as_it_was_measured(tmp_path, write, run):
    data = made()
    np.savez(tmp_path / "made.npz", x_train=data.x_train, y_train=data.y_train,
             x_test=data.x_test, y_test=data.y_test)  # fmt: skip
    trained = run("train", "numpy", write(NET), "--data", tmp_path / "made.npz", "--epochs", 2,
                  "--tta", "flip,shift", "--out", tmp_path / "run")  # fmt: skip
    assert trained.code == 0, trained.err
    shown = re.search(r"test ([0-9.]+)%", trained.err + trained.out)[1]
    evaluated = run("eval", tmp_path / "run")
    assert f"accuracy  {shown}%" in evaluated.out
    plain = run("eval", tmp_path / "run", "--tta", "flip")
    assert "--tta" in plain.err
    assert plain.code == 0


@pytest.mark.parametrize(
    ("text", "kinds", "words"),
    [
        (NET, ["mirror"], "there is no view of a picture `mirror`"),
        ("net A { input x: [192]\n output x -> linear(3) }", ["flip"], "whole pictures"),
    ],
)
def test_what_has_no_views_says_so(text, kinds, words):
    with pytest.raises(NetspecError, match=words):
        netspec.fit(netspec.loads(text).compile(), made(), tta=kinds)
