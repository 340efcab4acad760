"""Runs that are killed: a small server that starts them quickly, and checks of what is left of
them.

The server is a process that has loaded netspec and has started no threads. Each run is a fork of
it, so that a kill can hit any moment of the run, without waiting seconds for a start.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from netspec.runtime.runs.checkpoint import LAST, PREVIOUS, load_checkpoint, newest_checkpoint
from netspec.runtime.runs.metrics import TIMES, read_metrics
from tests.conftest import Run

ROOT = Path(__file__).parents[2]

# Dropout, batch norm and augmentation: everything that has state.
NET = """
net Noisy(classes = 10) {
    input image: [1, 8, 8]

    output image
        -> conv(4, 3, pad = 1, bias = false) -> batch_norm -> relu
        -> dropout(0.3) -> flatten -> linear(16) -> relu -> dropout(0.3) -> linear(classes)
}
"""
OPTIONS = (
    "--data", "digits", "--epochs", "3", "--batch", "32", "--train-limit", "400", "--val", "64",
    "--optimizer", "adam", "--keep", "best", "--checkpoint-every", "3", "--log-every", "4",
    "--augment", "crop,flip", "--threads", "1", "--quiet",
)  # fmt: skip

# As most tests run them: two epochs, without augmentation.
SHORT = (*OPTIONS, "--epochs", "2", "--augment", "")

_SERVER = """
import json, os, sys
import numexpr, safetensors.numpy
import netspec.cli.train, netspec.cli.training_plan, netspec.cli.training_options
import netspec.runtime.training.fit, netspec.runtime.runs.recorder, netspec.runtime.runs.resume
import netspec.runtime.data.catalog, netspec.runtime.training.transfer, netspec.runtime.engine.threads
from netspec.cli import main
print("ready", flush=True)
for line in sys.stdin:
    request = json.loads(line)
    pid = os.fork()
    if pid == 0:
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1), os.dup2(log, 2)
        os._exit(main(request["arguments"]))
    print(pid, flush=True)
    sys.stdin.readline()  # a process that has ended keeps its number until it is waited for
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


def stop_after(monkeypatch: Any, target: str, steps: int, what: Callable[[], None]) -> None:
    """Call `what` after a number of training steps, counted over all runs from now on."""
    if target != "torch":
        from netspec.runtime.models.numpy_steps import NumpyBackend as Backend
    else:
        from netspec.runtime.models.pytorch.steps import TorchBackend as Backend
    taken = [0]
    step = Backend.step

    def counting(self: Any, lr: float) -> None:
        step(self, lr)
        taken[0] += 1
        if taken[0] == steps:
            what()

    monkeypatch.setattr(Backend, "step", counting)


def send(*signals: signal.Signals) -> Callable[[], None]:
    """Return a function that sends signals to this process."""
    return lambda: [os.kill(os.getpid(), each) for each in signals] and None


def make_halfway(run: Run, folder: Path, monkeypatch: Any) -> Path:
    """Make a run that was stopped in its second epoch, with the states of steps 15 and 17."""
    net, path = folder / "noisy.net", folder / "halfway"
    net.write_text(NET, "utf-8")
    with monkeypatch.context() as patch:
        stop_after(patch, "numpy", 17, send(signal.SIGTERM))
        assert run("train", "numpy", net, *SHORT, "--out", path).code == 143
    states = [load_checkpoint(path / "checkpoints" / name) for name in (LAST, PREVIOUS)]
    assert [state.step for state in states] == [17, 15]
    return path


class Server:
    """Starts `netspec` in forks of one process, one at a time."""

    def __init__(self, log: Path) -> None:
        self.log = log
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=environment,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def start(self, *arguments: object) -> int:
        """Start a command line, and return the number of its process."""
        request = {"arguments": [str(a) for a in arguments], "log": str(self.log)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def wait(self) -> int:
        """Return the exit code of the command that was started; it is negative for a signal."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def run(self, *arguments: object) -> None:
        """Run a command line that must succeed."""
        self.start(*arguments)
        code = self.wait()
        assert code == 0, f"{code}: {self.log.read_text()[-3000:]}"

    def killed_after(self, seconds: float, *arguments: object) -> bool:
        """Run a command line and kill it. Return whether it was still running."""
        pid = self.start(*arguments)
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        return self.wait() == -signal.SIGKILL

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def without_times(run: Path) -> list[dict[str, object]]:
    """Return the metrics of a run, without those that a clock measures."""
    return [{k: v for k, v in line.items() if k not in TIMES} for line in read_metrics(run)]


def assert_equal_runs(run: Path, unbroken: Path) -> None:
    """Check that the weights, metrics and states of two runs are equal, bit for bit."""
    for name in ("weights.safetensors", "checkpoints/best.safetensors"):
        assert (run / name).read_bytes() == (unbroken / name).read_bytes(), name
    assert without_times(run) == without_times(unbroken)
    ours, theirs = (load_checkpoint(path / "checkpoints" / LAST) for path in (run, unbroken))
    assert set(ours.tensors) == set(theirs.tensors)
    for name, array in ours.tensors.items():
        assert array.tobytes() == theirs.tensors[name].tobytes(), (
            name,
            array,
            theirs.tensors[name],
        )
    assert not [*run.rglob("*.part")]


def kill_many(
    folder: Path, count: int, seed: int, say=lambda text: None, target: str = "numpy"
) -> list[int]:
    """Kill runs at random moments, including resumed ones, and compare the results with an unbroken
    run.

    Return the step from which each run continued, or -1 if there was no run yet.
    """
    net = folder / "noisy.net"
    net.write_text(NET, "utf-8")
    server = Server(folder / "output.txt")
    rng = random.Random(seed)
    new = ("train", target, net, *OPTIONS, "--out")
    steps = []
    try:
        server.run(*new, folder / "first")  # the first run loads what is imported late
        start = time.perf_counter()
        server.run(*new, folder / "unbroken")
        length = time.perf_counter() - start
        say(f"an unbroken run takes {length:.2f} s")
        while len(steps) < count:
            run = folder / f"run{len(steps)}"
            arguments: tuple[object, ...] = (*new, run)
            # Sometimes a run that continues after a kill is killed again.
            while len(steps) < count and (arguments[-1] == run or rng.random() < 0.4):
                if not server.killed_after(rng.uniform(0, length), *arguments):
                    break
                steps.append(_step(run))
                say(f"kill {len(steps)}: {run.name} goes on from {steps[-1]}")
                if steps[-1] >= 0:
                    arguments = ("train", "--quiet", "--resume", str(run))
            if (run / "run.json").exists():
                arguments = ("train", "--resume", run, "--quiet")
            server.run(*arguments)
            assert_equal_runs(run, folder / "unbroken")
            shutil.rmtree(run)
    finally:
        server.close()
    return steps


def _step(run: Path) -> int:
    """Return the step from which a killed run continues; -1 if there is no run."""
    if not (run / "run.json").exists():
        assert not run.exists()
        return -1
    checkpoint, damaged = newest_checkpoint(run / "checkpoints")
    assert not damaged
    return checkpoint.step
