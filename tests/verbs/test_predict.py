"""`netspec predict`: unlabelled pictures, with either backend."""

from __future__ import annotations

import json

import numpy as np
import pytest

import netspec
from netspec.runtime.data.input_normalization import Normalization
from netspec.runtime.inference.background import turned_round
from netspec.runtime.inference.predict import read_pictures
from tests.conftest import Run
from tests.helpers.labelled_pictures import CLASSES, NET, make_folder, picture, save, train

RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predict")
    make_folder(folder / "pets")
    (folder / "small.net").write_text(NET)
    train(folder / "pets", folder / "w.safetensors", normalize="mean-image")
    return folder


@pytest.fixture
def predict(root, run: Run):
    def call(*arguments, weights="w.safetensors"):
        return run("predict", root / "small.net", "--weights", root / weights, *arguments)

    return call


def test_pictures_are_taken_for_what_they_are(root, predict):
    paths = [p for name in CLASSES for p in sorted((root / "pets/test" / name).iterdir())[:2]]
    finished = predict(*paths)
    assert finished.code == 0, finished.err
    lines = [line.split() for line in finished.out.splitlines()]
    assert [line[0] for line in lines] == list(map(str, paths))
    right = sum(path.parent.name == line[1] for path, line in zip(paths, lines, strict=True))
    assert right >= 5
    assert all(line[2].endswith("%") for line in lines)


def test_probabilities_are_those_of_the_normalised_picture(root, predict):
    path = next((root / "pets/test/owl").iterdir())
    (found,) = json.loads(predict(path, "--top", 3, "--format", "json").out)
    shares = {c["name"]: c["probability"] for c in found["classes"]}
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    model = netspec.loads(NET).compile()
    weights = netspec.load_weights(root / "w.safetensors")
    model.load_state_dict(weights.tensors)
    x = weights.normalization.apply(read_pictures(path, (3, 8, 8)).x, "float32")
    scores = model.forward(x)[0].astype(float)
    expected = np.exp(scores) / np.exp(scores).sum()
    assert [shares[name] for name in CLASSES] == pytest.approx(expected, abs=1e-6)


def test_both_backends_say_the_same(root, predict):
    pytest.importorskip("torch")
    paths = sorted((root / "pets/test").glob("*/*.png"))
    found = [
        json.loads(predict(*paths, "--top", 3, "--format", "json", "--backend", backend).out)
        for backend in ("numpy", "torch")
    ]
    assert len(found[0]) == 12
    for ours, theirs in zip(*found, strict=True):
        assert ours["image"] == theirs["image"]
        for a, b in zip(ours["classes"], theirs["classes"], strict=True):
            assert a["name"] == b["name"]
            assert a["probability"] == pytest.approx(b["probability"], abs=1e-5)


def test_weights_of_either_backends_training_are_the_same_to_both(root, predict):
    pytest.importorskip("torch")
    train(root / "pets", root / "torch.safetensors", "torch")
    path = next((root / "pets/test/dog").iterdir())
    found = [
        json.loads(
            predict(path, "--format", "json", "--backend", b, weights="torch.safetensors").out
        )
        for b in ("numpy", "torch")
    ]
    (ours,), (theirs,) = (f[0]["classes"] for f in found)
    assert ours["name"] == theirs["name"]
    assert ours["probability"] == pytest.approx(theirs["probability"], abs=1e-5)


def test_arrays_are_pictures_too(root, predict, tmp_path):
    x = np.stack([picture(label, RNG) for label in (2, 0)])
    np.save(tmp_path / "two.npy", x)
    np.save(tmp_path / "one.npy", x[0])
    lines = predict(tmp_path / "two.npy", tmp_path / "one.npy").out.splitlines()
    assert [line.split()[0].rsplit("/", 1)[1] for line in lines] == [
        "two.npy[0]",
        "two.npy[1]",
        "one.npy",
    ]
    assert lines[0].split()[1:] == lines[2].split()[1:]
    png = predict(save(tmp_path / "one.png", x[0])).out.split()[1:]
    assert png == lines[2].split()[1:]


