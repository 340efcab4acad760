"""Nothing is lost by kills, full disks, damaged and hostile checkpoints, or Ctrl-C."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import struct
from pathlib import Path
from typing import Any

import pytest

from netspec.cli.interrupts import until_stopped
from netspec.runtime.runs import metrics
from netspec.runtime.runs.checkpoint import (
    LAST,
    NEXT,
    PREVIOUS,
    load_checkpoint,
    newest_checkpoint,
)
from netspec.runtime.weights import atomic_write as durable
from tests.conftest import Run
from tests.helpers.killing import (
    NET,
    SHORT,
    assert_equal_runs,
    kill_many,
    make_halfway,
    send,
    stop_after,
)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    from netspec.runtime.engine import threads

    monkeypatch.setattr(threads, "limit", lambda count: None)


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("net") / "noisy.net"
    path.write_text(NET, "utf-8")
    return path


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, net) -> Path:
    from netspec.cli import main

    path = tmp_path_factory.mktemp("runs") / "unbroken"
    assert main(["train", "numpy", str(net), *SHORT, "--out", str(path)]) == 0
    return path


@pytest.fixture
def halfway(run: Run, tmp_path, monkeypatch) -> Path:
    return make_halfway(run, tmp_path, monkeypatch)


# ------------------------------------------------------------------------------------------- kills


@pytest.mark.parametrize("target", ["numpy", pytest.param("c", marks=pytest.mark.heavy)])
def test_killed_runs_go_on_as_if_nothing_had_been(tmp_path, target) -> None:
    steps = kill_many(tmp_path, 10, seed=1, target=target)
    assert len(steps) == 10
    assert len({*steps}) > 3


# -------------------------------------------------------------------------------------- full disks


def fill_up_after(monkeypatch, room: int) -> None:
    """Simulate a disk with room for so many bytes. What does not fit is written in part."""
    left = [room]

    def write(file, content):
        file.write(content[: max(left[0], 0)])
        left[0] -= len(content)
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(durable, "write_all", write)
    monkeypatch.setattr(metrics, "write_all", write)


@pytest.mark.parametrize("room", [0, 25_000, 60_000, 150_000, 230_000, 300_000])
def test_a_full_disk_loses_nothing(run: Run, tmp_path, net, unbroken, monkeypatch, room) -> None:
    path = tmp_path / "full"
    with monkeypatch.context() as patch:
        fill_up_after(patch, room)
        finished = run("train", "numpy", net, *SHORT, "--out", path)
    assert finished.code == 1, finished.err
    assert "error[output/disk-full]: the disk is full: cannot write" in finished.err
    assert "free some space" in finished.err
    if not path.exists():
        assert room < 40_000
        assert not [*tmp_path.iterdir()]
        assert run("train", "numpy", net, *SHORT, "--out", path).code == 0
    else:
        assert f"netspec train --resume {path}" in finished.err
        assert not newest_checkpoint(path / "checkpoints")[1]
        assert "output/disk-full" in (path / "log.txt").read_text()
        assert run("train", "--resume", path).code == 0
    assert_equal_runs(path, unbroken)


def test_a_disk_that_is_full_still(run: Run, halfway, unbroken, monkeypatch) -> None:
    for _ in range(2):
        with monkeypatch.context() as patch:
            fill_up_after(patch, 100)
            assert "disk-full" in run("train", "--resume", halfway).err
    assert run("train", "--resume", halfway).code == 0
    assert_equal_runs(halfway, unbroken)


# -------------------------------------------------------------------------------- damaged checkpoints


def test_a_cut_checkpoint_is_noticed_and_the_one_before_is_used(halfway) -> None:
    folder = halfway / "checkpoints"
    whole = (folder / LAST).read_bytes()
    rng = random.Random(0)
    lengths = [0, 1, 8, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(30))]
    for length in lengths:
        (folder / LAST).write_bytes(whole[:length])
        checkpoint, (wrong,) = newest_checkpoint(folder)
        assert checkpoint.step == 15
        assert f"the checkpoint {folder / LAST} is damaged" in wrong


def test_flipped_bytes_are_noticed(halfway) -> None:
    folder = halfway / "checkpoints"
    whole = (folder / LAST).read_bytes()
    rng = random.Random(0)
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    places = [rng.randrange(header) for _ in range(30)]
    places += [rng.randrange(header, len(whole)) for _ in range(30)]
    for at in places:
        damaged = bytearray(whole)
        damaged[at] ^= 1 << rng.randrange(8)
        (folder / LAST).write_bytes(damaged)
        checkpoint, wrong = newest_checkpoint(folder)
        assert (checkpoint.step, len(wrong)) == (15, 1), at


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "next"])
def test_a_run_goes_on_from_the_checkpoint_before(run: Run, halfway, unbroken, damage) -> None:
    last = halfway / "checkpoints" / LAST
    content = last.read_bytes()
    if damage == "gone":  # as between two renames
        last.unlink()
    elif damage == "next":
        last.with_name(NEXT).write_bytes(content[:-9])
    else:
        flipped = content[:-9] + bytes([content[-9] ^ 64]) + content[-8:]
        last.write_bytes(content[: len(content) // 2] if damage == "cut" else flipped)
    finished = run("train", "--resume", halfway)
    assert finished.code == 0, finished.err
    assert ("is damaged" in finished.err) == (damage != "gone")
    assert_equal_runs(halfway, unbroken)


def test_no_sound_checkpoint_is_an_ordinary_error(run: Run, halfway) -> None:
    for name in (LAST, PREVIOUS):
        (halfway / "checkpoints" / name).write_bytes(b"")
    finished = run("train", "--resume", halfway)
    assert finished.code == 1
    assert "error[run/checkpoint]" in finished.err
    assert LAST in finished.err
    assert PREVIOUS in finished.err
    assert "start a new one" in finished.err


def test_metrics_that_are_cut_are_said(run: Run, halfway) -> None:
    path = halfway / metrics.NAME
    path.write_bytes(path.read_bytes()[:50])
    finished = run("train", "--resume", halfway)
    assert finished.code == 0
    assert "lines are missing" in finished.err


# --------------------------------------------------------------------------------------------- Ctrl-C


def test_ctrl_c_finishes_the_step_and_saves(run: Run, tmp_path, net, unbroken, monkeypatch) -> None:
    path = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_after(patch, "numpy", 8, send(signal.SIGINT))
        options = [o for o in SHORT if o != "--quiet"]
        finished = run("train", "numpy", net, *options, "--out", path)
    assert finished.code == 130
    assert "stopped by Ctrl-C after 8 steps" in finished.err
    assert f"continue it: netspec train --resume {path}" in finished.err
    assert load_checkpoint(path / "checkpoints" / LAST).step == 8
    assert run("train", "--resume", path, "--quiet").code == 0
    assert_equal_runs(path, unbroken)


def test_a_second_ctrl_c_stops_at_once(run: Run, tmp_path, net, monkeypatch) -> None:
    path = tmp_path / "run"

    with monkeypatch.context() as patch:
        stop_after(patch, "numpy", 8, send(signal.SIGINT, signal.SIGINT))
        finished = run("train", "numpy", net, *SHORT, "--out", path)
    assert finished.code == 130
    assert load_checkpoint(path / "checkpoints" / LAST).step == 6  # nothing more was saved
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_signals_are_wishes_while_it_lasts() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with until_stopped() as wish:
        assert not wish()
        os.kill(os.getpid(), signal.SIGINT)
        assert wish()
        assert (wish.name, wish.code) == ("Ctrl-C", 130)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_comes_while_it_begins_is_a_wish_too(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, replace = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP), signal.signal
    before = {each: signal.getsignal(each) for each in taken}

    def replaced(each: signal.Signals, handler: Any) -> Any:
        found = replace(each, handler)
        if each == number and handler is not before[each]:
            os.kill(os.getpid(), number)
        return found

    monkeypatch.setattr(signal, "signal", replaced)
    with until_stopped() as wish:
        assert wish.number == number
        assert {each: signal.getsignal(each) for each in taken} == before
    assert {each: signal.getsignal(each) for each in taken} == before


def test_a_folder_that_is_not_empty_is_left_alone(run: Run, tmp_path, net, halfway) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    finished = run("train", "numpy", net, *SHORT, "--out", tmp_path / "full")
    assert finished.code == 2
    assert "run/exists" in finished.err
    assert "--resume" in run("train", "numpy", net, *SHORT, "--out", halfway).err
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["mine.txt"]
    shutil.rmtree(tmp_path / "full")
    (tmp_path / "full").mkdir()
    assert run("train", "numpy", net, *SHORT, "--epochs", 1, "--out", tmp_path / "full").code == 0
