"""Several real processes on one machine: they give the losses of one process, and end cleanly."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import netspec
from netspec.runtime.data import load
from netspec.runtime.data.batches import batch_slices, share
from tests.conftest import ROOT

torch = pytest.importorskip("torch")
if not torch.distributed.is_available():
    pytest.skip("this PyTorch is not distributed", allow_module_level=True)

from netspec.runtime.models.pytorch.device import Execution  # noqa: E402
from netspec.runtime.models.pytorch.model import TorchModel  # noqa: E402
from netspec.runtime.models.torch_build import build_module  # noqa: E402

# This trains like `netspec train torch`, and prints what only Python's interface shows. Then tensors
# are shared again and again, and those are counted that a thread still holds afterwards.
SCRIPT = """
import json, sys
from dataclasses import replace
import numpy as np
import torch
import netspec
from netspec.runtime.data import load
from netspec.runtime.models.pytorch.device import Execution
from netspec.runtime.models.pytorch.processes import from_environment, joined
from netspec.runtime.models.pytorch.model import TorchModel
from netspec.runtime.models.torch_build import build_module

torch.set_num_threads(1)
net = netspec.load(sys.argv[1])
group, device = from_environment(), torch.device("cpu")
with joined(group, device):
    model = TorchModel(net.graph, build_module(net, dtype="float64"), Execution(device, group=group))
    data = load("digits", None, model.input_shape)
    history = netspec.fit(model, data, **json.loads(sys.argv[2]))
    checksum = sum(float(abs(a).sum()) for a in model.state_dict().values())
    # Five of seven labels do not count.
    labels = np.where(np.arange(len(data.y_train)) % 7 < 5, -100, data.y_train)
    some = netspec.fit(model, replace(data, y_train=labels), **json.loads(sys.argv[2]))
    held = 0
    for _ in range(1000):
        total = group.total(torch.ones(3))
        each = group.each(torch.ones(3))
        held += any(tensor._use_count() > 1 for tensor in [total, *each])
    held = int(group.total(torch.tensor([held])))
    if group.rank == 0:
        print(json.dumps([history.loss_history, history.val_acc_history, checksum, held,
                          some.loss_history, history.measures, some.measures]))
