"""Training on data of several inputs, and of samples that are neither pictures nor vectors."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.runtime.data import Dataset
from netspec.runtime.data.input_normalization import (
    Normalization,
    Normalizations,
    normalization_from_json,
)
from netspec.runtime.data.samples import by_input
from tests.conftest import ROOT, Run
from tests.helpers.errors import fails

NET = """
net Both(classes = 3) {
    input image: [2, 4, 4]
    input words: int[5]
    input mask: bool[5]

    a = image -> conv(4, 3, pad = 1) -> relu -> flatten
    b = where(mask -> unsqueeze(2), words -> embedding(7, 4), 0) -> flatten
    output concat(a, b) -> linear(classes)
}
"""


def inputs(count: int, seed: int) -> tuple[dict[str, Any], np.ndarray]:
    rng = np.random.default_rng(seed)
    x = {
        "image": rng.integers(0, 256, (count, 2, 4, 4)).astype(np.uint8),
        "words": rng.integers(0, 7, (count, 5)),
        "mask": rng.integers(0, 2, (count, 5)).astype(np.uint8),
    }
    labels = (x["words"][:, 0] + (x["image"][:, 0, 0, 0] > 128)) % 3
    return x, labels


def data(**changes: Any) -> Dataset:
    x, y = inputs(40, 0)
    x_test, y_test = inputs(12, 1)
    given = {"x_train": x, "y_train": y, "x_test": x_test, "y_test": y_test, "classes": 3}
    return Dataset("both", **{**given, **changes})


def save(path: Path, data: Dataset) -> Path:
    arrays = {"y_train": data.y_train, "y_test": data.y_test}
    for part in ("train", "test"):
        for name, array in by_input(getattr(data, f"x_{part}")).items():
            arrays[f"x_{part}.{name}"] = array
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("augment", [(), ("crop", "flip", "cutout")])
def test_both_backends_take_the_same_steps(augment: tuple[str, ...]) -> None:
    pytest.importorskip("torch")
    histories = []
    for backend in ("numpy", "torch"):
        model = netspec.loads(NET).compile(backend, dtype="float64", seed=3)
        histories.append(
            netspec.fit(
                model, data(), epochs=3, batch=16, val=7, augment=augment, lr=0.01, progress=False
            )
        )
    ours, theirs = histories
    np.testing.assert_allclose(ours.loss_history, theirs.loss_history, rtol=1e-9)
    assert ours.accuracy("test", 3) == theirs.accuracy("test", 3)
    assert ours.loss_history[-1] < ours.loss_history[0]


def test_what_is_measured_is_what_predict_finds_and_whole_numbers_stay() -> None:
    model, both = netspec.loads(NET).compile(), data()
    history = netspec.fit(model, both, epochs=2, progress=False)
    assert isinstance(history.normalization, Normalizations)
    kinds = {name: one.kind for name, one in history.normalization.inputs.items()}
    assert kinds == {"image": "channel", "words": "none", "mask": "none"}
    x_test, y_test = inputs(12, 1)
    right = (model.predict(x_test) == y_test).mean()
    assert history.accuracy("test", 2) == pytest.approx(right)
    assert model.evaluate(both).accuracy == pytest.approx(right)


def test_a_run_is_evaluated_and_resumed_from_its_folder(tmp_path: Path, run: Run) -> None:
    net, npz = tmp_path / "both.net", save(tmp_path / "both.npz", data())
    net.write_text(NET)
    options = ["--data", npz, "--epochs", "2", "--batch", "16", "--checkpoint-every", "2"]
    done = run("train", "numpy", net, *options, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    shown = run("eval", tmp_path / "run", "--format", "json")
    assert shown.code == 0, shown.err
    accuracy = 100 * json.loads(shown.out)["accuracy"]
    assert f"test accuracy {accuracy:.2f} %" in done.out
    weights = (tmp_path / "run/weights.safetensors").read_bytes()
    for path in (tmp_path / "run/checkpoints").iterdir():
        assert path.stat().st_size
    again = run("train", "numpy", net, *options, "--out", tmp_path / "other")
    assert again.code == 0
    assert (tmp_path / "other/weights.safetensors").read_bytes() == weights


def test_a_stopped_training_goes_on_with_the_same_numbers(tmp_path: Path, run: Run) -> None:
    net, npz = tmp_path / "both.net", save(tmp_path / "both.npz", data())
    net.write_text(NET)
    options = ["--data", npz, "--batch", "16", "--schedule", "constant"]
    whole = run("train", "numpy", net, *options, "--epochs", "3", "--out", tmp_path / "a")
    assert whole.code == 0, whole.err
    assert run("train", "numpy", net, *options, "--epochs", "1", "--out", tmp_path / "b").code == 0
    assert run("train", "--resume", tmp_path / "b", "--epochs", "3").code == 0
    one, two = (tmp_path / name / "weights.safetensors" for name in "ab")
    assert one.read_bytes() == two.read_bytes()


def test_an_archive_has_an_array_for_each_input(tmp_path: Path) -> None:
    both = data()
    loaded = netspec.load_data(save(tmp_path / "both.npz", both))
    for part in ("x_train", "x_test"):
        for name, array in by_input(getattr(both, part)).items():
            assert (by_input(getattr(loaded, part))[name] == array).all()
    assert loaded.input_shapes == {"image": (2, 4, 4), "words": (5,), "mask": (5,)}
    assert repr(loaded).endswith("image [2, 4, 4] and words [5] and mask [5], 3 classes>")
    for twin in (copy.copy(loaded), copy.deepcopy(loaded), pickle.loads(pickle.dumps(loaded))):
        assert (twin.x_train == loaded.x_train).all()


def test_archives_that_lack_an_input_of_a_part(tmp_path: Path) -> None:
    x, y = inputs(4, 0)
    named = {f"x_train.{name}": array for name, array in x.items()}
    np.savez(tmp_path / "a.npz", **named, y_train=y, **{"x_test.image": x["image"]}, y_test=y)
    with fails("data/shape", "a test image is"):
        netspec.load_data(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", **named, y_train=y, y_test=y[:0])
    with fails("data/shape", "x_test has no inputs"):
        netspec.load_data(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", **named, y_train=y[:3], y_test=y)
    with fails("data/shape", "4 images but 3 labels"):
        netspec.load_data(tmp_path / "c.npz")


@pytest.mark.parametrize(
    ("changed", "code", "parts"),
    [
        ({"words": np.full((40, 5), 7)}, "model/places", ("`words` holds 7", "from 0 to 6")),
        ({"mask": np.full((40, 5), 2)}, "model/input-type", ("`mask` must hold booleans",)),
        ({"image": np.zeros((40, 2, 4, 5))}, "data/shape", ("a test image is",)),
        ({"image": np.zeros((39, 2, 4, 4))}, "data/shape", ("39 of `image`", "40 of `words`")),
        ({"image": np.full((40, 2, 4, 4), np.nan)}, "data/bad-file", ("of `image` holds NaN",)),
        ({"image": np.full((40, 2, 4, 4), "a")}, "data/shape", ("of `image`", "integers")),
        ({"more": np.zeros((40, 2))}, "data/shape", ("a training image",)),
    ],
)
def test_samples_that_do_not_fit(changed: dict[str, Any], code: str, parts: tuple[str]) -> None:
    with fails(code, *parts):
        netspec.fit(
            netspec.loads(NET).compile(),
            data(x_train={**inputs(40, 0)[0], **changed}),
            epochs=1,
            progress=False,
        )


def test_data_for_other_inputs() -> None:
    model = netspec.loads(NET).compile()
    x, y = inputs(8, 0)
    with fails("data/shape", "image, words, mask", "one array", "x_train.image"):
        netspec.fit(model, Dataset("d", x["image"], y, x["image"], y, 3), progress=False)
    fewer = {"image": x["image"], "words": x["words"]}
    with fails("data/shape", "image, words, mask", "samples of image, words"):
        netspec.fit(model, Dataset("d", fewer, y, fewer, y, 3), progress=False)
    one = netspec.loads("net N {\ninput a: [3]\noutput a -> linear(3)\n}").compile()
    with fails("data/shape", "the input a"):
        netspec.fit(one, data(), progress=False)
    two = netspec.loads(
        "net N {\ninput a: [1, 4, 4]\ninput b: [1, 4, 4]\noutput a + b -> flatten -> linear(3)\n}"
    ).compile()
    with fails("data/shape", "the network's input `b` is"):
        wrong = {"a": np.zeros((8, 1, 4, 4)), "b": np.zeros((8, 16))}
        netspec.fit(two, Dataset("d", wrong, y, wrong, y, 3), progress=False)
    pictures = {"a": np.zeros((8, 1, 4, 4)), "b": np.zeros((8, 1, 4, 4))}
    with fails("train/bad-option", "one input of pictures"):
        netspec.fit(
            two, Dataset("d", pictures, y, pictures, y, 3), augment=["flip"], progress=False
        )
    netspec.fit(two, Dataset("d", pictures, y, pictures, y, 3), epochs=1, progress=False)


@pytest.mark.parametrize(
    "inputs",
    [{}, {"a": 1}, [], {"a": {"kind": "none"}}, {str(i): {} for i in range(2000)}, "x"],
)
def test_a_hostile_normalization_of_inputs(inputs: object) -> None:
    with fails("weights/bad-file", "damaged"):
        normalization_from_json(json.dumps({"kind": "by-input", "inputs": inputs}))


def test_a_normalization_of_inputs_comes_back() -> None:
    x = inputs(9, 0)[0]
    fitted = Normalizations(
        {
            "image": Normalization.fit("channel", x["image"]),
            "words": Normalization.fit("none", x["words"]),
        }
    )
    again = normalization_from_json(fitted.to_json())
    assert again.is_like(fitted)
    assert fitted.is_like(again)
    assert not fitted.inputs["image"].is_like(fitted)
    assert not fitted.is_like(fitted.inputs["image"])


@pytest.mark.parametrize(
    ("shape", "layers"),
    [
        ((2, 12), "conv(4, 3) -> relu -> global_avg_pool"),
        ((1, 4, 5, 6), "conv(4, 3, pad = 1) -> relu -> global_avg_pool"),
        ((6, 3), "lstm(4) -> slice(1, -1) -> flatten"),
    ],
)
def test_signals_volumes_and_sequences_are_trained_on(shape: tuple[int, ...], layers: str) -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, *shape)), rng.integers(0, 3, 30)
    x[y == 1] += 1.0
    text = f"net N {{\ninput x: {list(shape)}\noutput x -> {layers} -> linear(3)\n}}"
    losses = []
    for backend in ("numpy", "torch"):
        model = netspec.loads(text).compile(backend, dtype="float64")
        history = netspec.fit(model, Dataset("d", x, y, x, y, 3), epochs=4, lr=0.01, progress=False)
        losses.append(history.loss_history)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)
    assert losses[0][-1] < losses[0][0]


def test_sequences_of_an_archive(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).standard_normal((6, 5, 3)), np.array([0, 1] * 3)
    np.savez(tmp_path / "s.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    loaded = netspec.load_data(tmp_path / "s.npz").fit_to((5, 3))
    assert (loaded.x_train == x).all()


def test_a_loss_that_diverges_names_the_input() -> None:
    text = "net N {\ninput a: [3]\ninput b: [3]\noutput exp(a) + b -> linear(3)\n}"
    x = {"a": np.full((8, 3), 1000.0), "b": np.zeros((8, 3))}
    with fails("train/diverged", "`exp1` gives"):
        netspec.fit(
            netspec.loads(text).compile(),
            Dataset("d", x, np.zeros(8, int), x, np.zeros(8, int), 3),
            normalize="none",
            progress=False,
        )


@pytest.mark.parametrize(
    "arguments", [{"net": "Recurrent", "cell": "lstm"}, {"net": "Transformer", "drop": 0.0}]
)
def test_the_courses_captions_are_learnt_alike(arguments: dict[str, Any]) -> None:
    """The page itself trains the recurrent net until it spells."""
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = {"image": rng.integers(0, 17, (24, 1, 8, 8)), "caption": rng.integers(0, 17, (24, 6))}
    y = np.where(x["caption"] > 14, -100, x["caption"])
    data, losses = Dataset("captions", x, y, x, y, 17), []
    for backend in ("numpy", "torch"):
        model = netspec.load(ROOT / "docs/course/captions.net", **arguments).compile(
            backend, dtype="float64"
        )
        losses.append(netspec.fit(model, data, epochs=4, progress=False).loss_history)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)
    assert losses[0][-1] < losses[0][0]


def test_tables_without_a_normalization_are_predicted_as_they_are() -> None:
    model = netspec.loads(
        "net Pair {\n input a: [3]\n input b: [2]\n output concat(a, b) -> linear(4)\n}"
    ).compile("numpy")
    given = {"a": np.ones((5, 3)), "b": np.zeros((5, 2))}
    assert (model.predict(given) == model.forward(given).argmax(1)).all()
    with pytest.raises(netspec.NetspecError, match="how its images are normalised"):
        model.predict({"a": np.ones((5, 3), np.uint8), "b": given["b"]})  # bytes are of pictures


def test_a_net_with_an_open_size_predicts() -> None:
    text = "net A {\n    input x: [3, T]\n\n    output x -> relu -> mean(2) -> linear(3)\n}\n"
    model = netspec.loads(text).compile(seed=0)
    x = np.random.default_rng(0).normal(size=(4, 3, 6)).astype(np.float32)
    assert (model.predict(x) == model.forward(x).argmax(1)).all()
