"""A run of several processes outlives the death of one, and goes on with another number of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

import netspec
from tests.conftest import Run
from tests.training.test_distributed import children, environment, torchrun, wait_for

torch = pytest.importorskip("torch")
if not torch.distributed.is_available():
    pytest.skip("this PyTorch is not distributed", allow_module_level=True)

NET = """
net Plain(classes = 10) {
    input image: [1, 8, 8]
    x = image -> conv(6, 3, pad = 1) -> relu -> max_pool(2)
    output x -> flatten -> linear(16) -> layer_norm -> relu -> linear(classes)
}
"""
OPTIONS = (
    "--train-limit", 83, "--val", 41, "--batch", 16, "--optimizer", "adam", "--schedule", "constant",
    "--dtype", "float64", "--ema", 0.9, "--augment", "crop,flip", "--threads", 1,
)  # fmt: skip


def train(net: Path, out: Path, *more: object) -> list[object]:
    return ["train", "torch", net, *OPTIONS, "--out", out, *more]


def together(*arguments: object, log: Path, restarts: int = 0) -> subprocess.Popen[bytes]:
    """Start two processes."""
    command = torchrun(2, "-m", "netspec", *arguments)
    command.insert(command.index("--standalone"), f"--max-restarts={restarts}")
    with log.open("w") as stream:
        return subprocess.Popen(command, env=environment(), stdout=stream, stderr=stream)


def require_equal(found: Path, expected: Path, tolerance: float) -> None:
    ours, theirs = (netspec.load_weights(folder).tensors for folder in (found, expected))
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")
@pytest.mark.heavy
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_is_started_again(tmp_path, write, rank):
    """All processes start again, and go on from the last checkpoint of the run."""
    net, log = write(NET), tmp_path / "log"
    out, more = tmp_path / "broken", ("--epochs", 40, "--restartable", "--checkpoint-every", 4)
    running = together(*train(net, out, *more), log=log, restarts=1)
    try:
        wait_for(
            lambda: "epoch  3/40" in log.read_text(), f"an epoch: {log.read_text()[-2000:]}", 400
        )
        mark = f"\0RANK={rank}\0".encode()
        (worker,) = (
            pid for pid in children(running.pid)
            if mark in b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
        )  # fmt: skip
        os.kill(worker, signal.SIGKILL)
        code = running.wait(600)
    finally:
        for pid in {running.pid, *children(running.pid)}:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        running.wait()
    text = log.read_text()
    assert code == 0, text[-3000:]
    assert "continues from step" in text
    whole = together(*train(net, tmp_path / "whole", *more), log=log)
    assert whole.wait(600) == 0, log.read_text()[-3000:]
    require_equal(out, tmp_path / "whole", 0)


@pytest.mark.heavy
def test_a_run_goes_on_with_another_number_of_processes(tmp_path, write, run: Run):
    net, log = write(NET), tmp_path / "log"
    whole, one, two = (tmp_path / name for name in ("whole", "one", "two"))
    assert run(*train(net, whole, "--epochs", 4)).code == 0
    assert run(*train(net, one, "--epochs", 2)).code == 0
    assert together(*train(net, two, "--epochs", 2), log=log).wait(600) == 0, log.read_text()
    assert together("train", "--resume", one, "--epochs", 4, log=log).wait(600) == 0, (
        log.read_text()
    )
    assert "the number of processes was 1 and is 2" in log.read_text()
    resumed = run("train", "--resume", two, "--epochs", 4)
    assert resumed.code == 0, resumed.err
    assert "the number of processes was 2 and is 1" in resumed.err
    for folder in (one, two):
        require_equal(folder, whole, 1e-6)


@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_a_restartable_command_goes_on_with_its_run(tmp_path, write, run: Run, target):
    """The same command makes the run, and continues it when it is there, with its recipe."""
    net = write(NET)
    (tmp_path / "recipe.toml").write_text('optimizer = "sgd"\nlr = 0.1\n')
    more = ("--train-limit", 32, "--recipe", tmp_path / "recipe.toml", "--restartable")
    command = ("train", target, net, *more, "--out", tmp_path / "run", "--epochs")
    assert run(*command, 1).code == 0
    again = run(*command, 2)
    assert again.code == 0, again.err
    assert "continues from step 1" in again.err
    assert "epoch 2/2" in again.err
    assert "epoch 1/2" not in again.err


@pytest.mark.parametrize("out", [(), ("--out", "none"), ("--out", "w.safetensors")])
def test_a_restartable_run_has_a_folder(write, run: Run, out):
    found = run("train", "numpy", write(NET), "--restartable", *out)
    assert found.code != 0
    assert "usage/train" in found.err
    assert "--out DIR" in found.err
