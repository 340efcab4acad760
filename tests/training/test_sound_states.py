"""What a run leaves behind is valid: all numbers are finite, and no training is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.diagnostics import NetspecError
from netspec.runtime.runs.checkpoint import (
    LAST,
    NEXT,
    PREVIOUS,
    Checkpoint,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)
from tests.conftest import Run
from tests.helpers.killing import NET, SHORT, stop_after

TARGETS = ["numpy", "torch"]


def backend_of(target: str) -> Any:
    if target == "torch":
        pytest.importorskip("torch")
        from netspec.runtime.models.pytorch.steps import TorchBackend

        return TorchBackend
    from netspec.runtime.models.numpy_steps import NumpyBackend

    return NumpyBackend


def overflow_in(monkeypatch: pytest.MonkeyPatch, target: str, number: int, name: str) -> None:
    """Make a step whose loss is finite, but after which the weights are not."""
    backend = backend_of(target)
    step, taken = backend.step, [0]

    def stepping(self: Any, lr: float) -> None:
        step(self, lr)
        taken[0] += 1
        if taken[0] == number:
            state = self.state_dict()
            state[name] = np.full_like(state[name], np.inf)
            self.load_state_dict(state)

    monkeypatch.setattr(backend, "step", stepping)


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "noisy.net"
    path.write_text(NET, "utf-8")
    return path


@pytest.mark.parametrize("name", ["linear2.weight", "batch_norm1.running_var"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_last_step_that_overflows_leaves_the_weights_file(
    run: Run, net: Path, monkeypatch: pytest.MonkeyPatch, target: str, name: str
) -> None:
    command = ["train", target, net, *SHORT, "--out", "w.safetensors", "--epochs", "1"]
    assert run(*command).code == 0
    before = Path("w.safetensors").read_bytes()
    overflow_in(monkeypatch, target, 13, name)  # of 13
    finished = run(*command)
    assert finished.code == 1
    assert "error[train/diverged]: after step 13 (epoch 1, learning rate" in finished.err
    assert f"`{name}` holds" in finished.err
    assert "lower the learning rate" in finished.err
    assert Path("w.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("target", "step", "kept"),
    [
        ("numpy", 3, 0), ("numpy", 7, 6), ("numpy", 13, 12), ("numpy", 14, 13), ("numpy", 26, 24),
        ("torch", 3, 0), ("torch", 26, 24),
    ],
)  # fmt: skip
def test_a_state_that_is_not_finite_is_no_checkpoint(
    run: Run, net: Path, monkeypatch: pytest.MonkeyPatch, target: str, step: int, kept: int
) -> None:
    """The overflow comes at a checkpoint, right before one, at the end of an epoch, and in the last
    step.
    """
    with monkeypatch.context() as patch:
        overflow_in(patch, target, step, "conv1.weight")
        finished = run("train", target, net, *SHORT, "--out", "run")
    assert finished.code == 1
    assert "error[train/diverged]" in finished.err
    assert "at a lower rate: netspec train --resume run --lr RATE\n" in finished.err
    states = [
        p for p in Path("run/checkpoints").glob("*.safetensors") if p.name != "best.safetensors"
    ]
    for path in states:
        state = load_checkpoint(path)
        assert all(np.isfinite(t).all() for t in state.tensors.values()), path
    assert newest_checkpoint(Path("run/checkpoints"))[0].step == kept
    assert run("train", "--resume", "run").code == 0  # this time the step does not overflow
    weights = netspec.load_weights("run/weights.safetensors").tensors
    assert all(np.isfinite(array).all() for array in weights.values())


def test_a_state_of_another_day_that_is_not_finite_is_stepped_over(tmp_path: Path) -> None:
    for step, value in ((5, 1.0), (8, np.inf)):
        tensors = {"model.w": np.array([value, 2.0]), "optimizer.m": np.zeros(2)}
        save_checkpoint(tmp_path, Checkpoint(tensors, {"step": step}))
    found, wrong = newest_checkpoint(tmp_path)
    assert found.step == 5
    assert wrong == [
        f"the checkpoint {tmp_path / LAST} is damaged: `model.w` holds numbers that are not finite"
    ]
    assert {path.name for path in tmp_path.iterdir()} == {LAST, PREVIOUS} - {NEXT}


def test_fit_leaves_a_sound_file_too(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = netspec.load(net).compile()
    data = netspec.load_data("digits").limit(64)
    netspec.fit(model, data, epochs=1, out="w.safetensors")
    before = Path("w.safetensors").read_bytes()
    with pytest.raises(NetspecError, match=r"not finite|holds .* infinite"):
        # The loss of the single step is that of the weights before it.
        netspec.fit(model, data, epochs=1, batch=64, lr=1e60, optimizer="sgd", out="w.safetensors")
    assert Path("w.safetensors").read_bytes() == before


# --------------------------------------------------------------------------- what cannot be saved


def gone(folder: str) -> Callable[[], None]:
    return lambda: shutil.rmtree(folder)


def moved(folder: str) -> Callable[[], None]:
    return lambda: Path(folder).rename("elsewhere") and None


@pytest.mark.parametrize("away", [gone, moved])
@pytest.mark.parametrize("out", ["deep/run", "deep/w.safetensors"])
@pytest.mark.parametrize("target", TARGETS)
def test_weights_of_a_run_whose_folder_is_removed_are_saved_elsewhere(
    run: Run, net: Path, monkeypatch: pytest.MonkeyPatch, target: str, out: str, away: Any
) -> None:
    Path("deep").mkdir()
    with monkeypatch.context() as patch:
        backend_of(target)
        stop_after(patch, target, 5, away("deep"))
        finished = run("train", target, net, *SHORT, "--out", out)
    assert finished.code == 1
    assert "error[output/unwritable]: cannot write deep/" in finished.err
    assert "--resume" not in finished.err  # there is nothing to resume
    (saved,) = Path().glob("netspec-weights-*.safetensors")
    assert f"are saved in {saved.resolve()}" in finished.err
    assert run("eval", net, "--weights", saved, "--data", "digits").code == 0


def test_weights_are_saved_in_a_temporary_folder_where_the_working_one_is_gone(
    run: Run, net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, temporary = tmp_path / "here", tmp_path / "temporary"
    here.mkdir()
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.chdir(here)
    stop_after(monkeypatch, "numpy", 5, gone(str(here)))
    finished = run("train", "numpy", net, *SHORT, "--out", "w.safetensors")
    monkeypatch.chdir(tmp_path)
    assert finished.code == 1
    (saved,) = temporary.iterdir()
    assert f"are saved in {saved}" in finished.err
    assert netspec.load_weights(saved).normalization is not None
