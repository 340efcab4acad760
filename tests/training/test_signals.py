"""Data of signals (N, C, L): axes in another order, shapes as they are, and names in an `.npz`."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.diagnostics import NetspecError
from netspec.runtime.data import Dataset, load
from netspec.runtime.data.exchanged_axes import exchanged
from netspec.runtime.data.input_normalization import Normalization
from tests.helpers.errors import fails

NET = """
net Wave {
    input x: [3, 16]
    output x -> conv(4, 3) -> relu -> flatten -> linear(2)
}
"""
NAMES = ["rest", "a stroke"]
RNG = np.random.default_rng(0)


def windows(*shape: int) -> dict[str, np.ndarray]:
    """Return the arrays of a data set of two classes."""
    counts = {"train": 24, "test": 8}
    x = {f"x_{part}": RNG.integers(-999, 999, (n, *shape), np.int16) for part, n in counts.items()}
    return {**x, **{f"y_{part}": np.arange(n) % 2 for part, n in counts.items()}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a net, its data, and its data as a driver gives them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wave.net").write_text(NET)
    np.savez(tmp_path / "good.npz", class_names=NAMES, **windows(3, 16))
    np.savez(tmp_path / "turned.npz", **windows(16, 3))
    return tmp_path


def train(run) -> None:
    """Train the net into the folder `run`."""
    options = ["--data", "good.npz", "--epochs", "1", "--out", "run"]
    assert run("train", "numpy", "wave.net", *options).code == 0


@pytest.mark.parametrize(
    ("have", "want", "said"),
    [
        ((16, 3), (3, 16), "np.transpose(x, (0, 2, 1))"),
        ((8, 9, 3), (3, 8, 9), "np.transpose(x, (0, 3, 1, 2))"),
        ((8, 9, 3), (3, 9, 8), "np.transpose(x, (0, 3, 2, 1))"),
        ((8, 8, 3), (3, 8, 8), "np.transpose(x, (0, 3, 1, 2))"),
        ((5, 2, 3, 4), (4, 5, 2, 3), "np.transpose(x, (0, 4, 1, 2, 3))"),
        ((16, 3), (4, 16), None),
        ((48,), (3, 16), None),
        ((16, 3), (3, 16, 1), None),
    ],
)
def test_orders_of_axes_that_fit_are_named(have, want, said):
    assert exchanged("x", have, want) == said
    if said is not None:
        first = eval(said, {"np": np, "x": np.zeros((2, *have))})
        assert first.shape == (2, *want)


def test_every_verb_says_how_exchanged_axes_are_turned(folder, run):
    said = "np.transpose(x, (0, 2, 1))"
    for verb in (["train", "numpy", "wave.net", "--out", "none"], ["doctor", "wave.net"]):
        refused = run(*verb, "--data", "turned.npz")
        assert refused.code == 1
        assert said in refused.err
        assert "[1, 16, 3]" not in refused.err
    train(run)
    refused = run("eval", "run", "--data", "turned.npz")
    assert said in refused.err
    for array, call in ((windows(16, 3)["x_test"], said), (np.zeros((16, 3)), "(x, (1, 0))")):
        np.save("turned.npy", array)
        refused = run("predict", "run", "turned.npy")
        assert (refused.code, call in refused.err) == (1, True)


def test_python_says_how_exchanged_axes_are_turned(folder):
    model = netspec.loads(NET).compile()
    turned = windows(16, 3)
    data = Dataset("mine", turned["x_train"], turned["y_train"], None, None, 2)
    for call in (
        lambda: netspec.fit(model, data, epochs=1),
        lambda: model.evaluate((turned["x_test"], turned["y_test"]), normalize="none"),
        lambda: model.predict(turned["x_test"], normalize="none"),
        lambda: model.forward(turned["x_test"]),
    ):
        with pytest.raises(NetspecError, match=r"np.transpose\(x, \(0, 2, 1\)\)"):
            call()


def test_a_signal_has_no_axis_in_front_and_a_grey_picture_gets_it(folder, run):
    said = json.loads(run("data", "info", "good.npz", "--format", "json").out)
    assert said["shapes"] == {"": "[3, 16]"}
    assert load("good.npz").x_train.shape == (24, 3, 16)
    grey = load("good.npz").fit_to((1, 3, 16))
    assert grey.x_train.shape == (24, 1, 3, 16)
    assert grey.fit_to((3, 16)).x_train.shape == (24, 3, 16)
    assert run("data", "info", "good.npz", "--picture", "seen.png").code == 0


def test_names_of_an_npz_go_through_run_eval_predict_and_c(folder, run):
    assert load("good.npz").class_names == tuple(NAMES)
    train(run)
    assert NAMES[1] in run("data", "info", "good.npz").out
    assert NAMES[1] in run("eval", "run").out
    np.save("one.npy", windows(3, 16)["x_test"])
    assert any(name in run("predict", "run", "one.npy").out for name in NAMES)
    assert run("compile", "run", "--target", "c", "--classify", "-o", "wave.c").code == 0
    assert f'"{NAMES[1]}"' in (folder / "wave.c").read_text()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (np.array(["a", "b"], object), "pickled objects"),
        (np.array([1, 2]), "names are strings"),
        (np.array([["a", "b"]]), "no list of names"),
        (np.array("a"), "no list of names"),
        (np.array(["a", "a"]), "two classes `a`"),
        (np.array(["a", " "]), "no name for class 1"),
        (np.array(["a", "b\x1b[2J"]), "no name for class 1"),
        (np.array([b"a", b"\xff"]), "no text"),
        (np.array([0x41, 0xD800, 0x41], "u4").view("U1"), "no name for class 1"),
        (np.array([0x41, 0x110000], "u4").view("U1"), "no text"),
        (np.array(["a", "b" * 200_000]), "more than 1,048,576 bytes"),
        (np.array(["a"]), "1 class has label 0"),
    ],
)
def test_names_that_are_none_are_refused(tmp_path, names, said):
    np.savez_compressed(tmp_path / "a.npz", class_names=names, **windows(3, 16))
    with fails("data/bad-file", said):
        load(str(tmp_path / "a.npz"))


def test_names_are_text_of_either_kind_and_more_than_there_are_labels(tmp_path):
    for kind in ("S", "U", ">U9"):
        np.savez(tmp_path / "a.npz", class_names=np.array(["a", " b", "c"], kind), **windows(3, 16))
        data = load(str(tmp_path / "a.npz"))
        assert (data.class_names, data.classes) == (("a", "b", "c"), 3)


def test_names_that_lie_about_their_size_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", class_names=NAMES, **windows(3, 16))
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    padded = b"(2,), }           "
    assert padded in members["class_names.npy"]
    lie = members["class_names.npy"].replace(padded, b"(99999999999,), } ")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, lie if name == "class_names.npy" else content)
    with fails("data/bad-file", "no list of names"):
        load(str(tmp_path / "b.npz"))


# -------------------------------------------------------------------------------------- normalisation


def test_a_fixed_scaling_of_a_sensor_is_in_its_own_unit():
    counts = RNG.integers(-32768, 32767, (20, 3, 16), np.int16)
    for x in (counts, counts.astype(np.float32), counts.astype(np.int64)):
        by = Normalization.fit(([0], [8192]), x)
        assert np.array_equal(by.apply(x, "f8"), x / 8192)
        each = Normalization.fit(([1, -2, 8000], [8192, 8192, 0.5]), x)
        assert np.array_equal(each.apply(x, "f8")[:, 2], (x[:, 2] - 8000.0) * 2)


@pytest.mark.parametrize("given", ["imagenet", ([0.4], [0.2]), ([0], [1])])
def test_statistics_of_pixels_are_refused_on_a_sensor_with_what_to_do(given):
    with fails("data/shape", "from 0 to 1, and the images hold int16 up to 8192", "--std 8192"):
        Normalization.fit(given, np.full((4, 3, 16), 8192, np.int16))


def test_a_run_and_its_c_file_scale_as_they_were_told(folder, run):
    options = ["--data", "good.npz", "--epochs", "1", "--out", "run"]
    assert run("train", "numpy", "wave.net", "--mean", "0", "--std", "500", *options).code == 0
    assert run("eval", "run").code == 0
    assert run("compile", "run", "--target", "c", "--normalize", "-o", "wave.c").code == 0
    assert "500" in (folder / "wave.c").read_text()


def test_the_first_axis_is_the_channel_in_whatever_order_the_axes_are():
    """As docs/training.md says: of [T, F] each step is a channel, of [F, T] each feature."""
    x = RNG.standard_normal((9, 5, 3)) * [1, 10, 100]
    by_step, by_feature = (Normalization.fit("channel", each) for each in (x, x.swapaxes(1, 2)))
    assert by_step.mean.shape == (5, 1)
    assert by_feature.scale.ravel() == pytest.approx(x.std(axis=(0, 1)))