def test_size_and_colour(predict, tmp_path):
    grey = save(tmp_path / "grey.png", picture(0, RNG, (1, 8, 8)))
    assert predict(grey).code == 0
    large = save(tmp_path / "large.jpg", picture(1, RNG, (3, 20, 16)))
    finished = predict(large)
    assert finished.code == 1
    assert "large.jpg has 16 x 20 pixels, 8 x 8 are wanted" in finished.err
    assert "--resize" in finished.err
    assert predict(large, "--resize").code == 0


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("a.npy", np.zeros((3, 9, 9)), "data/shape", "[3, 9, 9]"),
        ("a.npy", np.array(["a"]), "data/bad-file", "images are integers or floats"),
        ("a.npy", b"junk", "data/bad-file", "not a valid .npy"),
        ("a.png", b"junk", "data/bad-file", "not a valid PNG"),
        ("a.gif", b"junk", "data/bad-file", "those end in .png"),
        ("a.png", None, "data/missing-file", "no such file"),
    ],
)
def test_what_is_no_picture_is_said(predict, tmp_path, name, content, code, said):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    finished = predict(path)
    assert finished.code == 1
    assert f"error[{code}]" in finished.err
    assert said in finished.err


def test_pixels_say_nothing_to_weights_of_other_numbers(root, predict, tmp_path):
    x = RNG.normal(size=(6, 3, 8, 8)).astype(np.float32)
    y = np.arange(6) % 3
    model = netspec.loads(NET).compile()
    data = netspec.Dataset("floats", x, y, x, y, 3)
    netspec.fit(model, data, epochs=1, out=root / "floats.safetensors")
    png = save(tmp_path / "a.png", picture(0, RNG))
    finished = predict(png, weights="floats.safetensors")
    assert finished.code == 1
    assert "trained on float32 images" in finished.err
    np.save(tmp_path / "a.npy", x)
    assert predict(tmp_path / "a.npy", weights="floats.safetensors").code == 0


def test_eval_refuses_the_pixels_that_predict_refuses(root, run):
    x = RNG.normal(size=(6, 3, 8, 8)).astype(np.float32)
    y = np.arange(6) % 3
    data = netspec.Dataset("floats", x, y, x, y, 3)
    netspec.fit(netspec.loads(NET).compile(), data, epochs=1, out=root / "floats.safetensors")
    arguments = ("eval", root / "small.net", "--weights", root / "floats.safetensors")
    finished = run(*arguments, "--data", root / "pets")
    assert finished.code == 1
    assert "trained on float32 images" in finished.err


def test_one_bad_picture_does_not_lose_the_others(root, predict, tmp_path):
    good = save(tmp_path / "good.png", picture(0, RNG))
    (tmp_path / "bad.png").write_bytes(b"nothing")
    (tmp_path / "worse.png").write_bytes(b"nothing")
    finished = predict(tmp_path / "bad.png", good, tmp_path / "worse.png")
    assert finished.code == 1
    assert finished.out.startswith(str(good))
    assert "bad.png" in finished.err
    assert "worse.png" in finished.err


def test_pixels_from_0_to_1_for_a_flat_input(root, run, tmp_path):
    (tmp_path / "flat.net").write_text(
        "net Flat {\n    input x: [36]\n    output x -> linear(3)\n}\n"
    )
    model = netspec.load(tmp_path / "flat.net").compile()
    netspec.save_weights(tmp_path / "flat.safetensors", model.state_dict())
    np.save(tmp_path / "x.npy", RNG.integers(0, 256, (2, 36)).astype(np.uint8))
    arguments = ("predict", tmp_path / "flat.net", "--weights", tmp_path / "flat.safetensors")
    finished = run(*arguments, tmp_path / "x.npy", "--normalize", "unit")
    assert finished.code == 0, finished.err
    assert len(finished.out.splitlines()) == 2


def test_weights_that_say_nothing_of_their_data(root, predict, tmp_path):
    tensors = netspec.load_weights(root / "w.safetensors").tensors
    netspec.save_weights(root / "bare.safetensors", tensors)
    png = next((root / "pets/test/cat").iterdir())
    finished = predict(png, weights="bare.safetensors")
    assert finished.code == 1
    assert "weights/no-normalization" in finished.err
    finished = predict(png, "--normalize", "unit", weights="bare.safetensors")
    assert finished.code == 0
    assert finished.out.split()[1] in ("0", "1", "2")
    unit = Normalization.fit("unit", np.zeros((1, 1, 1, 1), np.uint8))
    assert unit.apply(np.full((1, 3, 2, 2), 255, np.uint8), "float32").max() == 1.0


