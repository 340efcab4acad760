"""Validation images: the last ones, or a share of each class."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.runtime.data import Dataset
from netspec.runtime.data.held_out import drawn_share
from tests.conftest import Run, Write
from tests.helpers.errors import fails

NET = "net N {\ninput x: [6]\noutput x -> linear(4)\n}"


def sorted_data() -> Dataset:
    """Return images of four classes, one after the other, as a folder of pictures has them."""
    y = np.repeat([0, 1, 2, 3], [60, 25, 11, 4])
    x = np.random.default_rng(0).standard_normal((100, 6)).astype("f4")
    return Dataset("made", x, y, x[:10], y[:10], 4)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
def test_each_class_gives_its_share(share: float) -> None:
    labels = np.random.default_rng(1).permutation(sorted_data().y_train)
    rest, held = drawn_share(labels, share, 0)
    assert len(held) == round(100 * share)
    assert sorted([*rest, *held]) == list(range(100))
    assert (np.diff(held) > 0).all()
    assert (np.diff(rest) > 0).all()
    for label, count in enumerate([60, 25, 11, 4]):
        assert abs((labels[held] == label).sum() - count * share) <= 1
        assert (labels[rest] == label).any()
    again, other = (drawn_share(labels, share, seed)[1] for seed in (0, 1))
    assert (again == held).all()
    assert (other != held).any()


def test_images_with_many_labels_are_drawn_from_all() -> None:
    rest, held = drawn_share(np.zeros((30, 2, 2), np.int64), 0.2, 3)
    assert (len(rest), len(held)) == (24, 6)
    assert held.tolist() != list(range(24, 30))


def test_what_is_held_out_is_measured_and_not_trained_on(caplog: pytest.LogCaptureFixture) -> None:
    made = sorted_data()
    models = []
    for backend in ("numpy", "torch"):
        if backend == "torch":
            pytest.importorskip("torch")
        model = netspec.loads(NET).compile(backend, dtype="float64", seed=1)
        caplog.clear()
        history = netspec.fit(
            model, made, val=0.2, seed=5, epochs=3, normalize="none", progress=False
        )
        assert not caplog.records
        rest, x_val, y_val = made.split(0.2, 5)
        right = (model.predict(x_val, normalize="none") == y_val).mean()
        assert history.val_acc_history[-1] == right
        assert history.steps_in_epoch == -(-len(rest.x_train) // 64)
        models.append((history.loss_history, history.val_acc_history))
    np.testing.assert_allclose(models[0][0], models[1][0], rtol=1e-9)
    assert models[0][1] == models[1][1]


def test_a_part_without_a_class_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    def warnings(made: Dataset, val: float) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            model = netspec.loads(NET).compile()
            netspec.fit(model, made, val=val, epochs=1, normalize="none", progress=False)
        return [record.getMessage() for record in caplog.records if "have none" in record.message]

    made = sorted_data()
    training, validation = warnings(made, 10)
    assert training.startswith("the training images have none of class 3: --val 0.1 holds out")
    assert validation.startswith("the validation images have none of class 0, 1:")
    assert not warnings(made, 0.3)
    assert "of class 3" in warnings(made, 0.05)[0]  # a twentieth of four images


def test_eval_measures_what_a_run_held_out(run: Run, write: Write) -> None:
    net = write("net N {\ninput x: [1, 8, 8]\noutput x -> flatten -> linear(10)\n}", "n.net")
    write("val = 0.1\nseed = 3\nepochs = 2\n", "n.toml")
    out = net.parent / "r"
    done = run("train", net, "--out", out)
    assert done.code == 0, done.err
    assert "for validation" in done.err
    assert "val = 0.1" in (out / "recipe.toml").read_text()
    last = next(line for line in reversed(done.err.splitlines()) if " val " in line)
    share = last.split(" val ")[1].split()[0].rstrip(",;")
    assert share in run("eval", out, "--part", "val").out
    assert "--val cannot change" in run("train", "--resume", out, "--epochs", 3, "--val", 0.2).err


@pytest.mark.parametrize("val", [1.0, 0.0, -1, 1.5, -0.5, True, "0.1", 100])
def test_values_out_of_range(val: Any) -> None:
    with fails("train/bad-option", "val"):
        netspec.fit(netspec.loads(NET).compile(), sorted_data(), val=val, progress=False)


@pytest.mark.parametrize("val", ["1.0", "-3", "2.5", "some"])
def test_values_out_of_range_on_the_command_line(run: Run, write: Write, val: str) -> None:
    net = write("net N {\ninput x: [1, 8, 8]\noutput x -> flatten -> linear(10)\n}")
    assert "a share between 0 and 1" in run("train", net, f"--val={val}").err


def test_a_share_of_images_in_a_file_is_refused(tmp_path: Any) -> None:
    made = sorted_data()
    np.save(tmp_path / "x_train.npy", made.x_train)
    np.save(tmp_path / "y_train.npy", made.y_train)
    data = netspec.load_data(tmp_path)
    assert len(data.split(10)[1]) == 10
    with fails("train/bad-option", "lie in a file"):
        data.split(0.1)
