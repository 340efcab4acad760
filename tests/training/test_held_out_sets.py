"""Sets of test images alone, on which trained nets are judged and nothing is trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.runtime.data import Dataset
from netspec.runtime.data.given_data import dataset_of
from netspec.runtime.weights.data_facts import TrainedOn
from tests.conftest import Run, Write
from tests.helpers.errors import fails

NET = "net N {\n    input x: [6]\n\n    output x -> linear(3)\n}\n"
TWO = "net T {\ninput a: [2]\ninput b: [3]\noutput (a -> linear(3)) + (b -> linear(3))\n}\n"
X = np.random.default_rng(0).standard_normal((20, 6)).astype("f4")
Y = np.arange(20) % 3


def written(folder: Path, kind: str) -> Path:
    """Write the set in one of the forms; empty arrays of training say the same as none."""
    path = folder / ("secret.npz" if kind.startswith("npz") else "secret")
    if kind == "npz":
        np.savez(path, x_test=X, y_test=Y)
    elif kind == "npz with empty arrays":
        np.savez(path, x_train=X[:0], y_train=Y[:0], x_test=X, y_test=Y)
    else:
        path.mkdir()
        np.save(path / "x_test.npy", X)
        np.save(path / "y_test.npy", Y)
    return path


@pytest.fixture
def weights(tmp_path: Path) -> tuple[Path, netspec.Net]:
    net, path = netspec.loads(NET), tmp_path / "w.safetensors"
    model = net.compile(seed=1)
    training = Dataset("training", X * 3 + 1, Y, None, None, 3)
    history = netspec.fit(model, training, epochs=1, progress=False)
    netspec.save_weights(path, model.state_dict(), history.normalization)
    return path, net


@pytest.mark.parametrize("kind", ["npz", "npz with empty arrays", "folder"])
def test_eval_takes_the_normalization_of_the_weights(
    run: Run, write: Write, tmp_path: Path, weights, kind: str
) -> None:
    path, net = weights
    data = written(tmp_path, kind)
    finished = run("eval", write(NET), "--weights", path, "--data", data, "--format", "json")
    assert finished.err == ""
    told = json.loads(finished.out)
    model = net.compile()
    loaded = netspec.load_weights(path)
    model.load_state_dict(loaded)
    right = model.forward(loaded.normalization.apply(X, "float32")).argmax(1) == Y
    assert told["images"] == 20
    assert told["accuracy"] == pytest.approx(right.mean())
    for evaluated in (model.evaluate((X, Y)), model.evaluate(Dataset("s", None, None, X, Y, 3))):
        assert evaluated.accuracy == told["accuracy"]


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        (("train", "numpy"), "has no training images, only 20 of test"),
        (("train", "numpy", "--find-lr", "rate.png"), "has no training images"),
        (("doctor",), "has no training images"),
        (("gradcheck",), "has no training images"),
        (("eval", "--part", "train"), "has no training images"),
        (("eval", "--part", "val"), "has no training images"),
        (("eval", "--normalize", "channel"), "`channel` could be fitted"),
    ],
)
def test_what_needs_training_images_says_so(
    run: Run, write: Write, tmp_path: Path, monkeypatch, weights, verb: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ("--weights", weights[0]) if verb[0] == "eval" else ()
    first = verb[:2] if verb[0] == "train" else verb[:1]
    path = written(tmp_path, "npz")
    finished = run(*first, write(NET), *verb[len(first) :], "--data", path, *given)
    assert finished.code == 1
    assert "error[data/shape]: " in finished.err
    assert said in finished.err
    assert finished.out == ""


def test_fit_says_so() -> None:
    with fails("data/shape", "no training images"):
        netspec.fit(netspec.loads(NET).compile(), Dataset("s", None, None, X, Y, 3))
    with fails("data/shape", "no images in either part"):
        Dataset("s", None, None, None, None, 3)
    with fails("data/shape", "no data: x_test is"):
        Dataset("s", X[:0], Y[:0], X[:0], Y[:0], 3)
    with fails("data/bad-file", "has no y_train"):
        np.savez("half.npz", x_train=X, x_test=X, y_test=Y)
        netspec.load_data("half.npz")


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_several_inputs_and_other_libraries() -> None:
    parts = {"a": X[:, :2], "b": X[:, 2:5]}
    np.savez("two.npz", **{f"x_test.{name}": x for name, x in parts.items()}, y_test=Y)
    data = netspec.load_data("two.npz")
    assert (len(data.x_train), data.input_shapes) == (0, {"a": (2,), "b": (3,)})
    model = netspec.loads(TWO).compile()
    assert model.evaluate(data, normalize="none").images == 20
    assert model.evaluate((parts, Y), normalize="none").images == 20
    given = dataset_of({"test": list(zip(X, Y, strict=True))}, "given")
    assert (len(given.x_train), len(given.x_test), given.sample_shape) == (0, 20, (6,))
    assert "0 training and 20 test images" in repr(given)
    assert "20" in Dataset("s", None, None, X, Y, 3)._repr_html_()


def test_a_folder_of_test_pictures_alone(run: Run) -> None:
    from PIL import Image

    for name, grey in (("black", 0), ("white", 255)):
        Path("secret/test", name).mkdir(parents=True)
        Image.new("L", (4, 4), grey).save(f"secret/test/{name}/1.png")
    data = netspec.load_data("secret")
    assert (len(data.x_train), data.y_test.tolist(), data.class_names) == (
        0, [0, 1], ("black", "white")
    )  # fmt: skip
    assert "0 training, 2 test" in run("data", "info", "secret").out


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda model: model.evaluate(X, Y), "one argument, a pair: evaluate((x, y))"),
        (lambda model: model.evaluate(X), "not an ndarray"),
        (lambda model: model.evaluate("digits"), "netspec.load_data('digits')"),
        (lambda model: model.evaluate((X, Y + 1)), "3 classes have labels 0 to 2"),
    ],
)
def test_evaluate_says_what_to_write(call: Callable[[object], object], said: str) -> None:
    for backend in ("numpy", "torch"):
        if backend == "torch":
            pytest.importorskip("torch")
        with pytest.raises(netspec.NetspecError) as raised:
            call(netspec.loads(NET).compile(backend))
        assert said in str(raised.value)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_scores_that_are_not_finite_are_told(run: Run, write: Write, weights, backend: str) -> None:
    if backend == "torch":
        pytest.importorskip("torch")
    path, net = weights
    loaded = netspec.load_weights(path)
    broken = {name: array.copy() for name, array in loaded.tensors.items()}
    broken["linear1.weight"][2, 0] = np.nan
    netspec.save_weights("nan.safetensors", broken, loaded.normalization)
    np.savez("secret.npz", x_test=X, y_test=Y)
    asked = ("eval", write(NET), "--weights", "nan.safetensors", "--data", "secret.npz")
    finished = run(*asked, "--backend", backend, "--format", "json")
    assert "warning: the scores of 20 of 20 images are not finite" in finished.err
    assert json.loads(finished.out)["not_finite"] == 20
    answers = run(*asked, "--loss", "mse", "--format", "json")
    assert answers.code == 1 or json.loads(answers.out)["not_finite"] == 20
    model = net.compile(backend)
    model.load_state_dict(netspec.load_weights("nan.safetensors"))
    with pytest.warns(UserWarning, match="20 of 20 images are not finite"):
        assert model.evaluate((X, Y)).not_finite == 20
    # A class that is masked by -inf is no fault.
    broken["linear1.weight"][2] = 0
    broken["linear1.bias"][2] = -np.inf
    netspec.save_weights("nan.safetensors", broken, loaded.normalization)
    masked = run(*asked, "--backend", backend, "--format", "json")
    assert (masked.err, json.loads(masked.out)["not_finite"]) == ("", 0)


def test_the_normalization_is_asked_for_with_all_ways(run: Run, write: Write) -> None:
    picture = NET.replace("[6]", "[1, 2, 3]").replace("x -> linear", "x -> flatten -> linear")
    model = netspec.loads(picture).compile()
    assert model.trained_on is None or isinstance(model.trained_on, TrainedOn)
    netspec.save_weights("bare.safetensors", model.state_dict())
    np.savez("secret.npz", x_test=X.reshape(20, 1, 2, 3), y_test=Y)
    asked = ("eval", write(picture), "--weights", "bare.safetensors", "--data", "secret.npz")
    refused = run(*asked)
    assert "error[weights/no-normalization]" in refused.err
    assert all(option in refused.err for option in ("--normalize", "--mean", "--std"))
    assert run(*asked, "--mean", "0", "--std", "1").code == 1  # pixels from 0 to 1 are asked for
    assert run(*asked, "--normalize", "none").code == 0


def test_a_net_without_parameters_needs_no_weights(run: Run, write: Write) -> None:
    np.savez("secret.npz", x_test=X[:, :3], y_test=Y)
    plain = NET.replace("[6]", "[3]").replace("linear(3)", "relu")
    asked = ("eval", write(plain), "--data", "secret.npz", "--normalize", "none")
    finished = run(*asked, "--format", "json")
    assert finished.code == 0
    assert json.loads(finished.out)["accuracy"] == (np.maximum(X[:, :3], 0).argmax(1) == Y).mean()
    assert "the weights are missing" in run("eval", write(NET), "--data", "secret.npz").err
