"""Pixels that are not normalised, or twice: models that know what they were trained on warn."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import netspec
from tests.conftest import Run

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
