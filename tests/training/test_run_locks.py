"""Several processes and one folder: each new run gets a folder of its own, and each run one
process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.runs import folder
from netspec.runtime.runs.folder import FACTS, make_run, reserved_name
from netspec.runtime.runs.folder_lock import FolderLock
from tests.conftest import ROOT, Run
from tests.helpers.errors import fails

NET = "net T() { input image: [64]\n output image -> linear(10) }\n"
SHORT = ("--epochs", 1, "--train-limit", 64)


@pytest.fixture
def net(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("t.net").write_text(NET)
    return Path("t.net")


@pytest.fixture
def same_second(monkeypatch) -> None:
    monkeypatch.setattr(folder.time, "strftime", lambda form, *_: "20200101-000000")


# ------------------------------------------------------------------------- started in the same second


def test_processes_started_at_once_keep_a_run_each(net) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "netspec", "train", "numpy", net, *map(str, SHORT)]
    started = [
        subprocess.Popen([*command, "--seed", seed], env=environment, stderr=subprocess.DEVNULL)
        for seed in "012"
    ]
    assert [process.wait(120) for process in started] == [0, 0, 0]
    kept = list(Path("runs").iterdir())
    assert len(kept) == 3
    assert all((run / "weights.safetensors").is_file() and (run / FACTS).is_file() for run in kept)


def test_a_name_is_given_to_one_run_only(tmp_path, same_second) -> None:
    with reserved_name("A", tmp_path / "runs") as one, reserved_name("A", tmp_path / "runs") as two:
        assert one != two
        make_run(two, {"a": b"1"})
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [two.name]


def test_a_run_that_is_being_made_is_left_alone(tmp_path, monkeypatch) -> None:
    path, write, others = tmp_path / "run", folder.write_durably, []

    def interrupted(file: Path, content: bytes) -> None:
        if not others:
            others.append(file)
            make_run(path, {"b": b"second"})
        write(file, content)

    monkeypatch.setattr(folder, "write_durably", interrupted)
    with fails("run/exists"):
        make_run(path, {"a": b"first"})
    assert [(p.name, p.read_bytes()) for p in tmp_path.rglob("*") if p.is_file()] == [
        ("b", b"second")
    ]


def test_what_a_killed_process_left_is_removed(tmp_path) -> None:
    (tmp_path / ".run.4711.part").mkdir()
    make_run(tmp_path / "run", {"a": b"1"})
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_run_that_did_not_begin_is_not_said_to_be_kept(run: Run, net, monkeypatch) -> None:
    def no_memory(*_: object, **__: object) -> None:
        raise NetspecError.simple(codes.TRAIN_OUT_OF_MEMORY, "too large")

    monkeypatch.setattr("netspec.runtime.training.fit.require_memory", no_memory)
    finished = run("train", "numpy", net, *SHORT)
    assert finished.code == 1
    assert "too large" in finished.err
    assert "kept in" not in finished.err
    assert not Path("runs").exists()


# --------------------------------------------------------------------------------- one process a run


def test_a_run_goes_on_in_one_process_only(run: Run, net) -> None:
    assert run("train", "numpy", net, *SHORT, "--out", "r").code == 0
    before = {path: path.read_bytes() for path in Path("r").rglob("*") if path.is_file()}
    held = FolderLock(Path("r"))
    for options in ((), ("--epochs", 2)):
        finished = run("train", "--resume", "r", *options)
        assert finished.code == 1
        assert (
            "error[run/in-use]: r is in use: another process is training this run" in finished.err
        )
    assert {path: path.read_bytes() for path in before} == before
    held.release()
    assert run("train", "--resume", "r", "--epochs", 2).code == 0
    assert run("train", "--resume", "r", "--epochs", 3).code == 0


def test_a_new_run_is_held_from_its_first_state_on(tmp_path) -> None:
    held = make_run(tmp_path / "run", {"a": b"1"})
    with fails("run/in-use"):
        FolderLock(tmp_path / "run")
    held.release()
    assert FolderLock(tmp_path / "run").held


def test_a_lock_goes_with_whatever_held_it(tmp_path) -> None:
    def hold_and_fail() -> None:
        held = FolderLock(tmp_path)
        assert held.held
        raise ValueError("it fails")

    with pytest.raises(ValueError, match="fails"):
        hold_and_fail()
    assert FolderLock(tmp_path).held


def test_what_is_no_folder_is_held_by_nobody(tmp_path) -> None:
    assert not FolderLock(tmp_path / "absent").held