"""


class Trained(NamedTuple):
    """What the script prints."""

    losses: list[float]
    accuracies: list[float]
    checksum: float
    held: int
    losses_of_some: list[float]
    measures: dict[str, dict[str, float]]
    measures_of_some: dict[str, dict[str, float]]


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def torchrun(processes: int, *arguments: object) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*launcher, f"--nproc-per-node={processes}", *map(str, arguments)]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 10])
def test_shares_are_the_batch(count, size):
    part = slice(100, 100 + count)
    shares = [share(part, rank, size) for rank in range(size)]
    images = [i for own, weight in shares if weight for i in range(own.start, own.stop)]
    assert images == [*range(100, 100 + count)]
    assert sum(weight for _, weight in shares) == pytest.approx(1)
    assert shares[0][1] > 0
    for own, weight in shares:
        assert part.start <= own.start < own.stop <= part.stop
        assert own.stop - own.start >= min(2, count)
        assert weight in (0.0, (own.stop - own.start) / count)


OPTIONS = {
    # 83 images in batches of 16: the last ones are of 16 and 3.
    "train_limit": 83, "batch": 16, "epochs": 2, "val": 41, "l2": 1e-3, "clip_norm": 1.0,
    "optimizer": "momentum", "augment": ["crop", "flip"],
}  # fmt: skip


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Return what two processes give: they start once, since PyTorch takes seconds to import."""
    path = tmp_path_factory.mktemp("two") / "script.py"
    path.write_text(SCRIPT)
    command = torchrun(2, path, ROOT / "networks/lenet.net", json.dumps(OPTIONS))
    done = subprocess.run(
        command,
        check=False,
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return Trained(*json.loads(done.stdout.splitlines()[-1]))


def test_no_thread_holds_a_tensor_that_python_drops(two):
    """A thread that does would abort the process if it dropped the tensor at the very end."""
    assert two.held == 0


def test_two_processes_have_the_losses_of_one(two):
    assert [p.stop - p.start for p in batch_slices(83, 16)][-2:] == [16, 3]
    net = netspec.load(ROOT / "networks/lenet.net")
    module = build_module(net, dtype="float64")
    model = TorchModel(net.graph, module, Execution(torch.device("cpu")))
    history = netspec.fit(model, load("digits", None, model.input_shape), **OPTIONS)
    assert len(history.loss_history) == len(two.losses) == 12
    assert np.abs(np.subtract(history.loss_history, two.losses)).max() < 1e-9
    assert history.val_acc_history == two.accuracies
    checksum = sum(float(abs(a).sum()) for a in model.state_dict().values())
    assert checksum == pytest.approx(two.checksum, rel=1e-9)
    require_alike(history, two.measures)


def require_alike(history: netspec.History, others: dict[str, dict[str, float]]) -> None:
    assert {"train_loss", "val_loss", "val_top5", "val_macro_f1", "test_loss"} <= others.keys()
    assert history.measures.keys() == others.keys()
    for name, values in history.measures.items():
        found = {int(epoch): value for epoch, value in others[name].items()}
        assert values == pytest.approx(found, rel=1e-9), name


def test_two_processes_have_the_losses_of_one_where_labels_are_ignored(two):
    """The mean is over the labels that count, of which the shares of a batch have not equally many."""
    net = netspec.load(ROOT / "networks/lenet.net")
    model = TorchModel(
        net.graph, build_module(net, dtype="float64"), Execution(torch.device("cpu"))
    )
    data = load("digits", None, model.input_shape)
    netspec.fit(model, data, **OPTIONS)
    labels = np.where(np.arange(len(data.y_train)) % 7 < 5, -100, data.y_train)
    history = netspec.fit(model, replace(data, y_train=labels), **OPTIONS)
    assert np.abs(np.subtract(history.loss_history, two.losses_of_some)).max() < 1e-9
    require_alike(history, two.measures_of_some)


def children(pid: int) -> set[int]:
    """Return all processes below this one, however deep."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            parents[int(path.parent.name)] = int(fields[1])
    found: set[int] = set()
    while new := {child for child, parent in parents.items() if parent in {pid, *found}} - found:
        found |= new
    return found


def is_there(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_for(condition, what: str, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.1)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")
@pytest.mark.parametrize(
    ("target", "processes"),
    [("numpy", 1), ("torch", 1), pytest.param("torch", 2, marks=pytest.mark.heavy)],
)
def test_sigterm_leaves_weights_and_no_process(tmp_path, target, processes):
    out, log = tmp_path / "w.safetensors", tmp_path / "log"
    arguments = ["train", target, "networks/lenet.net", "--epochs", 100_000, "--batch", 16]
    arguments += ["--train-limit", 64, "--val", 16, "--threads", 1, "--out", out]
    command = [sys.executable, "-m", "netspec", *map(str, arguments)]
    if processes > 1:
        command = torchrun(processes, "-m", "netspec", *arguments)
    with log.open("w") as stream:
        running = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(lambda: "epoch      3/" in log.read_text(), f"an epoch: {log.read_text()[-2000:]}")
        workers = children(running.pid)
        assert len(workers) >= processes - 1
        running.send_signal(signal.SIGTERM)
        code = running.wait(60)
        wait_for(lambda: not any(map(is_there, workers)), "the workers' end", 30)
    finally:
        for pid in {running.pid, *children(running.pid)}:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        running.wait()
    text = log.read_text()
    assert code != 0  # a run that was cut short is no success
    assert code == 143 or processes > 1
    assert text.count("stopped by SIGTERM after") == 1, text[-3000:]
    assert text.count("epoch      1/100000") == 1  # one process prints
    weights = netspec.load_weights(out)
    model = netspec.load(ROOT / "networks/lenet.net").compile("numpy")
    model.load_state_dict(weights.tensors)
    assert weights.normalization is not None


@pytest.mark.heavy
def test_an_error_of_all_is_shown_once():
    done = subprocess.run(
        torchrun(2, "-m", "netspec", "train", "torch", "networks/lenet.net", "--data", "mnits"),
        check=False, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.count("did you mean `mnist`?") <= 1
    assert "data/unknown-name" in done.stderr
