"""The output of `netspec train`: its width of 80 columns, the settings that are used, and times."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tqdm

import netspec
from netspec.cli.train import _result
from netspec.runtime.data.input_normalization import Normalization
from netspec.runtime.models.history import History
from netspec.runtime.runs.metrics import read_metrics
from netspec.runtime.training.progress import Live, Shown, make_progress
from tests.conftest import Run
from tests.helpers.killing import send, stop_after

NET = "net T() { input image: [64]\n output image -> linear(10) }\n"
SHORT = ("--epochs", 1, "--train-limit", 64)


@pytest.fixture
def net(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("t.net").write_text(NET)
    return Path("t.net")


def history() -> History:
    x = np.zeros((2, 4), np.float32)
    return History(Normalization.fit("none", x), val_acc_history=[0.9713], train_acc_history=[1.0])


@pytest.mark.parametrize("epochs", [10, 200])
def test_the_live_line_has_the_loss_within_80_columns(monkeypatch, epochs: int) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    live = Live()
    live.start(epochs * 50_000, 0)
    live.advance(640, Shown(epochs, epochs, 10, 782, 1e-3, 2.30259), history())
    live._bar.dynamic_ncols, live._bar.ncols = None, 80
    line = str(live._bar)
    live.close()
    assert line.startswith(f"loss 2.3026  epoch {epochs}/{epochs} ")
    assert "val 97.1%" in line
    assert " img/s " in line
    assert len(line) <= 80


@pytest.mark.skipif(tqdm.__version__ == "4.66.0", reason="this tqdm cuts the last letter off")
def test_measuring_shows_itself(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    live = Live()
    live.start(100, 0)
    live.advance(10, Shown(1, 1, 1, 10, 1e-3, 2.0), history())
    live.measure("test")
    assert "measuring test" in str(live._bar)
    live.close()


def test_progress_without_a_stderr_shows_nothing(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with make_progress(True, 1) as progress:
        progress.start(10, 0)
        progress.line("unheard")


def test_the_header_says_what_is_really_used(run: Run, net) -> None:
    finished = run("train", net, "--epochs", 1, "--train-limit", 100, "--val", 40, "--out", "none")
    there = len(netspec.load_data("digits").x_train)
    assert f"T on digits: 100 of {there:,} training images, 40 for validation, " in finished.err
    assert "adam, learning rate 0.002, cosine; batches of 64, 1 epoch\n" in finished.err


def test_the_header_says_that_digits_are_resized(run: Run, write) -> None:
    larger = write("net L { input image: [3, 12, 10]\n output image -> flatten -> linear(10) }")
    finished = run("train", larger, "--epochs", 1, "--train-limit", 64, "--out", "none")
    assert "L on digits (8 x 8, resized to 12 x 10): 64 of " in finished.err


def test_a_training_accuracy_of_some_images_is_said_to_be_one() -> None:
    from netspec.cli.train import _images
    from netspec.runtime.runs.resolve import resolve

    x, y = np.zeros((10_002, 4), np.float32), np.zeros(10_002, int)
    data = netspec.Dataset("many", x, y, x[:3], y[:3], 10)
    assert "10,002 training images (their accuracy is that of 10,000)" in _images(data, resolve({}))
    assert "accuracy" not in _images(data, resolve({"train-limit": 10_000}))


def test_the_default_rate_is_shown_wherever_rates_are(run: Run, net) -> None:
    assert "0.002 for adam" in " ".join(run("train", "--help").out.split())
    assert run("train", net, *SHORT, "--out", "a").code == 0
    assert run("train", net, *SHORT, "--out", "b", "--optimizer", "sgd").code == 0
    assert "lr = 0.002" in Path("a/recipe.toml").read_text()
    found = json.loads(run("runs", "a", "b", "--compare", "--format", "json").out)
    assert [line["choices"]["lr"] for line in found] == [0.002, 0.01]


def test_seconds_count_what_accuracies_take(run: Run, net, monkeypatch) -> None:
    from netspec.runtime.models.numpy_steps import NumpyBackend

    measured = NumpyBackend.measure

    def slowly(*arguments: object) -> float:
        time.sleep(0.1)
        return measured(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(NumpyBackend, "measure", slowly)
    assert run("train", net, *SHORT, "--epochs", 2, "--out", "a").code == 0
    first, second, result = (x for x in read_metrics(Path("a")) if x["kind"] != "step")
    assert first["seconds"] >= 0.1
    assert second["seconds"] >= 0.2
    assert result["seconds"] >= 0.3
    assert first["images_per_second"] > 64 / 0.1 or first["seconds"] > 0.25


def test_a_limit_of_time_ends_a_run_after_a_step(run: Run, net) -> None:
    Path("t.toml").write_text("max-seconds = 1e-9\n")
    for more in (("--max-seconds", 1e-9, "--no-recipe"), ()):
        finished = run("train", net, "--epochs", 9, "--train-limit", 64, "--batch", 16, *more, "--force",
                       "--out", f"run{len(more)}")  # fmt: skip
        assert (finished.code, finished.out) == (
            0,
            "stopped after 1e-09 s (--max-seconds), 1 step\n",
        )
        assert Path(f"run{len(more)}", "weights.safetensors").is_file()
    assert "must be" in run("train", net, "--max-seconds", 0).err


def test_quiet_is_about_one_command(run: Run, net) -> None:
    assert run("train", net, *SHORT, "--out", "a", "--quiet").err == ""
    loud = run("train", "--resume", "a", "--epochs", 2)
    assert "epoch 2/2" in loud.err
    assert run("train", "--resume", "a", "--epochs", 3, "--quiet").err == ""


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signal here")
def test_a_closed_terminal_saves_as_a_wish_to_end_does(run: Run, net, monkeypatch) -> None:
    stop_after(monkeypatch, "numpy", 1, send(signal.SIGHUP))
    finished = run("train", net, "--epochs", 2, "--out", "a")
    assert finished.code == 129
    assert "stopped by SIGHUP after 1 steps" in finished.err
    assert Path("a/weights.safetensors").is_file()


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signal here")
def test_an_ignored_hang_up_stays_ignored(run: Run, net, monkeypatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` has it
    try:
        stop_after(monkeypatch, "numpy", 1, send(signal.SIGHUP))
        assert run("train", net, *SHORT, "--out", "a").code == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_training_leaves_the_generator_of_torch_alone() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    model = netspec.loads("net D() { input x: [64]\n output x -> dropout(0.5) -> linear(10) }")
    data = netspec.load_data("digits").limit(64)
    netspec.fit(model.compile("torch"), data, epochs=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_runs_steps_over_what_is_none(run: Run, net) -> None:
    assert run("train", net, *SHORT, "--out", "a").code == 0
    Path("folder").mkdir()
    finished = run("runs", "a", "folder", "t.net", "--format", "json")
    assert (finished.code, finished.err) == (0, "")
    assert [line["run"] for line in json.loads(finished.out)] == ["a"]
    assert "there are no runs in folder, t.net" in run("runs", "folder", "t.net").err


@pytest.mark.parametrize("verb", [("fmt",), ("compile", "--target", "numpy", "-o", "t.py")])
def test_a_read_only_file_is_left_alone(run: Run, net, verb: tuple[str, ...]) -> None:
    written = Path("t.net" if verb[0] == "fmt" else "t.py")
    if verb[0] == "compile":
        assert run(verb[0], net, *verb[1:]).code == 0
    os.chmod(written, 0o444)
    before = written.read_bytes()
    finished = run(verb[0], net, *verb[1:])
    assert finished.code == 1
    assert "cannot write" in finished.err
    assert "it is read-only" in finished.err
    assert written.read_bytes() == before


def test_the_last_line_says_which_epoch_was_kept() -> None:
    """Where there are no test images, which is what small folders of pictures have."""
    found = history()
    found.measured_epochs.update(train=[1, 2], val=[1, 2])
    found.val_acc_history[:] = [0.9333, 0.9]
    found.train_acc_history.append(1.0)
    found.epoch_seconds[:] = [1.0, 1.0]
    found.kept_epoch = 1
    best = "(epoch 1, the best in validation); there are no test images"
    assert _result(found) == f"validation accuracy 93.33 % {best}"
    found.kept_epoch = 2
    assert _result(found) == "train accuracy 100.00 % (there are no test images)"
