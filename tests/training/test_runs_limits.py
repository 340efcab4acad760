"""The limits of a run: more memory than there is, and a loss that is not a number."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

import netspec
from netspec.runtime.models import memory_check as memory
from netspec.runtime.weights import host as machine
from tests.conftest import Run
from tests.helpers.errors import fails
from tests.helpers.killing import NET


def test_a_run_that_needs_too_much_memory_is_refused(run: Run, tmp_path, monkeypatch) -> None:
    data, model = netspec.load_data("digits"), netspec.loads(NET).compile()
    here = model.step_bytes(1437, 1437)
    assert model.step_bytes(100, 128) < here
    monkeypatch.setattr(memory, "machine_memory", lambda: here // 2)
    with fails(
        "train/out-of-memory", r"a step of 1,397 images needs about \d+ MiB .*--batch \d+ fits"
    ):
        netspec.fit(model, data, batch=1437, val=40)
    monkeypatch.setattr(memory, "machine_memory", lambda: 1000)
    with fails("train/out-of-memory", "not even|even a batch of 1"):
        netspec.fit(model, data)
    net = tmp_path / "noisy.net"
    net.write_text(NET)
    finished = run("train", "numpy", net, "--out", tmp_path / "run")
    assert (finished.code, (tmp_path / "run").exists()) == (1, False)


@pytest.mark.parametrize(
    "options",
    [
        {"ema": 0.9},
        {"accumulate": 2},
        {"optimizer_options": {"amsgrad": True}},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_is_kept_beside_the_parameters_counts(options, monkeypatch) -> None:
    """A run for which the memory just suffices is refused if it keeps one more copy of them."""
    data = netspec.load_data("digits")
    head = "flatten -> linear(20_000) -> relu -> linear(10)"
    model = netspec.loads(f"net A {{\ninput x: [1, 8, 8]\noutput x -> {head}\n}}\n").compile()
    wanted: list[int] = []
    estimate = memory.needed_bytes

    def noted(*arguments, **named):
        wanted.append(estimate(*arguments, **named))
        return wanted[-1]

    monkeypatch.setattr(memory, "needed_bytes", noted)
    monkeypatch.setattr(memory, "machine_memory", lambda: 1)
    with fails("train/out-of-memory"):
        netspec.fit(model, data, batch=8)
    enough = wanted[0]
    monkeypatch.setattr(memory, "machine_memory", lambda: enough)
    with fails("train/out-of-memory"):
        netspec.fit(model, data, batch=8, **options)


def test_what_is_estimated_is_what_is_taken() -> None:
    model = netspec.loads(NET).compile()
    expected = model.step_bytes(64, 128)
    x, y = np.zeros((128, 1, 8, 8), "f4"), np.zeros(64, int)
    model.loss_and_grads(x[:64], y)
    model.scores(x)
    (programs,) = model._programs
    taken = sum(p._own.arena.nbytes + p._own.scratch.nbytes for p in programs)
    assert taken <= expected <= 1.5 * taken + (1 << 16)


def test_the_limit_of_a_container_counts(tmp_path, monkeypatch) -> None:
    real = machine.machine_memory()
    assert real > 1 << 28
    (tmp_path / "limit").write_text("1048576\n")
    monkeypatch.setattr(machine, "_LIMITS", (str(tmp_path / "limit"), str(tmp_path / "nowhere")))
    assert machine.machine_memory() == 1 << 20
    (tmp_path / "limit").write_text("max\n")
    assert machine.machine_memory() >= real


def test_a_limit_of_addresses_counts() -> None:
    pytest.importorskip("resource")
    code = (
        "import resource, netspec.runtime.weights.host as host\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({4 << 30}, {4 << 30}))\n"
        "print(host.machine_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert 1 << 30 < int(done.stdout) < 4 << 30


DEEP = """net Deep() {
    input image: [1, 8, 8]
    output image
        -> first: conv(4, 3) -> relu
        -> flatten -> second: linear(20) -> relu
        -> linear(10)
}
"""


@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_a_loss_that_is_no_number_names_step_and_layer(run: Run, tmp_path, target) -> None:
    if target == "torch":
        pytest.importorskip("torch").set_num_threads(1)
    path, out = tmp_path / "deep.net", tmp_path / "run"
    path.write_text(DEEP)
    options = ["--optimizer", "sgd", "--lr", "1e10", "--schedule", "constant", "--quiet"]
    if target == "torch":
        options += ["--device", "cpu"]
    finished = run("train", target, path, *options, "--out", out)
    assert finished.code == 1
    assert re.search(
        r"the loss became nan at step \d+ \(epoch 1, learning rate 1e\+10\)", finished.err
    )
    assert re.search(rf"--> {re.escape(str(path))}:5:\d+\n", finished.err)
    assert "^^^ the first that is not finite" in finished.err
    assert "`second` gives" in finished.err
    assert "lower the learning rate" in finished.err
    assert f"netspec train --resume {out}" in finished.err
    assert run("train", "--resume", out, "--lr", "1e-3", "--epochs", 1).code == 0


def test_what_is_not_finite_from_the_start_is_no_fault_of_the_rate() -> None:
    data = netspec.load_data("digits")
    model = netspec.loads(DEEP).compile()
    state = model.state_dict()
    state["first.weight"][0] = 1e38
    model.load_state_dict(state)
    with fails("train/diverged", "`first` gives.*smaller weights") as caught:
        netspec.fit(model, data, epochs=1)
    assert "learning rate, warm" not in str(caught.value)
    state["second.bias"][3] = np.nan
    state["first.weight"][0] = 0
    model.load_state_dict(state)
    with fails("train/diverged", "`second.bias` holds 1 NaN of 20 numbers"):
        netspec.fit(model, data, epochs=1)
