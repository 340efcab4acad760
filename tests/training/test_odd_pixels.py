"""Pixels that are not normalised, or twice: models that know what they were trained on warn."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import netspec
from tests.conftest import Run
from tests.helpers.errors import fails

NET = "net A { input image: [1, 8, 8]\n output image -> flatten -> linear(10) }"
RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (40, 1, 8, 8), np.uint8)
LABELS = RNG.integers(0, 10, 40)
DATA = netspec.Dataset("bytes", BYTES, LABELS, BYTES, LABELS, 10)
RAW, SCALED = "these are bytes as they are stored", "these pixels lie between 0 and 1"


@pytest.fixture(params=["numpy", "torch"])
def model(request):
    if request.param == "torch":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    made = netspec.loads(NET).compile(request.param)
    netspec.fit(made, DATA, epochs=1, progress=False)
    return made


def test_bytes_are_warned_of_wherever_normalised_numbers_are_taken(model) -> None:
    x, y = BYTES[:4], LABELS[:4]
    calls = (
        model.forward, model, model.scores,
        lambda x: model.loss(x, y), lambda x: model.loss_and_grads(x, y, training=False),
        lambda x: netspec.gradcheck(model, x, y, directions=1, backend="numpy", mode="eval"),
    )  # fmt: skip
    for call in calls:
        with pytest.warns(UserWarning, match=RAW) as told:
            call(x)
        assert {each.filename for each in told} == {__file__}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            call(model.trained_on.normalization.apply(x, model.dtype))


def test_pixels_from_0_to_1_are_warned_of_where_bytes_are_normalised(model) -> None:
    with pytest.warns(UserWarning, match=SCALED) as told:
        model.predict(BYTES / 255)
    assert told[0].filename == __file__
    scaled = netspec.Dataset("scaled", BYTES / 255, LABELS, BYTES / 255, LABELS, 10)
    with pytest.warns(UserWarning, match=SCALED):
        model.evaluate(scaled)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(BYTES)
        model.predict(BYTES.astype(np.float32))
        model.predict(np.zeros((2, 1, 8, 8)))
        model.predict(BYTES / 255, normalize="unit")


def test_others_are_not_told() -> None:
    fresh = netspec.loads(NET).compile()
    plain = netspec.loads(NET).compile()
    netspec.fit(plain, DATA, epochs=1, progress=False, normalize="none")
    shares = netspec.loads(NET).compile()
    of_shares = netspec.Dataset("shares", BYTES / 255, LABELS, BYTES / 255, LABELS, 10)
    netspec.fit(shares, of_shares, epochs=1, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fresh.forward(BYTES[:2])
        plain.forward(BYTES[:2])
        shares.predict(BYTES / 255)


def test_the_commands_say_so(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.net").write_text(NET)
    np.savez(tmp_path / "a.npz", x_train=BYTES, y_train=LABELS, x_test=BYTES, y_test=LABELS)
    shares = BYTES / 255
    np.savez(tmp_path / "b.npz", x_train=shares, y_train=LABELS, x_test=shares, y_test=LABELS)
    np.save(tmp_path / "b.npy", shares[:3])
    np.save(tmp_path / "a.npy", BYTES[:3])
    out = ("--epochs", 1, "--out", tmp_path / "run")
    assert run("train", "numpy", tmp_path / "a.net", "--data", tmp_path / "a.npz", *out).code == 0
    run_ = tmp_path / "run"
    for arguments, is_told in (
        (("eval", run_, "--data", tmp_path / "b.npz"), True), (("eval", run_), False),
        (("predict", run_, tmp_path / "b.npy"), True), (("predict", run_, tmp_path / "a.npy"), False),
        (("predict", run_, tmp_path / "b.npy", "--normalize", "none"), False),
    ):  # fmt: skip
        finished = run(*arguments)
        assert (finished.code, SCALED in finished.err) == (0, is_told), finished


SHARES = (BYTES / 255).astype(np.float32)
OF_SHARES = netspec.Dataset("shares", SHARES, LABELS, SHARES, LABELS, 10)
WHOLE = (
    "these are bytes from 0 to 255, and the normalisation of the weights is that of pixels from 0"
)


def trained_on_shares(backend: str = "numpy", **options):
    made = netspec.loads(NET).compile(backend)
    history = netspec.fit(made, OF_SHARES, epochs=1, progress=False, **options)
    return made, history.normalization


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("kept", ["history", "trained_on", "loaded", "given"])
def test_weights_saved_in_python_say_that_pixels_were_no_bytes(
    run: Run, tmp_path: Path, kept: str, backend: str
) -> None:
    """What `train` writes, `save_weights` writes too, so bytes are refused, and not wrong silently."""
    if backend == "torch":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    path = tmp_path / "w.safetensors"
    if kept == "given":  # the numbers of bytes, and these are not
        other = netspec.loads(NET).compile(backend)
        first = netspec.fit(other, DATA, epochs=1, progress=False).normalization
        made, by = trained_on_shares(backend, normalize=first)
    else:
        made, by = trained_on_shares(backend)
    state = made.state_dict()
    netspec.save_weights(path, state, made.trained_on if kept == "trained_on" else by)
    if kept == "loaded":
        netspec.save_weights(path, state, netspec.load_weights(path).normalization)
    (tmp_path / "a.net").write_text(NET)
    np.savez(tmp_path / "a.npz", x_test=BYTES, y_test=LABELS)
    finished = run("eval", tmp_path / "a.net", "--weights", path, "--data", tmp_path / "a.npz")
    assert (finished.code, finished.out) == (1, "")
    assert (
        "has pixels from 0 to 255, and the weights were trained on float32 images" in finished.err
    )
    loaded = netspec.loads(NET).compile(backend)
    loaded.load_state_dict(netspec.load_weights(path))
    with fails("data/shape", "trained on float32 images"):
        loaded.predict(BYTES)
    loaded.predict(SHARES)


def test_trained_on_keeps_the_names_of_the_classes(tmp_path: Path) -> None:
    names = tuple("abcdefghij")
    named = netspec.Dataset("n", BYTES, LABELS, BYTES, LABELS, 10, class_names=names)
    made = netspec.loads(NET).compile()
    netspec.fit(made, named, epochs=1, progress=False)
    path = tmp_path / "w.safetensors"
    netspec.save_weights(path, made.state_dict(), made.trained_on, {"by": "me"})
    loaded = netspec.load_weights(path)
    assert loaded.metadata == {**made.trained_on.about, "by": "me"}
    assert loaded.normalization.is_like(made.trained_on.normalization)
    netspec.save_weights(path, made.state_dict(), loaded.trained_on)
    assert netspec.load_weights(path).metadata == loaded.metadata


def test_what_says_nothing_of_the_training_is_refused(tmp_path: Path) -> None:
    made = netspec.loads(NET).compile()
    history = netspec.fit(made, DATA, epochs=1, progress=False)
    for wrong in (history, "channel", made):
        with fails("train/bad-option", "not (History|str|Model)", r"write model\.trained_on"):
            netspec.save_weights(tmp_path / "w.safetensors", made.state_dict(), wrong)
    assert not (tmp_path / "w.safetensors").exists()


@pytest.mark.parametrize("kind", ["channel", "unit", "imagenet", "mean-image"])
def test_weights_of_pixels_from_0_to_1_that_do_not_say_so_warn_of_bytes(
    run: Run, tmp_path: Path, kind: str
) -> None:
    net = NET if kind != "imagenet" else NET.replace("[1, 8, 8]", "[3, 8, 8]")
    x = SHARES if kind != "imagenet" else np.repeat(SHARES, 3, 1)
    made = netspec.loads(net).compile()
    data = netspec.Dataset("shares", x, LABELS, x, LABELS, 10)
    by = netspec.fit(made, data, epochs=1, progress=False, normalize=kind).normalization
    path = tmp_path / "w.safetensors"
    netspec.save_weights(path, made.state_dict(), replace(by, of=None))
    given = (x * 255).astype(np.uint8)
    np.savez(tmp_path / "a.npz", x_test=given, y_test=LABELS)
    np.save(tmp_path / "a.npy", given[:2])
    np.save(tmp_path / "b.npy", x[:2])
    (tmp_path / "a.net").write_text(net)
    weights = ("--weights", path)
    told = run("eval", tmp_path / "a.net", *weights, "--data", tmp_path / "a.npz")
    assert (told.code, WHOLE in told.err) == (0, True), told
    told = run("predict", tmp_path / "a.net", *weights, tmp_path / "a.npy")
    assert (told.code, WHOLE in told.err) == (0, True), told
    quiet = run("predict", tmp_path / "a.net", *weights, tmp_path / "b.npy")
    assert (quiet.code, quiet.err) == (0, "")
    loaded = netspec.loads(net).compile()
    loaded.load_state_dict(netspec.load_weights(path))
    for call in (lambda: loaded.predict(given), lambda: loaded.evaluate((given, LABELS))):
        with pytest.warns(UserWarning, match=WHOLE) as warned:
            call()
        assert {each.filename for each in warned} == {__file__}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded.predict(x)


def test_inputs_keep_their_types_in_their_order(tmp_path: Path) -> None:
    two = netspec.loads(
        "net T {\n input b: [1, 8, 8]\n input a: [3]\n"
        " output (b -> flatten -> linear(10)) + (a -> linear(10))\n}"
    )
    x = {"b": BYTES, "a": np.ones((40, 3), np.float32)}
    made = two.compile()
    data = netspec.Dataset("two", x, LABELS, x, LABELS, 10)
    history = netspec.fit(made, data, epochs=1, progress=False)
    path = tmp_path / "w.safetensors"
    netspec.save_weights(path, made.state_dict(), history.normalization)
    loaded = netspec.load_weights(path)
    assert loaded.metadata["image_type"] == history.about_data["image_type"]
    netspec.save_weights(path, made.state_dict(), loaded.normalization)
    assert netspec.load_weights(path).metadata == loaded.metadata


def test_onnx_files_keep_that_pixels_were_no_bytes(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    made, _ = trained_on_shares()
    made.to_onnx(tmp_path / "a.onnx")
    netspec.from_onnx(tmp_path / "a.onnx", weights_out=tmp_path / "w.safetensors")
    assert netspec.load_weights(tmp_path / "w.safetensors").metadata["image_type"] == "float32"


def test_programs_warn_of_bytes_if_they_were_trained_on_others(
    run: Run, tmp_path: Path, monkeypatch
) -> None:
    made, by = trained_on_shares()
    netspec.save_weights(tmp_path / "w.safetensors", made.state_dict(), by)
    (tmp_path / "a.net").write_text(NET)
    arguments = ("--weights", tmp_path / "w.safetensors", "--target", "numpy", "--standalone")
    finished = run("compile", tmp_path / "a.net", *arguments, "-o", tmp_path / "alone_of_shares.py")
    assert finished.code == 0, finished
    monkeypatch.syspath_prepend(tmp_path)
    network = importlib.import_module("alone_of_shares").A
    alone = network()
    with pytest.warns(UserWarning, match="bytes from 0 to 255, and the net was trained on float32"):
        alone.predict(BYTES[:2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network().predict(SHARES[:2])