def test_pictures_without_pillow(root, predict, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "PIL", None)
    finished = predict(next((root / "pets/test/cat").iterdir()))
    assert finished.code == 1
    assert "library/pillow" in finished.err
    assert "netspec-dsl[images]" in finished.err


# ------------------------------------------------------------------------ light on dark, dark on light

GREY = "net Grey {\n    input image: [1, 8, 8]\n    output image -> flatten -> linear(2)\n}"


def _drawn(label: int, *, ground: int = 0) -> np.ndarray:
    """A bright bar on a dark ground, (1, 8, 8)."""
    x = np.full((1, 8, 8), ground, np.uint8)
    x[0, 2:6, 2 + 2 * label : 4 + 2 * label] = 255 - ground
    return x


@pytest.fixture(params=["channel", "mean-image", "unit"])
def grey_run(request, tmp_path, monkeypatch):
    """Weights trained on light bars on a dark ground."""
    monkeypatch.chdir(tmp_path)
    x, y = np.stack([_drawn(i % 2) for i in range(40)]), np.arange(40) % 2
    data = netspec.Dataset("bars", x, y, x[:4], y[:4], 2)
    model = netspec.loads(GREY).compile(seed=0)
    netspec.fit(model, data, epochs=8, batch=8, normalize=request.param, out="w.safetensors")
    (tmp_path / "grey.net").write_text(GREY)
    return request.param


def test_a_picture_of_the_other_ground_is_noticed_and_inverted(grey_run, tmp_path, run: Run):
    light = save(tmp_path / "light.png", 255 - _drawn(1))
    call = ("predict", "grey.net", "--weights", "w.safetensors", "--format", "json")
    found = run(*call, light)
    note = f"note: {light} is dark on light, and the training images are light on dark: --invert"
    assert (note in found.err) == (grey_run != "unit"), "`unit` knows no mean"
    again = run(*call, light, "--invert")
    assert "note" not in again.err
    as_drawn = run(*call, save(tmp_path / "dark.png", _drawn(1)))
    assert "note" not in as_drawn.err
    (ours,), (theirs,) = json.loads(again.out), json.loads(as_drawn.out)
    assert ours["classes"] == theirs["classes"]
    assert ours["classes"][0]["class"] == 1


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 64)])
@pytest.mark.parametrize("ground", [0, 255])
def test_the_ground_of_pictures_is_told_either_way(shape, ground):
    x = np.stack([_drawn(0, ground=ground), _drawn(1, ground=ground)]).reshape(shape)
    normalization = Normalization.fit("channel", x)
    assert turned_round(x, normalization, "uint8") is None
    said = turned_round(255 - x, normalization, "uint8")
    assert said is not None
    assert said.startswith("light on dark" if ground else "dark on light")
    assert turned_round(255 - x, normalization, None) is None
    assert turned_round((255 - x).astype(np.float32), normalization, "uint8") is None


def test_what_is_no_byte_is_not_inverted(grey_run, tmp_path, run: Run):
    np.save(tmp_path / "a.npy", _drawn(1) / 255.0)
    found = run("predict", "grey.net", "--weights", "w.safetensors", "a.npy", "--invert")
    assert found.code == 1
    assert "only pixels of uint8" in found.err


def test_a_net_with_several_inputs_is_told_who_takes_arrays(run: Run, write, tmp_path):
    text = "net Two {\n input a: [4]\n input b: [4]\n output a + b -> linear(3)\n}\n"
    model = netspec.loads(text).compile()
    netspec.save_weights(tmp_path / "w.safetensors", model.state_dict())
    finished = run("predict", write(text), "--weights", tmp_path / "w.safetensors", "a.png")
    assert finished.code == 1
    assert "Two has the inputs a, b, and a picture is one" in finished.err
    assert 'in Python it takes arrays: model.predict({"a": ..., "b": ...})' in finished.err
    assert model.predict({"a": np.zeros((2, 4)), "b": np.zeros((2, 4))}).shape == (2,)
